"""Base class of `compare` and `classify`: several trainings under one config.json, resumed and reported together."""

import json
import shlex
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from gan.config import plugins
from gan.errors import UsageError, UserError
from gan.experiments.locks import run_lock, training_lock
from gan.experiments.plan import Plan, Step, Training
from gan.report.document import Report
from gan.report.terminal import print_report
from gan.runs.command_line import location_flags, program_name
from gan.runs.lock import write_lock
from gan.runs.own_code import import_own_code
from gan.runs.run_dir import RunDirectory
from gan.runtime import Runtime
from gan.utils.counted import counted
from gan.utils.files import prepare_folder, write_json
from gan.utils.progress import say, working
from gan.utils.written_by import does_not_fit

PlanT = TypeVar("PlanT", bound=Plan)
TrainingT = TypeVar("TrainingT", bound=Training)
ImagesT = TypeVar("ImagesT")


class Experiment(ABC, Generic[PlanT, TrainingT, ImagesT]):
    """A run of several trainings: its folder, plan and result files.

    Args:
        name: name of the run.
        parse_plan: inverse of the plan's `to_dict`.
        root: folder that contains checkpoints/ and samples/.
        device: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        UserError: config.json is damaged or was made by another command.
    """

    command: ClassVar[str]
    """Name of the command, and `kind` in config.json."""
    result_name: ClassVar[str]
    """Stem of the result files."""

    def __init__(self, name: str, parse_plan: Callable[[dict[str, Any]], PlanT], root: Path, device: str) -> None:
        self.run = RunDirectory(name, root)
        self.folder = self.run.checkpoints
        self._device = device
        self._parse_plan = parse_plan
        self.only: TrainingT | None = None
        """The one training of `--only`."""
        self.in_worker = False
        """True in a process that `--jobs` has started: it trains `only` and leaves the rest to its parent."""
        self.failed: list[str] = []
        """Trainings whose process has failed, with `--jobs`."""
        self.existing = self._read_config()
        """Content of config.json, with `config` parsed; None for a new run."""
        self.plugins: plugins.Records = dict((self.existing or {}).get("plugins") or {})
        """Records of the user's own code in all trainings; see `gan.config.plugins`."""

    def _read_config(self) -> dict[str, Any] | None:
        path = self.run.config_path
        if not path.exists() and not any(item.name[0] != "." for item in self.folder.glob("*")):
            return None
        try:
            kind = (content := json.loads(path.read_text())).get("kind", "train")
        except (OSError, ValueError, AttributeError) as error:
            raise UserError(f"{path}: cannot be read ({error}); choose another name, or remove the folder") from error
        if kind != self.command:
            raise UsageError(f"RUN {self.run.name}: was made by `{kind}` ({self.folder}); choose another name")
        try:
            plugins.require_unchanged(content.get("plugins"), {}, path)  # its form
            return {**content, "config": self._parse_plan(content["config"])}
        except (KeyError, TypeError, AttributeError, UsageError) as error:
            raise does_not_fit(path, error, content, "choose another name") from error

    def _set_plan(self, requested: PlanT, runtime: Runtime) -> None:
        """Set `requested`, and `plan`, which has the existing trainings of the run too.

        Raises:
            UsageError: the requested plan would change existing trainings; lists the differences.
        """
        self.requested = self.plan = requested
        self.runtime = runtime
        if self.existing:
            if changes := self.existing["config"].differences(requested):
                raise UsageError(
                    f"RUN {self.run.name}: exists already, and these settings would change it; leave them out or "
                    "choose another name:\n  " + "\n  ".join(changes)
                )
            self.plan = requested.merge(self.existing["config"])

    def _read_again(self) -> None:
        """Read config.json again, as other processes may have written it.

        Raises:
            UsageError: its plan contradicts the requested one.
        """
        self.existing = self._read_config()
        self.plugins = {**((self.existing or {}).get("plugins") or {}), **self.plugins}
        self._set_plan(self.requested, self.runtime)

    def choose(self, cell: str) -> None:
        """Train one training of the plan alone: `--only`.

        Raises:
            UsageError: there is no such training; lists all.
        """
        cells = {training.cell: training for training in self.plan.trainings()}
        if cell not in cells:
            raise UsageError(f"--only {cell}: is no training of RUN {self.run.name}; choose from {', '.join(cells)}")
        self.only = cells[cell]

    def execute(self, jobs: int | None = 1) -> int | None:
        """Run or resume the experiment, write its results, and print the tables; return the signal that stopped it.

        Args:
            jobs: number of trainings at a time, each in a process of its own; None: measure which is fastest.

        Raises:
            UserError: anything that the user can correct; with several jobs, after all trainings, if one has failed.
        """
        with training_lock(self.folder, self.only) if self.only else run_lock(self.folder, self.plan.trainings()):
            stopped = self.train(jobs)
            if report := self.publish():
                print_report(report)
                page = self.folder / f"{self.result_name}.html"
                say(f"wrote {page}, {self.result_name}.md and {self.result_name}.json", link=page)
        if stopped is not None:
            flags = ["--only", self.only.cell] if self.only else []
            flags += {None: ["--jobs", "auto"], 1: []}.get(jobs, ["--jobs", str(jobs)])
            say(f"stopped, checkpoint saved; resume with: {program_name()} {shlex.join(self.command_words(flags))}")
        elif self.failed:
            raise UserError(
                f"RUN {self.run.name}: {counted(len(self.failed), 'training')} failed ({', '.join(self.failed)}); "
                "the others are done; run the same command again to resume"
            )
        return stopped

    def command_words(self, flags: list[str]) -> list[str]:
        """The command that resumes the run, as words after the program's name, with these flags."""
        own_code, location = plugins.flag_words(self.plan.own_code()), location_flags(self.run.root, self._device)
        return [self.command, self.run.name, *own_code, *location, *flags]

    def locked(self, training: TrainingT) -> AbstractContextManager[None]:
        """Lock one training of several; that of `--only` is locked already."""
        return nullcontext() if self.only else training_lock(self.folder, training)

    def left(self) -> list[TrainingT]:
        """The requested trainings, or that of `--only`, that are not done."""
        trainings = [self.only] if self.only else self.requested.trainings()
        return [training for training in trainings if not self._is_done(training)]

    def train(self, jobs: int | None = 1) -> int | None:
        """Run the requested trainings that are not done; return the signal that stopped them, or None.

        `jobs` is that of `execute`.

        Raises:
            UserError: the images or the user's own code differ from those that the run began with, the user has not
                named the code, or a file cannot be written.
        """
        if todo := self.left():
            self.plugins |= import_own_code(self.requested, self.plugins, f"RUN {self.run.name}")
            self._prepare(jobs)
            if jobs == 1:
                return self._train_all(todo)
            from gan.experiments.parallel.workers import train_in_workers

            self._begin(todo)
            return train_in_workers(self, todo, jobs)
        assert self.existing is not None
        if self._image_settings(self.existing["config"]) != self._image_settings(self.requested):
            self._load_images()
        with write_lock(self.folder) if not self.in_worker else nullcontext():
            self._read_again()
            self.run.update_config(self.plan.to_dict(), self.plugins)  # finished trainings may be new, or reordered
        return None

    def _write_config(self, facts: Callable[[], dict[str, Any]], images: ImagesT) -> None:
        """Write the plan to config.json; in a new run `facts` are added, in an existing one its content is kept.

        Raises:
            UserError: another process has meanwhile begun the run, with other settings or images.
        """
        if self.in_worker:
            return
        with write_lock(self.folder):
            prepare_folder(self.folder)
            is_new = self.existing is None
            self._read_again()
            if self.existing:
                if is_new:
                    self._require_same_images(images)
                self.run.update_config(self.plan.to_dict(), self.plugins)
            else:
                self.existing = facts()
                self.run.write_config(self.plan.to_dict(), {"kind": self.command, **self.existing}, self.plugins)
            self.existing["config"] = self.plan

    def publish(self, *, pages: bool = True) -> Report | None:
        """Write the results of the trainings that are finished, also those of other processes.

        Args:
            pages: write and return the report too, not only the JSON record.

        Returns:
            None without `pages` or results.
        """
        with write_lock(self.folder):
            self._read_again()
            if not self.results():
                return None
            self.write_record()
            return self.write_pages() if pages else None

    def results(self) -> list[dict[str, Any]]:
        """Read the results of all finished trainings of the run, in the order of the plan."""
        results = (self._read_result(training) for training in self.plan.trainings())
        return [result for result in results if result is not None]

    def write_record(self) -> None:
        """Write the JSON record from the folders of the trainings.

        Raises:
            UserError: the file cannot be written, or the results of trainings are damaged or not comparable.
        """
        assert self.existing is not None
        results = self.results()
        record = {
            "schema": 1,
            "made": time.strftime("%Y-%m-%d %H:%M:%S %z"),
            "config": self.plan.to_dict(),
            **plugins.file_entry(self.plugins),
            "data": self.existing["data"],
            "planned": self.plan.planned,
            **self._summarize(results, self.existing),
            "trainings": results,
        }
        write_json(self.folder / f"{self.result_name}.json", record)

    def write_pages(self) -> Report:
        """Write the Markdown and HTML pages from the record; return their content.

        Raises:
            OSError: a file cannot be read or written.
        """
        with working("drawing the report"):
            from gan.report import write  # imports matplotlib, which takes a second to load

            report = self._build_report(json.loads((self.folder / f"{self.result_name}.json").read_text()))
            write.write_report(report, self.folder, self.result_name)
        return report

    @abstractmethod
    def _image_settings(self, plan: PlanT) -> Mapping[str, Any]:
        """Return the settings that name the images; they may change as long as the images are equal."""

    @abstractmethod
    def _load_images(self) -> ImagesT:
        """Load the images and check that they are those of the existing run."""

    @abstractmethod
    def _require_same_images(self, images: ImagesT) -> None:
        """Check that images are those of the existing run; a UserError if not."""

    def _prepare(self, jobs: int | None) -> None:  # noqa: B027
        """Complete the plan by what has to be measured before the first training."""

    @abstractmethod
    def _begin(self, todo: list[TrainingT]) -> None:
        """Check what all trainings need, cache their images, and write config.json, before processes train them."""

    @abstractmethod
    def build_step(self, training: TrainingT) -> Step:
        """Build a training, without a folder, to measure its speed."""

    @abstractmethod
    def _is_done(self, training: TrainingT) -> bool: ...

    @abstractmethod
    def _train_all(self, todo: list[TrainingT]) -> int | None:
        """Run trainings; return the signal that stopped them, or None."""

    @abstractmethod
    def _read_result(self, training: TrainingT) -> dict[str, Any] | None:
        """Read the result of a training, or return None if it is not finished."""

    @abstractmethod
    def _summarize(self, results: list[dict[str, Any]], existing: Mapping[str, Any]) -> dict[str, Any]:
        """Return further entries of the record: `command`, `rows`, `warnings` and more; `existing` is config.json."""

    @abstractmethod
    def _build_report(self, record: Mapping[str, Any]) -> Report: ...
