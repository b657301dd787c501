"""The `compare` command: resolve the plan, load the images once, run or resume the trainings."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from gan.config.plugins import file_entry, require_unchanged
from gan.config.train_config import TrainConfig
from gan.data.image_set import ImageSet
from gan.errors import Diverged, UserError
from gan.evaluation import training_evaluator
from gan.experiments.compare import options, results, summary, tuning
from gan.experiments.compare.dry_run import dry_run_comparison
from gan.experiments.compare.initial_state import comparison_facts, initial_state_hashes
from gan.experiments.compare.plan import ComparedTraining, ComparePlan
from gan.experiments.compare.rate_settings import LR_GRID
from gan.experiments.compare.resume import is_finished, resume_problem
from gan.experiments.compare.step_times import measure_step_times
from gan.experiments.compare.training_memory import TrainingMemory
from gan.experiments.experiment import Experiment
from gan.experiments.parallel.worker import work
from gan.experiments.plan import Step
from gan.experiments.provenance import write_result
from gan.experiments.summary import select_results
from gan.metrics.extractor import Extractor
from gan.metrics.reference import Reference
from gan.metrics.score_table import DEFAULT_METRICS
from gan.models import build_discriminator
from gan.norm_check.runner import require_sound_norms
from gan.report.document import Report
from gan.runs import checkpoint, resume
from gan.runs.run_dir import RunDirectory
from gan.runtime import Runtime, resolve_runtime
from gan.training import loop
from gan.training.setup import begin_or_resume, dynamics_callback, dynamics_meter, load_training_images
from gan.training.trainer import Trainer
from gan.utils.files import relative_path
from gan.utils.progress import say, warn, working

_CPU = torch.device("cpu")  # the other devices are for the trainings


class Comparison(Experiment[ComparePlan, ComparedTraining, ImageSet]):
    """A run of `compare`.

    Args:
        name: name of the run.
        preset, file, overrides, arms: see `options.build_plan`.
        root: folder that contains checkpoints/ and samples/.
        device: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        UserError: anything that the user can correct. Nothing has been written then.
    """

    command = "compare"
    result_name = "report"

    def __init__(
        self,
        name: str,
        preset: str | None,
        file: Path | None,
        overrides: Mapping[str, Any],
        root: Path,
        device: str,
        arms: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(name, ComparePlan.from_dict, root, device)
        self._said: set[str] = set()  # warnings about scores, each printed once
        self._images: ImageSet | None = None
        existing = self.existing["config"] if self.existing else None
        plan = options.build_plan(name, preset, file, overrides, existing, device, arms)
        runtime = resolve_runtime(device, plan.train.precision, deterministic=plan.train.deterministic)
        self._set_plan(replace(plan, train=plan.train.replace({"precision": runtime.precision})), runtime)

    def choose(self, cell: str) -> None:
        """See `Experiment.choose`; a training of --then needs the tuning of its arm to be complete."""
        self.choose_settings()
        tuning.require_tuned(cell, self.results(), self.plan)
        super().choose(cell)

    def train(self, jobs: int | None = 1) -> int | None:
        """See `Experiment.train`; also raises a UserError if an existing training does not match the plan."""
        self.choose_settings()
        self.check_trainings(None)
        results.require_same_protocols(self.results())
        stopped = super().train(jobs)
        if stopped is None and not self.failed and not self.only and self.choose_settings():
            stopped = super().train(jobs)
        return stopped

    def choose_settings(self) -> bool:
        """With --then, choose the setting of each arm whose tuning is complete; return whether any was chosen."""
        if not self.plan.compare.then:
            return False
        found = tuning.choose_settings(self.results(), self.plan)
        new = {arm: setting for arm, setting in found.items() if arm not in self.plan.chosen}
        if new:
            self._set_plan(replace(self.requested, chosen={**self.plan.chosen, **new}), self.runtime)
            for arm, setting in new.items():
                say(tuning.choice_text(arm, setting, self.plan.compare.tune))
        return bool(new)

    def check_trainings(self, extractor: Extractor | None) -> None:
        """Raise a UserError if trainings cannot be resumed; with `--only`, others may be running."""
        checked = [self.only] if self.only else self.plan.trainings()
        trainings = ((self._run_of(each), self.plan.config_of(each)) for each in checked)
        if lines := [line for run, config in trainings if (line := resume_problem(run, config, extractor))]:
            raise UserError(f"RUN {self.run.name}: cannot be resumed:\n  " + "\n  ".join(lines))

    def _run_of(self, training: ComparedTraining) -> RunDirectory:
        return RunDirectory(f"{self.run.name}/{training.name}", self.run.root)

    def _is_done(self, training: ComparedTraining) -> bool:
        return is_finished(self._run_of(training), self.plan.config_of(training))

    def config_of(self, training: ComparedTraining) -> TrainConfig:
        """See `Experiment.config_of`."""
        return self.plan.config_of(training)

    def _resume_flags(self) -> list[str]:
        return options.resume_flags(self.requested, self.plan)

    def _image_settings(self, plan: ComparePlan) -> Mapping[str, Any]:
        return {name: getattr(plan.train, name) for name in ("data", "data_root", "skip_bad_images")}

    def _load_images(self) -> ImageSet:
        if self._images is None:
            self._images = load_training_images(self.requested.train)
            if self.existing:
                self._require_same_images(self._images)
        return self._images

    def _require_same_images(self, images: ImageSet) -> None:
        assert self.existing is not None
        resume.require_same_images(self.run, "images", self.existing["data"], images)

    def _prepare(self, jobs: int | None) -> None:
        """With --budget seconds, measure the time of a step of each new arm, and write it to config.json."""
        plan = self.plan
        missing = [arm for arm in plan.arms if arm.name not in plan.step_times]
        if plan.compare.budget != "seconds" or not missing or self.in_worker:
            return
        require_sound_norms(dict.fromkeys(plan.arm_config(arm).norm for arm in missing))
        arms, reference = {arm.name: arm.config(plan.train) for arm in plan.arms}, plan.reference_arm
        times = measure_step_times(
            [(arm.name, arms[arm.name]) for arm in missing],
            (reference, arms[reference]),
            lambda name: self.build_step(ComparedTraining(name, 0)),
            jobs=jobs,
        )
        self._set_plan(replace(self.requested, step_times={**plan.step_times, **times}), self.runtime)
        self._write_plan(arms[reference])  # another process may have measured other times

    def _begin(self, todo: list[ComparedTraining]) -> None:
        self.check_trainings(training_evaluator.training_extractor(self.requested.train, _CPU))
        self._write_plan(self.plan.config_of(todo[0]))
        self._images = None  # each process loads its own

    def _write_plan(self, config: TrainConfig) -> None:
        """Write config.json before the first training, with facts of networks of this config on the CPU."""
        data = self._load_images()
        trainer = Trainer(config, Runtime(_CPU, self.runtime.bf16), data)
        self._write_config(lambda: comparison_facts(trainer), data)

    def build_step(self, training: ComparedTraining) -> Step:
        """See `Experiment.build_step`."""
        trainer = Trainer(self.plan.config_of(training), self.runtime, self._load_images())

        def step() -> None:
            trainer.train_step()
            trainer.synchronize()

        return step

    def _require_buildable(self, todo: list[ComparedTraining]) -> None:
        configs = {training.arm: self.plan.config_of(training) for training in todo}
        require_sound_norms(dict.fromkeys(config.norm for config in configs.values()))
        for config in configs.values():
            build_discriminator(config)

    def _train_all(self, todo: list[ComparedTraining]) -> int | None:
        extractor = training_evaluator.training_extractor(self.requested.train, self.runtime.device)
        self.check_trainings(extractor)
        data = self._load_images()
        self._metrics = training_evaluator.training_metrics(self.requested.train, extractor, DEFAULT_METRICS)
        reference = cache(lambda: training_evaluator.training_reference(data, extractor, self._metrics))
        for number, training in enumerate(todo, 1):
            if not self.in_worker:
                say(f"{self.run.name}, {number} of {len(todo)}: {training}")
            with self.locked(training):  # another process may have finished it
                stopped = None if self._is_done(training) else self._train(training, data, extractor, reference)
            if stopped is not None:
                return stopped
            if number < len(todo):
                self.publish_between()
        return None

    def _train(
        self, training: ComparedTraining, data: ImageSet, extractor: Extractor, reference: Callable[[], Reference]
    ) -> int | None:
        """Run or resume one training; return the signal that stopped it, or None when it is done."""
        run, config = self._run_of(training), self.plan.config_of(training)
        torch.default_generator.manual_seed(config.seed)  # nothing draws from it, but its state is saved
        newest = checkpoint.newest_checkpoint(run.checkpoints)
        with working("building the networks"):
            trainer = Trainer(config, self.runtime, data)
        require_unchanged(self.plugins, trainer.plugins, f"RUN {self.run.name}")
        meter = dynamics_meter(trainer)
        self._write_config(lambda: comparison_facts(trainer), data)  # once networks could be built for the images
        run.create()
        if newest:
            begin_or_resume(trainer, run, newest.state, {})
        else:
            results.remove_old_grids(run)
            begin_or_resume(trainer, run, None, {"comparison": {"start": initial_state_hashes(trainer)}})
        evaluator = training_evaluator.TrainingEvaluator(
            config, run, extractor, data, trainer.classes, metrics=self._metrics, reference=reference, said=self._said
        )
        snapshots = TrainingMemory(self.runtime.device, evaluator)
        diverged = None
        try:
            dynamics = dynamics_callback(trainer, run, meter)
            stopped = loop.run_training_loop(trainer, run, on_snapshot=snapshots, dynamics=dynamics)
        except Diverged as error:
            stopped, diverged = None, {"step": trainer.step, "error": str(error)}
            warn(f"{training}: diverged, recorded in the results: {error}")
        if stopped is not None:
            say(f"{training}: stopped at step {trainer.step:,} of {config.steps:,}, checkpoint saved")
            return stopped
        facts = {**training._asdict(), "diverged": diverged, "peak_memory": snapshots.peak()}
        write_result(run.checkpoints, facts | file_entry(trainer.plugins), self.runtime)
        return None

    def _read_result(self, training: ComparedTraining) -> dict[str, Any] | None:
        run, config = self._run_of(training), self.plan.config_of(training)
        return results.read_training_result(run, training, config, self.folder)

    def _summarize(self, done: list[dict[str, Any]], existing: Mapping[str, Any]) -> dict[str, Any]:
        results.require_same_protocols(done)
        tested = select_results(done, setting="") if self.plan.compare.tune else done
        real_grids = (self.run.samples / result["folder"] / "real.png" for result in done)
        return {
            "kind": self.command,
            "command": options.compare_command(self.run.name, self.plan),
            "lr_grid": LR_GRID if self.plan.compare.lr_grid else None,
            "tuning": tuning.tuning_record(done, self.plan) if self.plan.compare.tune else None,
            "rows": summary.summarize_trainings(tested, self.plan, existing["plain_parameters"]),
            "paired": summary.paired_tests(tested, self.plan.compare.baseline),
            "warnings": summary.comparison_warnings(done, self.plan),
            "score_warnings": list(dict.fromkeys(line for result in done for line in result["score_warnings"])),
            "protocol": next((result["protocol"] for result in done if result["protocol"]), None),
            "real_grid": next((relative_path(path, self.folder) for path in real_grids if path.exists()), None),
        }

    def _build_report(self, record: Mapping[str, Any]) -> Report:
        from gan.experiments.compare.report import comparison_report  # imports matplotlib

        return comparison_report(record, self.folder)


def run_comparison(
    name: str,
    preset: str | None,
    file: Path | None,
    overrides: Mapping[str, Any],
    *,
    root: Path,
    device: str,
    dry_run: bool = False,
    arms: Mapping[str, Mapping[str, Any]] | None = None,
    jobs: int | None = 1,
    only: str | None = None,
    worker: str | None = None,
) -> int | None:
    """Run or resume a comparison: see `Comparison` for the arguments and `Experiment.execute` for the result.

    Args:
        dry_run: print the trainings that are left and an estimate of time and disk; train and write nothing.
        jobs: see `Experiment.execute`.
        only: the training to train alone; see `Experiment.choose`.
        worker: the work of this process, if `--jobs` has started it; see `parallel.worker`.
    """
    comparison = Comparison(name, preset, file, overrides, root, device, arms)
    if only is not None:
        comparison.choose(only)
    if worker is not None:
        return work(comparison, worker)
    if not dry_run:
        return comparison.execute(jobs)
    comparison.choose_settings()
    comparison.check_trainings(None)
    waiting = comparison.plan.waiting if only is None else 0
    dry_run_comparison(comparison.plan, comparison.left(), waiting, comparison.runtime, jobs)
    return None
