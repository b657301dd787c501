"""Sample training dynamics every few steps into `dynamics.jsonl`."""

from pathlib import Path

from gan.dynamics.measure import DynamicsMeter
from gan.runs import log

DYNAMICS_LOG = "dynamics.jsonl"
_FULL_INTERVAL = 10  # every tenth sample is full, and so are the first and the last


class DynamicsCallback:
    """Sample every few steps, at the first call and after the last step.

    Call it with the number of finished steps, before the first step of a run (also a resumed one) and after each step.
    On resume, samples after `step` are removed and a sample at `step` is not taken again.

    Args:
        folder: folder of the run.
        meter: made before the network's weights were loaded.
        every: steps between samples.
        last: steps of the whole training.
        step: step at which training starts or resumes.

    Raises:
        UserError: the file cannot be written.
    """

    def __init__(self, folder: Path, meter: DynamicsMeter, *, every: int, last: int, step: int) -> None:
        self._path = folder / DYNAMICS_LOG
        self._meter = meter
        self._every = every
        self._last = last
        self._sampled = log.truncate_log(self._path, step) if self._path.exists() else -1

    def due(self, step: int) -> bool:
        """True if a call takes a sample."""
        return step > self._sampled and (step % self._every == 0 or step == self._last or self._sampled < 0)

    def __call__(self, step: int) -> None:
        """Take a sample if one is due.

        Raises:
            UserError: the file cannot be written; earlier samples stay intact.
        """
        if self.due(step):
            full = step % (_FULL_INTERVAL * self._every) == 0 or step == self._last or self._sampled < 0
            log.append_entry(self._path, {"step": step, **self._meter.sample(full=full)})
            self._sampled = step
