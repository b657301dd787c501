"""The images that an exported network was trained on, as its inputs"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gan.data.batches import to_float
from gan.data.image_set import ImageSet
from gan.data.loading import load_images
from gan.data.train_test_sets import load_train_and_test
from gan.errors import UsageError, UserError
from gan.export.network import CLASSIFIER, ExportSource, with_labels
from gan.sampling import generate
from gan.utils.counted import counted

BATCH = 64


@dataclass(frozen=True)
class ImageOptions:
    """The images on the command line of `export`."""

    data: str | None = None
    """The images; None: those that the network was trained on."""
    test_data: str | None = None
    """The images for a classifier's accuracy; None: as in `classify`."""
    data_root: Path | None = None


class TrainingImages:
    """Training images for one network, loaded and checked before any work; of a classifier also test images.

    Args:
        flag: the flag that needs them, in messages.

    Raises:
        UsageError: the images are not named or do not fit the network.
        UserError: the images are not available.
    """

    def __init__(self, source: ExportSource, options: ImageOptions, flag: str) -> None:
        self.source, self.options = source, options
        data = options.data or source.data
        if not data:
            raise UsageError(f"{flag}: name the images with --data; the checkpoint does not record its training images")
        self.data = data
        if source.kind == CLASSIFIER:
            self.train, self.test = self._classifier_sets()
        else:
            self.train = self.test = self.load("train")

    def load(self, split: str) -> ImageSet:
        """Load the images of one split."""
        channels, resolution, _ = self.source.image_shape
        return load_images(
            self.data,
            resolution=resolution,
            channels=channels,
            data_root=self.options.data_root or Path(self.source.data_root),
            split=split,
            skip_bad_images=self.source.skip_bad_images,
        )

    def _classifier_sets(self) -> tuple[ImageSet, ImageSet]:
        """Training and test images, split as `classify` splits them."""
        source, options = self.source, self.options
        channels, resolution, _ = source.image_shape
        as_trained = options.data is None
        test_data = options.test_data or (source.test_data if as_trained else None)
        self.test_name = test_data or self.data
        train, test = load_train_and_test(
            self.data,
            test_data=test_data,
            data_root=options.data_root or Path(source.data_root),
            resolution=resolution,
            channels=channels,
            limit=source.limit if as_trained else None,
            skip_bad_images=source.skip_bad_images,
        )
        self._require_classes(train)
        return train, test

    def _require_classes(self, images: ImageSet) -> None:
        if images.classes != self.source.classes:
            raise UserError(
                f"--data {self.data}: its classes ({', '.join(images.classes)}) are not those of the checkpoint "
                f"({', '.join(self.source.classes)})"
            )

    def inputs(self, images: ImageSet, indices: Tensor) -> tuple[Tensor, ...]:
        """Images float32 in [-1, 1], and their labels if the network takes labels."""
        x = to_float(images.fetch(indices))
        classes = self.source.label_classes
        if not classes:
            return (x,)
        if images.labels is None:
            raise UserError(f"--data {self.data}: needs labels of {counted(classes, 'class')}")
        self._require_classes(images)
        return x, images.labels[indices]

    def generated_inputs(self, count: int, seed: int, size: int = BATCH) -> Iterator[tuple[Tensor, ...]]:
        """Batches of images of a discriminator's generator, and labels if the networks take labels."""
        assert self.source.generator is not None
        generator = self.source.generator()
        latents = generate.latents(seed, range(count), generator.latent_dim)  # type: ignore[arg-type]
        for batch in in_batches(with_labels(self.source, latents, range(count)), size):
            with torch.no_grad():
                images = generator(*batch)
            yield images, *batch[1:]


def in_batches(inputs: tuple[Tensor, ...], size: int = BATCH) -> list[tuple[Tensor, ...]]:
    """Split inputs into batches; the last may be smaller."""
    return list(zip(*(part.split(size) for part in inputs), strict=True))
