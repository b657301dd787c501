"""Runs in processes of their own, which can be killed. Forked from a server that has torch loaded: quick to start."""

from __future__ import annotations

import html
import multiprocessing
import os
import random
import signal
import threading
from pathlib import Path
from typing import Any

import torch

from gan import cli
from gan.evaluation import training_evaluator
from gan.experiments.classify import loop
from gan.experiments.classify.experiment import run_classification
from gan.experiments.classify.trainer import ClassifierTrainer
from gan.experiments.compare.experiment import run_comparison
from gan.report import charts
from gan.training import train, trainer
from gan.utils import files

context = multiprocessing.get_context("forkserver")
# torch._dynamo is what the first optimizer of a process imports.
_PRELOAD = [
    "pytest",
    "gan.cli",
    "gan.experiments.classify.report",
    "gan.experiments.compare.report",
    "sklearn.datasets",
    "torch._dynamo",
]
context.set_forkserver_preload([*_PRELOAD, "tests.helpers.runs", "tests.helpers.jobs"])


def run_to_end(root: Path, flags: dict[str, Any], *, resume: bool = False) -> None:
    """Train run `r` in a process of its own until it is done."""
    process = context.Process(target=_train, args=(root, flags, resume, None))
    process.start()
    process.join()
    assert process.exitcode == 0


def run_and_kill(root: Path, flags: dict[str, Any], moment: tuple[str, float], *, resume: bool) -> bool:
    """Train run `r` and kill -9 it at a moment; False if it was done before.

    Args:
        moment: ("seconds", s) after the first step; or ("save", n), in the middle of writing the n-th checkpoint; or
            ("renamed", n), just after the n-th checkpoint has its name.
    """
    process = context.Process(target=_train, args=(root, flags, resume, moment))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def signalled_exit_code(root: Path, number: int, flags: list[str], command: str = "train") -> int | None:
    """Train or classify run `r` on the command line, send it a signal after three steps; returns its exit code."""
    process = context.Process(target=_run_and_signal, args=(root, number, flags, command))
    process.start()
    process.join()
    return process.exitcode


def classify_to_end(root: Path, flags: dict[str, Any], moment: tuple[str, float] | None = None) -> bool:
    """Run experiment `r` in a process of its own; with a moment, kill it then. Whether it came to its end."""
    process = context.Process(target=_classify, args=(root, flags, moment))
    process.start()
    process.join()
    assert process.exitcode in ((0,) if moment is None else (0, -signal.SIGKILL))
    return process.exitcode == 0


def command_line(words: list[str]) -> int:
    """Run the command line in this process; returns its exit code."""
    try:
        cli.main(words)
    except SystemExit as stopped:
        return stopped.code if isinstance(stopped.code, int) else 0
    return 0


def compare_to_end(root: Path, flags: dict[str, Any], moment: tuple[str, float] | None = None) -> bool:
    """Run comparison `r` in a process of its own; with a moment, kill it then. Whether it came to its end."""
    process = context.Process(target=_compare, args=(root, flags, moment))
    process.start()
    process.join()
    assert process.exitcode in ((0,) if moment is None else (0, -signal.SIGKILL))
    return process.exitcode == 0


def random_moment(rng: random.Random, longest: float) -> tuple[str, float]:
    """A moment to kill a run at: at any time, or in or after a save."""
    kind = rng.choice(["seconds", "seconds", "save", "renamed"])
    return kind, rng.uniform(0, longest) if kind == "seconds" else rng.randint(1, 3)


def _train(root: Path, flags: dict[str, Any], resume: bool, moment: tuple[str, float] | None) -> None:
    torch.set_num_threads(1)
    if moment is not None:
        _arm(*moment, trainer.Trainer)
    train.train_run("r", None, None, flags, resume=resume, dry_run=False, root=root, device="cpu")


def _classify(root: Path, flags: dict[str, Any], moment: tuple[str, float] | None) -> None:
    torch.set_num_threads(1)
    if moment is not None:
        _arm(*moment, ClassifierTrainer)
    loop.SAVE_SECONDS = 0.0  # a checkpoint after every step
    run_classification("r", flags, root=root, device="cpu")


def plain_chart(lines: Any, *, alt: str, **labels: str) -> str:
    """In place of a chart: nothing but what it shows, in words."""
    return f'<svg class="chart" role="img" aria-label="{html.escape(alt)}"></svg>'


def _compare(root: Path, flags: dict[str, Any], moment: tuple[str, float] | None) -> None:
    torch.set_num_threads(1)
    charts.svg_chart = plain_chart
    if moment is not None and moment[0] == "score":
        _die_scoring(int(moment[1]))
    elif moment is not None:
        _arm(*moment, trainer.Trainer)
    run_comparison("r", None, None, flags, root=root, device="cpu")


def _die_scoring(when: int) -> None:
    """Kill this process in the middle of its n-th score."""
    real, calls = training_evaluator.score, 0

    def counted(*arguments: Any, **options: Any) -> dict[str, Any]:
        nonlocal calls
        calls += 1
        if calls == when:
            _die()
        return real(*arguments, **options)

    training_evaluator.score = counted


def _run_and_signal(root: Path, number: int, flags: list[str], command: str) -> None:
    torch.set_num_threads(1)
    trained: Any = {"train": trainer.Trainer, "classify": ClassifierTrainer}[command]
    step = trained.train_step

    def counted(self: Any, *arguments: Any) -> None:
        step(self, *arguments)
        if self.step == 3:
            os.kill(os.getpid(), number)

    trained.train_step = counted
    cli.main([command, "r", "--out", str(root), *flags])


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _arm(kind: str, when: float, trained: Any) -> None:
    """Kill this process at a moment; `trained` is the class whose `train_step` is watched for the first step."""
    if kind == "seconds":
        step = trained.train_step

        def first_step(self: Any, *arguments: Any) -> None:
            trained.train_step = step
            threading.Timer(when, _die).start()
            step(self, *arguments)

        trained.train_step = first_step
        return
    replace, saves = os.replace, 0

    def counted(source: Any, target: Any) -> None:
        nonlocal saves
        if str(target).endswith(".pt"):
            saves += 1
            if saves == when and kind == "save":
                with open(source, "r+b") as file:
                    file.truncate(os.path.getsize(source) // 2)
                _die()
        replace(source, target)
        if str(target).endswith(".pt") and saves == when:
            _die()

    files.os.replace = counted  # type: ignore[assignment]
