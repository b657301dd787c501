"""Base class of `compare` and `classify`: several trainings under one config.json, resumed and reported together."""

import json
import shlex
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

from gan.config import plugins
from gan.errors import UsageError, UserError
from gan.experiments.hooks import ExperimentHooks, ImagesT, PlanT, TrainingT
from gan.experiments.locks import run_lock, training_lock
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

_PAGES_SECONDS = 60.0  # between two updates of the pages while trainings continue


class Experiment(ExperimentHooks[PlanT, TrainingT, ImagesT]):
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
        self._pages_at = time.monotonic()
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
        return [self.command, self.run.name, *self._resume_flags(), *self._location(), *flags]

    def worker_words(self, training: TrainingT, work: str) -> list[str]:
        """The command of the process of one training, with the user's own code that it may run.

        Args:
            work: what it does, see `parallel.worker`.
        """
        references = [reference for code in self.config_of(training).own_code() for reference in code.references]
        own_code = [word for reference in references for word in ("--own-code", reference)]
        words = ["--only", training.cell, "--worker", work, *own_code]
        return [self.command, self.run.name, *self._location(), *words]

    def _location(self) -> list[str]:
        return location_flags(self.run.root, self._device)

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
            needed = self.config_of(self.only) if self.in_worker and self.only else self.requested
            self.plugins |= import_own_code(needed, self.plugins, f"RUN {self.run.name}")
            self._require_buildable(todo)
            self._prepare(jobs)
            if jobs == 1:
                return self._train_all(todo)
            from gan.experiments.parallel.workers import train_in_workers

            self._begin(todo)
            return train_in_workers(self, todo, jobs)
        assert self.existing is not None
        if self._image_settings(self.existing["config"]) != self._image_settings(self.requested):
            self._load_images()
        if not self.in_worker:
            with write_lock(self.folder):
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

        Raises:
            UserError: a file cannot be written, or the results of trainings are damaged or not comparable.
            OSError: a page cannot be written.
        """
        with write_lock(self.folder):
            self._read_again()
            if not (results := self.results()):
                return None
            self._write_record(results)
            return self._write_pages() if pages else None

    def publish_between(self) -> None:
        """Write the results while trainings continue; the pages at most once a minute."""
        pages = time.monotonic() - self._pages_at > _PAGES_SECONDS
        self.publish(pages=pages)
        self._pages_at = time.monotonic() if pages else self._pages_at

    def results(self) -> list[dict[str, Any]]:
        """Read the results of all finished trainings of the run, in the order of the plan."""
        results = (self._read_result(training) for training in self.plan.trainings())
        return [result for result in results if result is not None]

    def _write_record(self, results: list[dict[str, Any]]) -> None:
        assert self.existing is not None
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

    def _write_pages(self) -> Report:
        """Write the Markdown and HTML pages from the record; return their content."""
        with working("drawing the report"):
            from gan.report import write  # imports matplotlib, which takes a second to load

            report = self._build_report(json.loads((self.folder / f"{self.result_name}.json").read_text()))
            write.write_report(report, self.folder, self.result_name)
        return report
