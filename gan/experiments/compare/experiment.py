"""The `compare` command behind its flags: settings resolved, images loaded once, trainings run or taken up."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gan.config.train_config import TrainConfig
from gan.data import ImageSet
from gan.errors import Diverged, UsageError, UserError
from gan.evaluation import training_evaluator
from gan.experiments.compare import options, results, summary
from gan.experiments.compare import resume as existing
from gan.experiments.compare.initial_state import initial_state_hashes
from gan.experiments.compare.plan import LR_GRID, ComparedTraining, ComparePlan
from gan.experiments.experiment import image_flags_differ, read_experiment_config
from gan.experiments.provenance import provenance
from gan.metrics.extractor import Extractor
from gan.metrics.reference import Reference
from gan.metrics.score import METRICS
from gan.models import build_discriminator, count_parameters
from gan.report.document import Report
from gan.report.terminal import print_report
from gan.runs import checkpoint, resume
from gan.runs.command_line import location_flags, program_name
from gan.runs.lock import exclusive_lock
from gan.runs.run_dir import RunDirectory
from gan.runtime import resolve_runtime
from gan.training import loop
from gan.training.setup import begin_or_resume, dynamics_callback, dynamics_meter, load_training_images
from gan.training.trainer import Trainer
from gan.utils.files import prepare_folder, write_json
from gan.utils.memory import peak_memory_bytes, reset_peak_memory
from gan.utils.progress import say

KIND = "compare"
NAME = "report"  # of the files of results
RECORD = f"{NAME}.json"

_PAGES_SECONDS = 60.0  # between pages that are written while trainings go on


class Comparison:
    """A run of `compare`: its folder, plan and images.

    Args:
        name: of the run.
        preset, file, given: see `asked.plan_of`.
        root: folder that holds checkpoints/ and samples/.
        device: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        UserError: anything that a user can put right. Nothing has been written then.
    """

    def __init__(
        self,
        name: str,
        preset: str | None,
        file: Path | None,
        given: Mapping[str, Any],
        *,
        root: Path = Path(),
        device: str = "auto",
    ) -> None:
        self.run = RunDirectory(name, root)
        self.folder = self.run.checkpoints
        self.before = read_experiment_config(self.run, KIND, ComparePlan.from_dict)
        before: ComparePlan | None = self.before["config"] if self.before else None
        plan = options.build_plan(name, preset, file, given, before)
        self.runtime = resolve_runtime(device, plan.train.precision, deterministic=plan.train.deterministic)
        self.asked = ComparePlan(plan.which, plan.train.replace({"precision": self.runtime.precision}))
        if before and (changes := before.differences(self.asked)):
            raise UsageError(
                f"RUN {name}: exists already, and these settings would change it; leave them out or choose "
                "another name:\n  " + "\n  ".join(changes)
            )
        self.planned = self.asked.united(before) if before else self.asked

    def train(self) -> int | None:
        """Train all that was asked for and is not done yet; returns the signal that stopped it, or None.

        Raises:
            UserError: a training that is there is not what it should be, the images are not those that the run began
                with, or a file cannot be written.
        """
        self._check_existing(None)
        todo = [one for one in self.asked.trainings() if not existing.is_finished(self._run_of(one), self._config(one))]
        if not todo:
            assert self.before is not None
            if image_flags_differ(self.before["config"].train, self.asked.train):
                self._load_images()
            self.run.update_config(self.planned)  # norms or seeds may have been added that are done, or reordered
            return None
        extractor = training_evaluator.training_extractor(self.asked.train, self.runtime.device)
        self._check_existing(extractor)
        data = self._load_images()
        reference = cache(lambda: training_evaluator.training_reference(data, extractor, METRICS))
        written = 0.0
        for number, training in enumerate(todo, 1):
            say(f"{self.run.name}, {number} of {len(todo)}: {training}")
            stopped = self._train(training, data, extractor, reference)
            if stopped is not None:
                return stopped
            self.write_record()
            if number < len(todo) and time.monotonic() - written > _PAGES_SECONDS:
                self.write_pages()
                written = time.monotonic()
        return None

    def _load_images(self) -> ImageSet:
        data = load_training_images(self.asked.train)
        if self.before:
            resume.require_same_images(self.run, "images", self.before["data"], data)
        return data

    def _train(
        self, training: ComparedTraining, data: ImageSet, extractor: Extractor, reference: Callable[[], Reference]
    ) -> int | None:
        """Begin one training or go on with it; returns the signal that stopped it, or None when it is done."""
        run, config = self._run_of(training), self._config(training)
        torch.manual_seed(config.seed)  # nothing draws from this stream, but it is a part of the checkpoint
        found = checkpoint.newest_checkpoint(run.checkpoints)
        job = Trainer(config, self.runtime, data)
        subject = dynamics_meter(job)
        self._begin(job)
        run.create()
        state = found[1] if found else None
        if state is None:
            results.remove_old_grids(run)
        begin_or_resume(job, run, state, {} if state else {"comparison": {"start": initial_state_hashes(job)}})
        scores = training_evaluator.TrainingEvaluator(
            config, run, extractor, data, job.classes, metrics=METRICS, reference=reference
        )
        memory = TrainingMemory(self.runtime.device, scores)
        diverged = None
        try:
            stopped = loop.run_training_loop(job, run, on_snapshot=memory, watch=dynamics_callback(job, run, subject))
        except Diverged as error:
            stopped, diverged = None, {"step": job.step, "error": str(error)}
            say(f"{training}: diverged, which is recorded: {error}")
        if stopped is not None:
            say(f"{training}: stopped at step {job.step:,} of {config.steps:,}, saved")
            return stopped
        facts = {"diverged": diverged, "peak_memory": memory.peak(), **provenance(self.runtime)}
        results.write_training_result(run, {**training._asdict(), **facts})
        return None

    def results(self) -> list[dict[str, Any]]:
        """What all trainings of the run that are done gave, in the order of the plan."""
        found = (
            results.read_training_result(self._run_of(one), one, self._config(one), self.folder)
            for one in self.planned.trainings()
        )
        return [result for result in found if result is not None]

    def write_record(self) -> None:
        """Write report.json from the folders of the trainings.

        Raises:
            UserError: the file cannot be written, or trainings were not scored alike.
        """
        began = read_experiment_config(self.run, KIND, ComparePlan.from_dict)
        assert began is not None
        done = self.results()
        results.require_same_protocols(done)
        write_json(
            self.folder / RECORD,
            {
                "schema": 1,
                "kind": KIND,
                "made": time.strftime("%Y-%m-%d %H:%M:%S %z"),
                "command": options.compare_command(self.run.name, self.planned),
                "config": self.planned.to_dict(),
                "lr_grid": LR_GRID if self.planned.which.lr_grid else None,
                "data": began["data"],
                "planned": len(list(self.planned.trainings())),
                "rows": summary.summarize_trainings(done, self.planned, began["plain_parameters"]),
                "paired": summary.paired_tests(done, self.planned),
                "warnings": summary.comparison_warnings(done),
                "protocol": next((result["protocol"] for result in done if result["protocol"]), None),
                "real_grid": self._real_grid(done),
                "trainings": done,
            },
        )

    def write_pages(self) -> Report:
        """Write report.md and report.html from report.json; returns what they show.

        Raises:
            OSError: a file cannot be read or written.
        """
        from gan.experiments.compare.report import comparison_report
        from gan.report import write  # brings matplotlib, which takes a second to load

        view = comparison_report(json.loads((self.folder / RECORD).read_text()), self.folder)
        write.write_report(view, self.folder, NAME)
        return view

    def _run_of(self, training: ComparedTraining) -> RunDirectory:
        return RunDirectory(f"{self.run.name}/{training.name}", self.run.root)

    def _config(self, training: ComparedTraining) -> TrainConfig:
        return self.planned.config_of(training)

    def _check_existing(self, extractor: Extractor | None) -> None:
        lines = [
            line
            for one in self.planned.trainings()
            if (line := existing.resume_problem(self._run_of(one), self._config(one), extractor))
        ]
        if lines:
            raise UserError(f"RUN {self.run.name}: cannot go on:\n  " + "\n  ".join(lines))
        if extractor is None:
            results.require_same_protocols(self.results())

    def _begin(self, job: Trainer) -> None:
        """Write config.json, once the first networks could be built on the images."""
        if self.before is not None and self.before["config"] == self.planned:
            return
        prepare_folder(self.folder)
        if self.before is not None:
            self.run.update_config(self.planned)
            self.before = {**self.before, "config": self.planned}
            return
        plain = build_discriminator(job.config.replace({"norm": "none", "norm_layers": None}), job.classes)
        facts = {"data": resume.image_set_record(job.data), "plain_parameters": count_parameters(plain)}
        self.run.write_config(self.planned, {"kind": KIND, **facts})
        self.before = {**facts, "config": self.planned}

    def _real_grid(self, done: list[dict[str, Any]]) -> str | None:
        for result in done:
            path = self.run.samples / result["folder"] / "real.png"
            if path.exists():
                return results.relative(path, self.folder)
        return None


class TrainingMemory:
    """Scores snapshots, and tells the most memory that was held between them: by training, not by scoring.

    Without a GPU that is the memory of the whole process, with the images and the network that scores.
    """

    def __init__(self, device: torch.device, scores: loop.Snapshot) -> None:
        self._device = device
        self._scores = scores
        self._highest = 0
        self._known = reset_peak_memory(device)

    def __call__(self, step: int, network: nn.Module) -> dict[str, Any] | None:
        self._look()
        entry = self._scores(step, network)
        reset_peak_memory(self._device)
        return entry

    def peak(self) -> int | None:
        """In bytes; None where the system cannot tell one piece of work from another."""
        self._look()
        return self._highest if self._known else None

    def _look(self) -> None:
        self._highest = max(self._highest, peak_memory_bytes(self._device))


def run_comparison(
    name: str,
    preset: str | None,
    file: Path | None,
    given: Mapping[str, Any],
    *,
    root: Path = Path(),
    device: str = "auto",
) -> int | None:
    """Begin a comparison, or go on with it; writes report.json, report.md and report.html and prints the tables.

    Args:
        name: of the run, a folder in `root`/checkpoints.
        preset, file, given: see `asked.plan_of`.

    Returns:
        the signal that stopped it, or None.

    Raises:
        UserError: anything that a user can put right.
    """

    experiment = Comparison(name, preset, file, given, root=root, device=device)
    with exclusive_lock(experiment.folder):
        stopped = experiment.train()
        if experiment.results():
            experiment.write_record()
            print_report(experiment.write_pages())
            say(f"wrote {experiment.folder}/{NAME}.html, {NAME}.md and {RECORD}")
    if stopped is not None:
        words = shlex.join(["compare", name, *location_flags(root, device)])
        say(f"stopped, saved; go on with: {program_name()} {words}")
    return stopped
