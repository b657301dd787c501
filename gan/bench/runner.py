"""Times networks under several norms, in turn, in one run."""

from __future__ import annotations

import gc
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gan.bench.peak_memory import training_peak_memory
from gan.bench.report import DEFINITIONS, TURN, summarize_model
from gan.bench.workload import LARGE_BATCH, MODELS, QUANTITIES, Workload, count_flop
from gan.errors import UsageError, UserError
from gan.norm import NORMS
from gan.runtime import PRECISIONS, Runtime, resolve_runtime
from gan.utils.environment import hardware_info, package_versions
from gan.utils.memory import is_out_of_memory
from gan.utils.progress import progress, say
from gan.utils.signals import StopSignals

MOST_CALLS = 200

Rounds = list[dict[str, dict[str, float]]]  # of each round: quantity -> norm -> seconds of a call


@dataclass(frozen=True)
class BenchPlan:
    """What is to be timed.

    Raises:
        UsageError: a name is unknown or a number too small, by flag, value and choices.
    """

    models: tuple[str, ...]
    norms: tuple[str, ...]
    batch: int = 32
    """Images of a training step."""
    rounds: int = 9
    precision: str = "auto"
    device: str = "auto"
    seconds: float | None = None
    """No round is begun that would end later; each model has an equal share, and one round at least."""
    memory: bool = True
    """Whether to measure peak memory."""

    def __post_init__(self) -> None:
        for flag, names, choices in (
            ("--models", self.models, MODELS),
            ("--norms", self.norms, tuple(NORMS)),
            ("--precision", (self.precision,), PRECISIONS),
        ):
            unknown = [name for name in names if name not in choices]
            if unknown or not names:
                raise UsageError(f"{flag} {','.join(unknown)}: unknown; choose from {', '.join(choices)}")
        for flag, value, low in (("--batch", self.batch, 2), ("--rounds", self.rounds, 1)):
            if value < low:
                raise UsageError(f"{flag} {value}: must be at least {low}")
        if self.seconds is not None and not self.seconds > 0:
            raise UsageError(f"--seconds {self.seconds}: must be above 0")


def run_bench(plan: BenchPlan) -> tuple[dict[str, Any], int]:
    """What was measured, complete but for what an interruption or a lack of memory has left out, and an exit code.

    Raises:
        UserError: the device is not there, or nothing could be measured.
    """
    runtime = resolve_runtime(plan.device, plan.precision)
    record: dict[str, Any] = {
        "command": " ".join(["msn-gan", *sys.argv[1:]]),
        "hardware": hardware_info(runtime.device),
        "versions": package_versions("torch", "torchvision", "pillow"),
        "settings": {**asdict(plan), "precision": runtime.precision, "device": str(runtime.device)},
        "definitions": DEFINITIONS,
        "models": [],
        "stopped": None,
    }
    began = time.monotonic()
    with StopSignals() as signals:
        for number, model in enumerate(plan.models):
            left = None if plan.seconds is None else plan.seconds - (time.monotonic() - began)
            budget = None if left is None else left / (len(plan.models) - number)
            found = None
            try:
                found = _model(model, plan, runtime, budget, lambda: signals.received is not None)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if signals.received is None:  # or the signal has ended the process that measured memory, too
                    wanted = "" if plan.batch <= LARGE_BATCH else f", below {plan.batch}"
                    record["stopped"] = f"{model}: out of memory; use a smaller --batch{wanted}, or fewer --norms"
                    break
            if found is not None:
                record["models"].append(found)
            if signals.received is not None:
                record["stopped"] = f"interrupted in {model}: what was finished is kept"
                break
        received = signals.received
    if not record["models"] and record["stopped"] and received is None:
        raise UserError(record["stopped"])
    return record, 0 if not record["stopped"] else 1 if received is None else 128 + received


def _model(
    model: str, plan: BenchPlan, runtime: Runtime, budget: float | None, stopped: Callable[[], bool]
) -> dict[str, Any] | None:
    """All norms of a model; None where it was stopped before its first round was done."""
    began = time.monotonic()
    sizes: dict[str, dict[str, Any]] = {}
    for norm in plan.norms:
        if stopped():
            return None
        memory = training_peak_memory(model, norm, plan.batch, runtime) if plan.memory else None
        sizes[norm] = {"flop": count_flop(model, norm), "peak_memory_bytes": memory}
    subjects = [Workload(model, norm, plan.batch, runtime) for norm in plan.norms]
    for subject in subjects:
        sizes[subject.norm]["parameters"] = subject.parameters
    rounds = _rounds(model, subjects, plan.rounds, None if budget is None else began + budget, stopped)
    del subjects
    gc.collect()  # the next model needs the memory
    return summarize_model(model, sizes, rounds) if rounds else None


def _rounds(
    model: str, subjects: Sequence[Workload], count: int, deadline: float | None, stopped: Callable[[], bool]
) -> Rounds:
    """Turns of all subjects, quantity by quantity; every other round goes backwards. Only whole rounds are kept."""
    repeats = {quantity: _repeats(subjects, quantity) for quantity in QUANTITIES}
    kept: Rounds = []
    with progress(model, count, "rounds") as advance:
        for number in range(count):
            began = time.monotonic()
            found: dict[str, dict[str, float]] = {}
            for quantity in QUANTITIES:
                found[quantity] = {}
                for subject in subjects if number % 2 == 0 else subjects[::-1]:
                    if stopped():
                        return kept
                    calls = repeats[quantity]  # one that takes long finds no cache that is warm, and needs none
                    found[quantity][subject.norm] = subject.seconds(quantity, calls, warm=calls > 1)
            kept.append(found)
            advance()
            now = time.monotonic()
            if deadline is not None and number + 1 < count and now + (now - began) > deadline:
                say(f"{model}: the time allowed by --seconds ends after {len(kept)} of {count} rounds")
                break
    return kept


def _repeats(subjects: Sequence[Workload], quantity: str) -> int:
    """Calls in a turn, the same for all, so that the fastest one's turn is as long as a turn should be."""
    fastest = min(subject.seconds(quantity, 1, warm=True) for subject in subjects)
    return min(MOST_CALLS, max(1, math.ceil(TURN / fastest)))
