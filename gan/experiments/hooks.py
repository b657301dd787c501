"""Abstract methods of `Experiment`, which `compare` and `classify` implement."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from gan.config.base import Config
from gan.experiments.plan import Plan, Step, Training
from gan.report.document import Report

PlanT = TypeVar("PlanT", bound=Plan)
TrainingT = TypeVar("TrainingT", bound=Training)
ImagesT = TypeVar("ImagesT")


class ExperimentHooks(ABC, Generic[PlanT, TrainingT, ImagesT]):
    """The abstract methods of `Experiment`."""

    @abstractmethod
    def _image_settings(self, plan: PlanT) -> Mapping[str, Any]:
        """Return the settings that name the images; they may change as long as the images are equal."""

    @abstractmethod
    def _load_images(self) -> ImagesT:
        """Load the images and check that they are those of the existing run."""

    @abstractmethod
    def _require_same_images(self, images: ImagesT) -> None:
        """Check that images are those of the existing run; a UserError if not."""

    @abstractmethod
    def config_of(self, training: TrainingT) -> Config:
        """Return a config that names the user's own code of one training, and no other."""

    @abstractmethod
    def _resume_flags(self) -> list[str]:
        """Return the flags that request the same trainings of the run again, and name their own code."""

    @abstractmethod
    def _require_buildable(self, todo: list[TrainingT]) -> None:
        """Check the norms of trainings, and that their networks can be built, before any of them is trained."""

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
