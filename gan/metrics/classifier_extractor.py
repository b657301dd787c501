"""A trained classifier as the feature extractor: scores for a domain that Inception was not trained on"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from gan.config.choices import NORMS
from gan.errors import UsageError, UserError
from gan.metrics.batched_inference import BatchedExtractor
from gan.metrics.extractor import ExtractorOptions
from gan.metrics.preprocess import for_classifier
from gan.models.classifiers import classifier_from_state
from gan.runs import checkpoint
from gan.runs.own_code import import_named_code, require_used
from gan.utils.counted import counted

_LEAST_ACCURACY = 0.5  # of a classifier whose features are trusted
_LEAST_ABOVE_CHANCE = 1.5  # and its accuracy relative to that of a guess, which matters for two classes
MAX_FEATURES = 4096  # decomposing a larger covariance takes minutes, and full rank needs more images than features


@dataclass(frozen=True)
class ClassifierQuality:
    """Test accuracy and images of a classifier, from its checkpoint; None: not recorded, by an older version."""

    accuracy: float | None
    test_images: int | None
    train_images: int | None
    data: str | None
    test_data: str | None

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> ClassifierQuality:
        """Read it from the content of a classifier checkpoint."""
        training = _entries(state.get("training"))
        quality, images = _entries(training.get("quality")), _entries(training.get("images"))
        data, test_data = (Path(str(name)).name if (name := images.get(key)) else None for key in ("data", "test_data"))
        return cls(
            accuracy=quality.get("test_accuracy"),
            test_images=quality.get("test_images"),
            train_images=quality.get("train_images"),
            data=data,
            test_data=test_data or data,
        )

    def text(self) -> str:
        """Return it in one line, for a protocol."""
        trained = "trained on unknown images"
        if self.data:
            images = counted(self.train_images, "image") if self.train_images else "images"
            trained = f"trained on {images} of {self.data}"
        if self.accuracy is None:
            return f"unknown, not recorded in the file; {trained}"
        tested = counted(self.test_images, "test image") if self.test_images else "test images"
        return f"{self.accuracy:.2%} of {tested}{f' of {self.test_data}' if self.test_data else ''}; {trained}"

    def warnings(self, name: str, classes: int) -> tuple[str, ...]:
        """Return the reason to doubt scores in its features, if there is one.

        Args:
            name: name of the classifier in the message.
            classes: number of classes, which a guess has right once in as many cases.
        """
        if self.accuracy is None:
            return (f"the test accuracy of {name} is unknown: scores in the features of a poor classifier mislead",)
        if self.accuracy < _LEAST_ACCURACY or self.accuracy * classes < _LEAST_ABOVE_CHANCE:
            return (
                f"{name} is a poor classifier, {self.accuracy:.0%} of its test images are right ({1 / classes:.0%} by "
                "guessing): its features, and scores in them, hardly tell good images from bad ones",
            )
        return ()


def _entries(value: object) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one: older files have other entries."""
    return value if isinstance(value, Mapping) else {}


class ClassifierExtractor(BatchedExtractor):
    """The penultimate features and the logits of a classifier checkpoint, chosen by `classifier:CHECKPOINT`."""

    name = "classifier"

    def __init__(self, options: ExtractorOptions) -> None:
        """Load the checkpoint at `options.weights`.

        Raises:
            UserError: it is not a whole classifier checkpoint, or has too many features for a covariance.
        """
        if options.weights is None:
            raise UsageError("--features classifier: name a trained checkpoint, as in classifier:checkpoints/x.pt")
        super().__init__(options)
        file = checkpoint.read_checkpoint(options.weights)
        state = file.state
        require_used(NORMS, options.norm, [state.get("norm")], options.weights)
        import_named_code(NORMS, state.get("norm"), options.norm, state, options.weights)
        self._network = classifier_from_state(state, options.weights).to(self.device).requires_grad_(False)
        self.dimension = self._network.dimension
        self.classes = len(state["classes"])
        if self.dimension > MAX_FEATURES:
            raise UserError(
                f"{options.weights}: {state['model']} has {self.dimension:,} features, too many for a covariance "
                f"({MAX_FEATURES:,} at most); use vgg7, densenet-bc or resnet18"
            )
        quality = ClassifierQuality.of(state)
        self.warnings = quality.warnings(str(options.weights), self.classes)
        self._set_protocol(
            file.sha256,
            layer=f"{state['model']} penultimate ({self.dimension}), logits ({self.classes})",
            preprocess=f"antialiased bilinear to {self._network.resolution}",
        )
        self.protocol = replace(self.protocol, extractor_accuracy=quality.text())

    def _forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self._network.features(for_classifier(images, self._network.resolution, self._network.channels))
