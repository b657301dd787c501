"""When samples are taken, and where they go: `dynamics.jsonl`, cut back to the checkpoint on resume."""

from __future__ import annotations

from pathlib import Path

from gan.dynamics.measure import DynamicsMeter
from gan.runs import log

DYNAMICS_LOG = "dynamics.jsonl"
_FULL = 10  # every so many samples all singular values are kept; so it is at the first and the last


class DynamicsCallback:
    """Takes a sample every few steps, at the first step that it sees and after the last.

    Call it with the number of steps done, before the first one (or the first one after a resume) and after each. What
    was sampled after `step` by a run that was stopped is dropped; what was sampled at it is not sampled again.

    Args:
        folder: of the run.
        subject: the network, made before its weights were loaded.
        every: steps from sample to sample.
        last: steps of the whole training.
        step: that the training goes on from.

    Raises:
        UserError: the file cannot be written.
    """

    def __init__(self, folder: Path, subject: DynamicsMeter, *, every: int, last: int, step: int) -> None:
        self._path = folder / DYNAMICS_LOG
        self._subject = subject
        self._every = every
        self._last = last
        self._sampled = log.truncate_log(self._path, step) if self._path.exists() else -1

    def due(self, step: int) -> bool:
        """Whether a call would sample."""
        return step > self._sampled and (step % self._every == 0 or step == self._last or self._sampled < 0)

    def __call__(self, step: int) -> None:
        """Sample, if it is time.

        Raises:
            UserError: the file cannot be written; what was written before is whole.
        """
        if not self.due(step):
            return
        full = step % (_FULL * self._every) == 0 or step == self._last or self._sampled < 0
        entry = {"step": step, **self._subject.sample(full=full)}
        log.append_entry(self._path, entry)
        self._sampled = step
