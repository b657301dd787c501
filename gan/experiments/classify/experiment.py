"""The `classify` command: resolve the configuration, load the images, run or resume the trainings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gan.config.plugins import require_unchanged
from gan.data.image_set import ImageSet
from gan.data.train_test_sets import load_train_and_test, require_full_batch
from gan.dynamics.callback import DynamicsCallback
from gan.dynamics.measure import DynamicsMeter
from gan.dynamics.probe_batches import ClassifierProbe
from gan.experiments.classify import generated, loop, results
from gan.experiments.classify.config import (
    ClassifyConfig,
    ClassifyTraining,
    classify_command,
    real_command,
    resume_flags,
)
from gan.experiments.classify.trainer import ClassifierTrainer, count_steps
from gan.experiments.experiment import Experiment
from gan.experiments.parallel.worker import work
from gan.experiments.plan import Step
from gan.experiments.provenance import RESULT, provenance_warnings
from gan.models.classifiers import build_classifier
from gan.norm_check.runner import require_sound_norms
from gan.report.document import Report
from gan.runs import resume
from gan.runs.own_code import import_own_code
from gan.runtime import resolve_runtime
from gan.utils.counted import counted
from gan.utils.files import prepare_folder
from gan.utils.progress import progress, say
from gan.utils.signals import StopSignals


class Classification(Experiment[ClassifyConfig, ClassifyTraining, tuple[ImageSet, ImageSet]]):
    """A run of `classify`.

    Args:
        name: name of the run.
        overrides: values that the user gave; the others are those of the run, or defaults for a new one.
        root: folder that contains checkpoints/.
        device: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        UserError: anything that the user can correct. Nothing has been written then.
    """

    command = result_name = "classify"
    _generator_record: Mapping[str, Any]

    def __init__(self, name: str, overrides: Mapping[str, Any], root: Path, device: str) -> None:
        super().__init__(name, ClassifyConfig.from_file, root, device)
        existing = self.existing["config"] if self.existing else None
        if existing and overrides.get("precision") == "auto":
            overrides = {**overrides, "precision": existing.precision}  # as resolved when the run began
        config = (existing or ClassifyConfig()).replace(overrides)
        if config.generated and Path(config.generated).is_dir():
            config = config.replace({"generated": str(generated.find_generator(config.generated).path)})
        runtime = resolve_runtime(device, config.precision, deterministic=config.deterministic)
        self._set_plan(config.resolved(runtime.precision), runtime)

    def _is_done(self, training: ClassifyTraining) -> bool:
        return (self.folder / training.name / RESULT).exists()

    def train(self, jobs: int | None = 1) -> int | None:
        """See `Experiment.train`; also removes checkpoints that a killed process left in finished trainings."""
        for training in [self.only] if self.only else self.plan.trainings():
            if self._is_done(training):
                loop.remove_checkpoints(self.folder / training.name)
        return super().train(jobs)

    def _image_settings(self, plan: ClassifyConfig) -> Mapping[str, Any]:
        names = ("data", "test_data", "data_root", "skip_bad_images", "generated")
        return {name: getattr(plan, name) for name in names}

    def _load_images(self) -> tuple[ImageSet, ImageSet]:
        if self.requested.generated:
            train, test = self._generated_and_real()
        else:
            train, test = load_real_images(self.requested)
        require_full_batch(self.requested.batch, len(train))
        if self.existing:
            self._require_same_images((train, test))
        return train, test

    def _generated_and_real(self) -> tuple[ImageSet, ImageSet]:
        """Return generated training images, read from the run's folder if they are there, and real test images."""
        config, saved = self.requested, self.folder / generated.GENERATED_FILE
        assert config.generated is not None
        if not (self.existing and saved.exists()):
            generator = self._open_generator()
            real, test = load_real_images(config)
            self._generator_record = generated.generator_record(generator.file, real)
            count = config.num or len(real)
            require_full_batch(config.batch, count)  # before they are generated
            return generator.images(real, count), test
        file = generated.find_generator(config.generated)
        generated.require_same_generator(self.run.name, self.existing["data"]["generated"], file)
        real, test = load_real_images(config)
        return generated.read_images(saved, real, str(file.path)), test

    def _open_generator(self) -> generated.TrainingGenerator:
        generator = generated.TrainingGenerator.open(self.requested, self.runtime.device)
        if self.existing:
            generated.require_same_generator(self.run.name, self.existing["data"]["generated"], generator.file)
        return generator

    def dry_run(self, jobs: int | None) -> None:
        """Print the trainings that are left, their images, and an estimate of time; train and write nothing.

        Args:
            jobs: see `Experiment.execute`.

        Raises:
            UserError: as for `execute`, as far as it shows before a training.
        """
        from gan.experiments.classify.dry_run import dry_run_classification

        config, todo = self.requested, self.left()
        import_own_code(config, self.plugins, f"RUN {self.run.name}")
        if config.generated:
            generator = self._open_generator()
            real, test = load_real_images(config)
            count = config.num or len(real)
            require_full_batch(config.batch, count)
            # As many as a timed step needs, and at least one of each class.
            train = generator.images(real, min(count, max(config.batch, len(real.classes))))
        else:
            train, test = self._load_images()
            count = len(train)
        dry_run_classification(config, todo, self.plan.planned, self.runtime, train, test, count, jobs)

    def _require_same_images(self, images: tuple[ImageSet, ImageSet]) -> None:
        assert self.existing is not None
        for kind, images_of_kind in zip(("train", "test"), images, strict=True):
            resume.require_same_images(self.run, f"{kind} images", self.existing["data"][kind], images_of_kind)

    def _begin(self, todo: list[ClassifyTraining]) -> None:
        self._load_and_record_images()

    def _load_and_record_images(self) -> tuple[ImageSet, ImageSet]:
        """Load the images and write config.json."""
        train, test = self._load_images()
        records: dict[str, Any] = {"train": resume.image_set_record(train), "test": resume.image_set_record(test)}
        if self.requested.generated and not self.existing:
            records["generated"] = self._generator_record
        self._write_config(lambda: {"data": {"classes": list(train.classes), **records}}, (train, test))
        if self.requested.generated and not self.in_worker:
            generated.save_images(self.folder / generated.GENERATED_FILE, train)
        return train, test

    def build_step(self, training: ClassifyTraining) -> Step:
        """See `Experiment.build_step`."""
        trainer = ClassifierTrainer(self.requested, training, self.runtime, *self._load_images())

        def step() -> None:
            trainer.train_step()
            trainer.read_losses()

        return step

    def config_of(self, training: ClassifyTraining) -> ClassifyConfig:
        """See `Experiment.config_of`."""
        return self.plan.replace({"norms": (training.norm,)})

    def _resume_flags(self) -> list[str]:
        return resume_flags(self.requested, self.plan)

    def _require_buildable(self, todo: list[ClassifyTraining]) -> None:
        norms = dict.fromkeys(training.norm for training in todo)
        require_sound_norms(norms, "--norms")
        for norm in norms:
            shape = {"resolution": self.requested.resolution, "channels": self.requested.channels or 3}
            build_classifier(self.requested.model, norm, classes=2, **shape)

    def _train_all(self, todo: list[ClassifyTraining]) -> int | None:
        train, test = self._load_and_record_images()
        config = self.requested
        summary = (
            f"{self.run.name}: {config.model}, {len(todo)} to train, {counted(config.epochs, 'epoch')} "
            f"({counted(count_steps(config, len(train)), 'step')}) each, "
            f"{self.runtime.precision} on {self.runtime.device}, "
            f"{counted(len(train), 'image')} of {train.name}, tested on {len(test):,}"
        )
        if not self.in_worker:
            say(summary)
        with StopSignals() as stop:
            for number, training in enumerate(todo, 1):
                with self.locked(training):  # another process may have finished it
                    done = self._is_done(training) or self._train(training, number, len(todo), train, test, stop)
                if not done:
                    return stop.received
                if number < len(todo):
                    self.publish_between()
                if stop.received is not None and number < len(todo):
                    return stop.received
        return None

    def _train(
        self, training: ClassifyTraining, number: int, count: int, train: ImageSet, test: ImageSet, stop: StopSignals
    ) -> bool:
        """Run or resume one training; return whether it is done."""
        folder, every = self.folder / training.name, self.requested.dynamics
        prepare_folder(folder)
        trainer = ClassifierTrainer(self.requested, training, self.runtime, train, test)
        require_unchanged(self.plugins, trainer.plugins, f"RUN {self.run.name}")
        meter = None
        if every:  # built before the state is loaded: it compares with the initial weights
            probe = ClassifierProbe(train, self.requested.batch, self.runtime.device)
            meter = DynamicsMeter(trainer.network, probe, {"kind": "classifier", "norm": training.norm})
        loop.resume_classifier(trainer, folder)
        dynamics = None
        if meter:
            dynamics = DynamicsCallback(folder, meter, every=every, last=trainer.steps, step=trainer.step)
        if trainer.step:
            say(f"{training}: resuming at step {trainer.step} of {trainer.steps}")
        start, total = (number - 1) * trainer.steps + trainer.step, count * trainer.steps
        try:
            with progress(f"{number}/{count} {training}", total, start=start, per_item=trainer.config.batch) as advance:
                done = loop.train_classifier(trainer, folder, train.classes, stop, advance, dynamics)
        finally:
            trainer.batches.close()
        if done:
            result = results.read_classify_result(folder)
            assert result is not None
            say(f"{training}: {results.describe_result(result)}")
        else:
            say(f"{training}: stopped at step {trainer.step} of {trainer.steps}, checkpoint saved")
        return done

    def _read_result(self, training: ClassifyTraining) -> dict[str, Any] | None:
        result = results.read_classify_result(self.folder / training.name)
        # Results of older versions have neither key; then those with which the run began apply.
        older = {key: value for key, value in (self.existing or {}).items() if key in ("runtime", "versions")}
        return None if result is None else {**older, **result}

    def _summarize(self, done: list[dict[str, Any]], existing: Mapping[str, Any]) -> dict[str, Any]:
        plain = results.plain_parameters(self.plan, len(existing["data"]["classes"]))
        return {
            "command": classify_command(self.run.name, self.plan),
            **({"real_command": real_command(self.run.name, self.plan)} if self.plan.generated else {}),
            "rows": results.summarize_classifiers(done, plain, self.plan.trainings()),
            "warnings": provenance_warnings(done),
        }

    def _build_report(self, record: Mapping[str, Any]) -> Report:
        from gan.experiments.classify.report import classification_report  # imports matplotlib

        return classification_report(record, self.folder)


def load_real_images(config: ClassifyConfig) -> tuple[ImageSet, ImageSet]:
    """Load the training and test images of a resolved configuration; see `load_train_and_test` for the errors."""
    assert config.channels is not None
    return load_train_and_test(
        config.data,
        resolution=config.resolution,
        channels=config.channels,
        test_data=config.test_data,
        data_root=Path(config.data_root),
        limit=config.limit,
        skip_bad_images=config.skip_bad_images,
    )


def run_classification(
    name: str,
    overrides: Mapping[str, Any],
    *,
    root: Path = Path(),
    device: str = "auto",
    jobs: int | None = 1,
    only: str | None = None,
    worker: str | None = None,
    dry_run: bool = False,
) -> int | None:
    """Run or resume an experiment: see `Classification` for the arguments and `Experiment.execute` for the result.

    Args:
        jobs: see `Experiment.execute`.
        only: the training to train alone; see `Experiment.choose`.
        worker: the work of this process, if `--jobs` has started it; see `parallel.worker`.
        dry_run: see `Classification.dry_run`.
    """
    classification = Classification(name, overrides, root, device)
    if only is not None:
        classification.choose(only)
    if dry_run:
        classification.dry_run(jobs)
        return None
    return classification.execute(jobs) if worker is None else work(classification, worker)
