"""`compare --budget seconds`: the time of a step of each arm, relative to that of the first, measured in turns."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from statistics import median

from gan.bench.turns import seconds_per_step, take_turns
from gan.config.train_config import TrainConfig
from gan.errors import Diverged, UserError
from gan.experiments.parallel.estimated_jobs import threads_of_jobs
from gan.experiments.plan import Step
from gan.training import cuda_graph
from gan.utils.progress import say

_ROUNDS = 5
_SECONDS = 1.0  # of a turn, at least


def measure_step_times(
    arms: Iterable[tuple[str, TrainConfig]],
    reference: tuple[str, TrainConfig],
    build: Callable[[str], Step],
    *,
    jobs: int | None = 1,
) -> dict[str, float]:
    """Measure the time of a step of each arm, as a multiple of that of the reference arm.

    Each arm takes turns with the reference, in the order of `benchmarks/equal_seconds.py`, so that a change in the
    machine's speed affects both. The result is the median over the rounds. Two networks are in memory at a time.

    Args:
        arms, reference: names and configs.
        build: builds the training of an arm.
        jobs: trainings at a time, whose number of threads is used; None: auto, which may be one.

    Raises:
        UserError: an arm diverged in the measurement.
    """
    times = {}
    with threads_of_jobs(jobs or 1):
        first = _Timer(*reference, build)
        for name, config in arms:
            if name == reference[0]:
                times[name] = 1.0
                continue
            timers = [first, _Timer(name, config, build)]
            rounds = list(take_turns(timers, _ROUNDS, _Timer.turn, label=f"timing {name}"))
            del timers
            gc.collect()  # frees memory for the next arm
            times[name] = median(own / of_reference for of_reference, own in rounds)
            say(f"{name}: a step takes {times[name]:.3g} times as long as one of {reference[0]}")
    return times


class _Timer:
    """Times the steps of one arm."""

    def __init__(self, name: str, config: TrainConfig, build: Callable[[str], Step]) -> None:
        self._name = name
        # Steps after which penalties that are not in every update of D have had their share.
        self._group = config.penalty_cycle()
        self._step = build(name)
        with self._named():
            for _ in range(1 + cuda_graph.WARM_UP):
                self._step()

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Turn a divergence into a UserError that names the arm."""
        try:
            yield
        except Diverged as error:
            raise UserError(
                f"--budget seconds: the time of a step of {self._name} cannot be measured, as it diverges at once "
                f"({error}); change its settings, or give --budget images"
            ) from error

    def turn(self) -> float:
        """Run steps for a turn; return the seconds of one."""
        with self._named():
            return seconds_per_step(self._step, _SECONDS, self._group)
