"""`--jobs auto`: how many trainings at a time run most steps per second in all, measured on this machine."""

from __future__ import annotations

import os
import queue
from statistics import fmean
from typing import Any

import torch

from gan.bench.turns import take_turns
from gan.errors import UserError
from gan.experiments.experiment import Experiment
from gan.experiments.parallel.process import Event, WorkerProcess, start_worker
from gan.experiments.parallel.worker import MEASURE
from gan.experiments.plan import Training
from gan.utils.cores import available_cores, threads_of
from gan.utils.counted import counted
from gan.utils.memory import available_memory
from gan.utils.progress import say
from gan.utils.signals import StopSignals

_RECORD = "jobs"  # entry of config.json, so that a resumed run has the same number of threads
_SECONDS = 1.0  # of a measurement
_ROUNDS = 3
_LEAST_GAIN = 1.05  # for which more jobs are chosen
_MEMORY_SHARE = 0.8  # of the available memory, as scoring takes some too
_POLL_SECONDS = 0.2


def choose_jobs(experiment: Experiment[Any, Any, Any], training: Training, count: int, stop: StopSignals) -> int:
    """Choose the number of jobs: one for each GPU, or the fastest on the CPU, which config.json then has.

    Args:
        experiment: with its config.json written.
        training: the one to measure.
        count: of trainings that are left.
        stop: a signal ends the measurement.
    """
    if experiment.runtime.device.type != "cpu":
        jobs = max(1, torch.cuda.device_count())
        say(f"--jobs auto: {counted(jobs, 'job')}, one for each GPU")
        return jobs
    place = {"cores": available_cores(), "threads": os.environ.get("OMP_NUM_THREADS", "")}
    earlier = (experiment.existing or {}).get(_RECORD)
    if isinstance(earlier, dict) and {**earlier, **place} == earlier and isinstance(earlier.get("jobs"), int):
        jobs = max(1, earlier["jobs"])
        say(f"--jobs auto: {counted(jobs, 'job')} of {counted(threads_of(jobs), 'thread')}, as when the run began")
        return jobs
    candidates = _candidates(count)
    rates = _measure(experiment, training, candidates, stop) if len(candidates) > 1 else {1: 0.0}
    jobs = 1
    for candidate, rate in rates.items():
        if rate > _LEAST_GAIN * rates[jobs]:
            jobs = candidate
    if stop.received is None:
        say(_describe(jobs, rates))
        experiment.run.record(_RECORD, {**place, "jobs": jobs, "steps_per_second": rates})
    return jobs


def _candidates(count: int) -> list[int]:
    """Numbers of jobs to measure: 1, 2, 4 ... up to the cores and the number of trainings."""
    cores = available_cores()
    numbers = [2**power for power in range(cores.bit_length())]
    return [jobs for jobs in numbers if jobs == 1 or (jobs <= count and jobs * threads_of(jobs) <= cores)]


def _describe(jobs: int, rates: dict[int, float]) -> str:
    """The choice, and the steps per second of each number of jobs relative to those of one."""
    text = f"--jobs auto: {counted(jobs, 'job')} of {counted(threads_of(jobs), 'thread')}"
    measured = [
        f"{rate / rates[1]:.2f} times as many with {other} of {counted(threads_of(other), 'thread')}"
        for other, rate in rates.items()
        if other > 1
    ]
    if not measured:
        return f"{text}; there is nothing to measure with this number of cores, trainings and this memory"
    one = f"1 job of {counted(threads_of(1), 'thread')} runs {rates[1]:.3g} steps/s"
    return f"{text}; {one}, {', '.join(measured)}"


def _measure(
    experiment: Experiment[Any, Any, Any], training: Training, candidates: list[int], stop: StopSignals
) -> dict[int, float]:
    """Steps per second of all jobs together, by the number of jobs; of 1 alone after a signal.

    Raises:
        UserError: a process has failed.
    """
    free = available_memory()
    events: queue.Queue[Event] = queue.Queue()
    workers: list[WorkerProcess] = []

    def start(number: int) -> None:
        ready = [start_worker(experiment, training, 0, 1, MEASURE, events) for _ in range(number - len(workers))]
        workers.extend(ready)
        _measured(ready, events, stop)

    def rate(jobs: int) -> float:
        for worker in workers[:jobs]:
            worker.send(f"{threads_of(jobs)} {_SECONDS}")
        return sum(entry["rate"] for entry in _measured(workers[:jobs], events, stop))

    try:
        start(1)
        workers[0].send(f"{threads_of(1)} 0")
        memory = _measured(workers, events, stop)[0]["memory"]
        fitting = [jobs for jobs in candidates if jobs == 1 or jobs * memory <= _MEMORY_SHARE * free]
        start(fitting[-1])
        rounds = list(take_turns(fitting, _ROUNDS, rate, label="measuring --jobs"))
        return {jobs: fmean(turn[index] for turn in rounds) for index, jobs in enumerate(fitting)}
    except _Stopped:
        return {1: 0.0}
    finally:
        for worker in workers:
            worker.kill()


class _Stopped(Exception):
    """A signal was received during the measurement."""


def _measured(workers: list[WorkerProcess], events: queue.Queue[Event], stop: StopSignals) -> list[dict[str, Any]]:
    """The next measurement of each process.

    Raises:
        UserError: a process has failed.
    """
    found: dict[int, dict[str, Any]] = {}
    while len(found) < len(workers):
        if stop.received is not None:
            raise _Stopped
        try:
            worker, entry = events.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            continue
        if entry is None:
            raise UserError(f"--jobs auto: the measurement of {worker.cell} failed: {worker.failure()}")
        if "measured" in entry:
            found[worker.pid] = entry["measured"]
    return list(found.values())
