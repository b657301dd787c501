"""The `classify` command behind its flags: settings resolved, images loaded, trainings run or taken up."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from gan.data import ImageSet
from gan.data.train_test_sets import load_train_and_test
from gan.dynamics.callback import DynamicsCallback
from gan.dynamics.measure import DynamicsMeter
from gan.dynamics.probe_batches import ClassifierProbe
from gan.errors import UsageError
from gan.experiments.classify import loop, results
from gan.experiments.classify.config import ClassifyConfig, ClassifyTraining, classify_command
from gan.experiments.classify.trainer import ClassifierTrainer, count_steps
from gan.experiments.experiment import image_flags_differ, read_experiment_config
from gan.experiments.provenance import provenance_warnings
from gan.models import count_parameters
from gan.models.classifiers import build_classifier
from gan.report.terminal import print_report
from gan.runs import checkpoint, resume
from gan.runs.command_line import location_flags, program_name
from gan.runs.lock import exclusive_lock
from gan.runs.run_dir import RunDirectory
from gan.runtime import Runtime, resolve_runtime
from gan.utils.files import prepare_folder, write_json
from gan.utils.progress import progress, say
from gan.utils.signals import StopSignals

NAME = KIND = "classify"  # of the files of results, and of the run
RECORD = f"{NAME}.json"


class Classification:
    """A run of `classify`: its folder, settings and images.

    Args:
        name: of the run.
        given: settings that the user gave; the others are those of the run, or defaults for a new one.
        root: folder that holds checkpoints/.
        device: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        UserError: anything that a user can put right. Nothing has been written then.
    """

    def __init__(self, name: str, given: Mapping[str, Any], *, root: Path = Path(), device: str = "auto") -> None:
        self.run = RunDirectory(name, root)
        self.folder = self.run.checkpoints
        self.before = read_experiment_config(self.run, KIND, ClassifyConfig.from_dict)
        self.asked, self.runtime = self._settings(given, device)
        self.planned = self.asked.united(self.before["config"]) if self.before else self.asked

    def _settings(self, given: Mapping[str, Any], device: str) -> tuple[ClassifyConfig, Runtime]:
        before: ClassifyConfig | None = self.before["config"] if self.before else None
        if before and given.get("precision") == "auto":
            given = {**given, "precision": before.precision}  # what it meant when the run began
        after = (before or ClassifyConfig()).replace(given)
        runtime = resolve_runtime(device, after.precision, deterministic=after.deterministic)
        after = after.resolved(runtime.precision)
        if before and (changes := before.differences(after)):
            raise UsageError(
                f"RUN {self.run.name}: exists already, and these settings would change it; leave them out or choose "
                "another name:\n  " + "\n  ".join(changes)
            )
        return after, runtime

    def train(self) -> int | None:
        """Train all that was asked for and is not done yet; returns the signal that stopped it, or None.

        Raises:
            UserError: the images are not those that the run began with, or a file cannot be written.
        """
        todo = [training for training in self.asked.trainings() if not self._done(training)]
        if not todo:
            assert self.before is not None
            if image_flags_differ(self.before["config"], self.asked):
                self._load_sets()
            self.run.update_config(self.planned)  # norms, rates or seeds may have been added that are done already
            return None
        train, test = self._load_sets()
        prepare_folder(self.folder)
        if self.before:
            self.run.update_config(self.planned)
        else:
            data = {
                "classes": list(train.classes),
                "train": resume.image_set_record(train),
                "test": resume.image_set_record(test),
            }
            self.run.write_config(self.planned, {"kind": KIND, "data": data})
        self._say_what(len(todo), train, test)
        with StopSignals() as stop:
            for number, training in enumerate(todo, 1):
                if not self._train(training, number, len(todo), train, test, stop):
                    return stop.received
                self.write_record()
                if stop.received is not None and number < len(todo):
                    return stop.received
        return None

    def _load_sets(self) -> tuple[ImageSet, ImageSet]:
        config = self.asked
        assert config.channels is not None
        train, test = load_train_and_test(
            config.data,
            resolution=config.resolution,
            channels=config.channels,
            test_data=config.test_data,
            data_root=Path(config.data_root),
            limit=config.limit,
            batch=config.batch,
            skip_bad_images=config.skip_bad_images,
        )
        if self.before:
            for kind, images in (("train", train), ("test", test)):
                resume.require_same_images(self.run, f"{kind} images", self.before["data"][kind], images)
        return train, test

    def _train(
        self, training: ClassifyTraining, number: int, count: int, train: ImageSet, test: ImageSet, stop: StopSignals
    ) -> bool:
        folder = self.folder / training.name
        prepare_folder(folder)
        job = ClassifierTrainer(self.asked, training, self.runtime, train, test)
        # Now, while the weights are the initial ones.
        subject = self._dynamics_of(job, train) if self.asked.dynamics else None
        loop.resume_classifier(job, folder)
        dynamics = None
        if subject:
            dynamics = DynamicsCallback(folder, subject, every=self.asked.dynamics, last=job.steps, step=job.step)
        if job.step:
            say(f"{training}: going on at step {job.step} of {job.steps}")
        start, total = (number - 1) * job.steps + job.step, count * job.steps
        title = f"{number}/{count} {training}"
        try:
            with progress(title, total, start=start, per_item=self.asked.batch) as advance:
                done = loop.train_classifier(job, folder, train.classes, stop, advance, dynamics)
        finally:
            job.batches.close()
        if not done:
            say(f"{training}: stopped at step {job.step} of {job.steps}, saved")
            return False
        result = results.read_classify_result(folder)
        assert result is not None
        say(f"{training}: {_told(result)}")
        return True

    def _dynamics_of(self, job: ClassifierTrainer, train: ImageSet) -> DynamicsMeter:
        probe = ClassifierProbe(train, self.asked.batch, self.runtime.device)
        return DynamicsMeter(job.network, probe, {"kind": "classifier", "norm": job.training.norm})

    def _done(self, training: ClassifyTraining) -> bool:
        folder = self.folder / training.name
        done = (folder / results.RESULT).exists()
        if done:  # it may have been killed before it did this
            for path in checkpoint.list_checkpoints(folder):
                path.unlink()
        return done

    def results(self) -> list[dict[str, Any]]:
        """What all trainings of the run that are done gave, in the order of the plan."""
        found = (results.read_classify_result(self.folder / training.name) for training in self.planned.trainings())
        known = self.before or {}
        # Older results have neither.
        older: dict[str, Any] = {key: known[key] for key in ("runtime", "versions") if key in known}
        return [{**older, **result} for result in found if result is not None]

    def write_record(self) -> None:
        """Write classify.json from the folders of the trainings.

        Raises:
            UserError: the file cannot be written.
        """
        config = read_experiment_config(self.run, KIND, ClassifyConfig.from_dict)
        assert config is not None
        done = self.results()
        plain = _parameters(self.planned, len(config["data"]["classes"]))
        record = {
            "schema": 1,
            "made": time.strftime("%Y-%m-%d %H:%M:%S %z"),
            "command": classify_command(self.run.name, self.planned),
            "config": self.planned.to_dict(),
            "data": config["data"],
            "planned": len(list(self.planned.trainings())),
            "rows": results.summarize_classifiers(done, plain, self.planned.trainings()),
            "trainings": done,
            "warnings": provenance_warnings(done),
        }
        write_json(self.folder / RECORD, record)

    def _say_what(self, count: int, train: ImageSet, test: ImageSet) -> None:
        config = self.asked
        say(
            f"{self.run.name}: {config.model}, {count} to train, {config.epochs} epochs "
            f"({count_steps(config, len(train)):,} steps) each, {self.runtime.precision} on {self.runtime.device}, "
            f"{len(train):,} images of {train.name}, tested on {len(test):,}"
        )


@cache
def _parameters(config: ClassifyConfig, classes: int) -> int:
    """Parameters of the classifier without any norm."""
    assert config.channels is not None
    network = build_classifier(
        config.model, "none", resolution=config.resolution, channels=config.channels, classes=classes
    )
    return count_parameters(network)


def _told(result: Mapping[str, Any]) -> str:
    if result["diverged"]:
        where = result["diverged"]
        return f"diverged in epoch {where['epoch']}, step {where['step']}: the loss is not finite"
    final, best = result["final"], result["best"]
    return (
        f"test accuracy {final['test_accuracy']:.2%}, at best {best['test_accuracy']:.2%} (epoch {best['epoch']}); "
        f"{1e3 * result['step_seconds']:.1f} ms a step"
    )


def run_classification(name: str, given: Mapping[str, Any], *, root: Path = Path(), device: str = "auto") -> int | None:
    """Begin an experiment, or go on with it; writes classify.json, classify.md and classify.html and prints a table.

    Args:
        name: of the run, a folder in `root`/checkpoints.
        given: settings; those that are not given are those of the run, or defaults for a new one.

    Returns:
        the signal that stopped it, or None.

    Raises:
        UserError: anything that a user can put right.
    """
    from gan.experiments.classify.report import classification_report
    from gan.report import write  # brings matplotlib, which takes a second to load

    experiment = Classification(name, given, root=root, device=device)
    folder = experiment.folder
    with exclusive_lock(folder):
        stopped = experiment.train()
        if experiment.results():
            experiment.write_record()
            view = classification_report(json.loads((folder / RECORD).read_text()), folder)
            write.write_report(view, folder, NAME)
            print_report(view)
            say(f"wrote {folder}/{NAME}.html, {NAME}.md and {RECORD}")
    if stopped is not None:
        words = shlex.join(["classify", name, *location_flags(root, device)])
        say(f"stopped, saved; go on with: {program_name()} {words}")
    return stopped
