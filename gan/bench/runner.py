"""Time networks under several norms, in turn, in one run."""

import gc
import math
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gan.bench.peak_memory import training_peak_memory
from gan.bench.report import DEFINITIONS, TURN, summarize_model
from gan.bench.turns import take_turns
from gan.bench.workload import LARGE_BATCH, MODELS, QUANTITIES, Workload, count_flop
from gan.config import plugins
from gan.config.choices import CLASSIFIERS, NORMS, PRECISIONS
from gan.config.norm_spec import parse_norm
from gan.errors import UsageError, UserError
from gan.runtime import Runtime, resolve_runtime
from gan.utils.environment import hardware_info, package_versions
from gan.utils.memory import is_out_of_memory
from gan.utils.signals import StopSignals

MAX_CALLS = 200  # in a turn


@dataclass(frozen=True)
class BenchPlan:
    """The models and norms to time, and how.

    Raises:
        UsageError: a name is unknown or a number too small; names the flag, the value and the choices.
    """

    models: tuple[str, ...]
    norms: tuple[str, ...]
    batch: int = 32
    """Images of a training step."""
    rounds: int = 9
    precision: str = "auto"
    device: str = "auto"
    seconds: float | None = None
    """Time limit; models have equal shares of it, and at least one round each."""
    memory: bool = True
    """Measure peak memory."""

    def __post_init__(self) -> None:
        for flag, names, choices in (
            ("--models", self.models, MODELS),
            ("--precision", (self.precision,), PRECISIONS),
        ):
            unknown = [name for name in names if name not in choices]
            if unknown or not names:
                raise UsageError(f"{flag} {','.join(unknown)}: unknown; choose from {', '.join(choices)}")
        for norm in self.norms:
            if problem := NORMS.problem(norm):
                raise UsageError(f"--norms {norm}: {problem}")
            plugins.allow(NORMS.references(norm))
            classifiers = [model for model in self.models if model in CLASSIFIERS]
            if parse_norm(norm).critic and classifiers:
                raise UsageError(
                    f"--norms {norm}: a critic normalizes a GAN's discriminator, but {classifiers[0]} is a classifier; "
                    "leave one of them out"
                )
        for flag, value, low in (("--batch", self.batch, 2), ("--rounds", self.rounds, 1)):
            if value < low:
                raise UsageError(f"{flag} {value}: must be at least {low}")
        if self.seconds is not None and not self.seconds > 0:
            raise UsageError(f"--seconds {self.seconds}: must be above 0")


def run_bench(plan: BenchPlan) -> tuple[dict[str, Any], int]:
    """Measure all models of a plan.

    Returns:
        the record, without what an interruption or a lack of memory prevented, and the exit code.

    Raises:
        UserError: the device is not available, or nothing could be measured.
    """
    references = [reference for norm in plan.norms for reference in NORMS.references(norm)]
    own_code = plugins.record(references, "--norms")
    runtime = resolve_runtime(plan.device, plan.precision)
    record: dict[str, Any] = {
        "command": shlex.join(["msn-gan", *sys.argv[1:]]),
        "hardware": hardware_info(runtime.device),
        "versions": package_versions("torch", "torchvision", "pillow"),
        "settings": {**asdict(plan), "precision": runtime.precision, "device": str(runtime.device)},
        **plugins.file_entry(own_code),
        "definitions": DEFINITIONS,
        "models": [],
        "stopped": None,
    }
    start = time.monotonic()
    with StopSignals() as signals:
        for number, model in enumerate(plan.models):
            now = time.monotonic()
            deadline = None
            if plan.seconds is not None:
                deadline = now + (start + plan.seconds - now) / (len(plan.models) - number)
            result = None
            try:
                result = _measure_model(model, plan, runtime, deadline, lambda: signals.received is not None)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if signals.received is None:  # else the signal may have killed the process that measures memory
                    hint = "" if plan.batch <= LARGE_BATCH else f", below {plan.batch}"
                    record["stopped"] = f"{model}: out of memory; use a smaller --batch{hint}, or fewer --norms"
                    break
            if result is not None:
                record["models"].append(result)
            if signals.received is not None:
                record["stopped"] = f"interrupted in {model}: finished rounds are kept"
                break
        received = signals.received
    if not record["models"] and record["stopped"] and received is None:
        raise UserError(record["stopped"])
    return record, 0 if not record["stopped"] else 1 if received is None else 128 + received


def _measure_model(
    model: str, plan: BenchPlan, runtime: Runtime, deadline: float | None, stopped: Callable[[], bool]
) -> dict[str, Any] | None:
    """Measure a model under all norms; returns None if it was stopped before its first round was finished."""
    sizes: dict[str, dict[str, Any]] = {}
    for norm in plan.norms:
        if stopped():
            return None
        memory = training_peak_memory(model, norm, plan.batch, runtime) if plan.memory else None
        sizes[norm] = {"flop": count_flop(model, norm), "peak_memory_bytes": memory}
    workloads = [Workload(model, norm, plan.batch, runtime) for norm in plan.norms]
    for workload in workloads:
        sizes[workload.norm]["parameters"] = workload.parameters
    calls = {quantity: _calls_per_turn(workloads, quantity) for quantity in QUANTITIES}

    def measure(turn: tuple[str, Workload]) -> float:
        quantity, workload = turn
        # A call that lasts a whole turn does not profit from warm caches.
        return workload.seconds(quantity, calls[quantity], warm=calls[quantity] > 1)

    turns = [(quantity, workload) for quantity in QUANTITIES for workload in workloads]
    rounds = []
    for seconds in take_turns(turns, plan.rounds, measure, label=model, deadline=deadline, stopped=stopped):
        values = iter(seconds)
        rounds.append({quantity: {norm: next(values) for norm in plan.norms} for quantity in QUANTITIES})
    del workloads, turns
    gc.collect()  # frees memory for the next model
    return summarize_model(model, sizes, rounds) if rounds else None


def _calls_per_turn(workloads: Sequence[Workload], quantity: str) -> int:
    """Calls in a turn of every norm, such that the turn of the fastest one takes `TURN` seconds."""
    fastest = min(workload.seconds(quantity, 1, warm=True) for workload in workloads)
    return min(MAX_CALLS, max(1, math.ceil(TURN / fastest)))
