"""What 8-bit integers need, and what they cost: images to calibrate on, and the quality before and after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan.data import ImageSet, load_images
from gan.data.batches import to_float
from gan.data.train_test_sets import load_train_and_test
from gan.errors import UsageError, UserError
from gan.evaluation.image_streams import image_set_stream
from gan.export.network import CLASSIFIER, DISCRIMINATOR, GENERATOR, ExportSource, random_inputs
from gan.export.verify import NetworkFunction
from gan.metrics.extractor import Extractor, ExtractorOptions
from gan.metrics.extractors import create_extractor
from gan.metrics.feature_pass import ImageStream
from gan.metrics.score import measure_reference, score
from gan.sampling import generate
from gan.utils.progress import progress, say

CALIBRATION = 256  # inputs that the ranges are taken from
_CALIBRATION_SEED = 2  # of latents; images are scored with those of seed 0
_BATCH = 64
_MOST_SCORED = 10_000  # images of a FID, unless told otherwise


@dataclass(frozen=True)
class QuantizationOptions:
    """What `--int8` needs besides the network."""

    data: str | None = None
    """The images; None: those that the network was trained on."""
    test_data: str | None = None
    """The images of a classifier's accuracy; None: as `classify` has them."""
    data_root: Path | None = None
    num: int | None = None
    """Images of a generator that are scored; None: as many as there are real ones, at most 10,000."""
    extractor: ExtractorOptions = field(default_factory=ExtractorOptions)


class Quantizer:
    """Everything that the quantization of one network needs, loaded and checked before any work.

    Raises:
        UsageError: the images are not named, or are not those that the network is for, or options are for another kind.
        UserError: the images or the scoring network cannot be had.
    """

    def __init__(self, subject: ExportSource, options: QuantizationOptions) -> None:
        self.subject, self.options = subject, options
        data = options.data or subject.trained_on
        if not data:
            raise UsageError("--int8: name the images with --data, the checkpoint does not say what it was trained on")
        self.data = data
        self._check_options()
        self.extractor: Extractor | None = None
        self._told: list[str] = []
        if subject.what == GENERATOR:
            self.extractor = create_extractor(options.extractor, data)
        if subject.what == CLASSIFIER:
            self.train, self.test = self._sets_of_classifier()
            return
        self.train = self._images("train")
        self.test = self._images("test") if subject.what == DISCRIMINATOR else self.train

    def _check_options(self) -> None:
        options, what = self.options, self.subject.what
        unused = []
        if what != GENERATOR:
            unused = [*(["--num"] if options.num is not None else []), *options.extractor.given_flags]
        if unused:
            raise UsageError(f"{', '.join(unused)}: for the FID of a generator; a {what} has none, leave it out")
        if options.test_data is not None and what != CLASSIFIER:
            raise UsageError(f"--test-data: for the accuracy of a classifier; a {what} takes --data alone")

    def calibration(self) -> list[tuple[Tensor, ...]]:
        """Inputs that the ranges of activations are taken from, in batches: training images, or latents.

        A discriminator has as many images of its generator: ranges of real ones alone would cut off what it tells by.
        """
        subject = self.subject
        if subject.what == GENERATOR:
            return _batches(random_inputs(subject, CALIBRATION, _CALIBRATION_SEED))
        chosen = _spread(len(self.train), CALIBRATION)
        batches = _batches(self._judged(self.train, chosen))
        if subject.what == DISCRIMINATOR:
            batches += self._fakes(len(chosen), _CALIBRATION_SEED)
        return batches

    def quality(self, run: NetworkFunction) -> dict[str, float]:
        """How good a network is: `accuracy` of a classifier, `fid` of a generator. A discriminator has no such number.

        Raises:
            UserError: its images cannot be scored.
        """
        if self.subject.what == CLASSIFIER:
            return {"accuracy": self._accuracy(run)}
        if self.subject.what == GENERATOR:
            return {"fid": self._fid(run)}
        return {}

    def agreement(self, trained: NetworkFunction, quantized: NetworkFunction) -> dict[str, Any]:
        """How alike two discriminators judge test images and as many of the generator that they were trained against.

        `same_verdict` is the share of equal signs, `noise` the root mean square of the difference as a share of the
        logits' standard deviation, and `accuracy` the share of images of which the sign is right: above 0 for real
        ones. Both kinds of images are needed: of real ones alone, a network that always says "real" is right.
        """
        logits: dict[bool, tuple[Tensor, Tensor]] = {}
        for real, batches in ((True, self._judgements("logits of test images")), (False, self._rivals())):
            both = [(trained(inputs), quantized(inputs)) for inputs in batches]
            before, after = (torch.cat(parts) for parts in zip(*both, strict=True))
            logits[real] = before, after
        before, after = (torch.cat(parts) for parts in zip(*logits.values(), strict=True))
        noise = (after - before).pow(2).mean().sqrt() / before.std().clamp(min=1e-12)
        right = [
            torch.cat([(answers[index] > 0) == real for real, answers in logits.items()]).float().mean().item()
            for index in (0, 1)
        ]
        return {
            "same_verdict": ((before > 0) == (after > 0)).float().mean().item(),
            "noise": noise.item(),
            "accuracy": {"fp32": right[0], "int8": right[1]},
        }

    def about(self) -> str:
        """What the quality is measured on."""
        if self.subject.what == GENERATOR:
            return f"{self._count():,} images against {len(self.train):,} of {self.data}"
        if self.subject.what == CLASSIFIER:
            return f"{len(self.test):,} test images of {self.tested}"
        untested = self.test.fingerprint == self.train.fingerprint
        return (
            f"{len(self.test):,} {'images' if untested else 'test images'} of {self.data}"
            f"{', which has no test split,' if untested else ''} and as many of its generator"
        )

    def _images(self, split: str) -> ImageSet:
        channels, resolution, _ = self.subject.image_shape
        root = self.options.data_root or Path(self.subject.data_root)
        return load_images(self.data, resolution=resolution, channels=channels, data_root=root, split=split)

    def _sets_of_classifier(self) -> tuple[ImageSet, ImageSet]:
        """Training and test images, split as `classify` splits them."""
        subject, options = self.subject, self.options
        channels, resolution, _ = subject.image_shape
        same = options.data is None  # then it is split as it was in training
        tested = options.test_data or (subject.test_data if same else None)
        self.tested = tested or self.data
        train, test = load_train_and_test(
            self.data,
            test_data=tested,
            data_root=options.data_root or Path(subject.data_root),
            resolution=resolution,
            channels=channels,
            limit=subject.limit if same else None,
        )
        if train.classes != subject.classes:
            raise UserError(
                f"--data {self.data}: its classes ({', '.join(train.classes)}) are not those of the checkpoint "
                f"({', '.join(subject.classes)})"
            )
        return train, test

    def _judged(self, images: ImageSet, chosen: Tensor) -> tuple[Tensor, ...]:
        """Images by their numbers, float32 in [-1, 1], and their labels where the network is given those."""
        x = to_float(images.fetch(chosen))
        if not self.subject.conditional:
            return (x,)
        if images.labels is None or len(images.classes) != len(self.subject.classes):
            raise UserError(f"--data {self.data}: needs labels of the {len(self.subject.classes)} classes")
        return x, images.labels[chosen]

    def _judgements(self, what: str) -> Iterator[tuple[Tensor, ...]]:
        with progress(what, len(self.test)) as advance:
            for chosen in torch.arange(len(self.test)).split(_BATCH):
                yield self._judged(self.test, chosen)
                advance(len(chosen))

    def _rivals(self) -> Iterator[tuple[Tensor, ...]]:
        """As many images of the generator as there are test images."""
        with progress("logits of generated images", len(self.test)) as advance:
            for inputs in self._fakes(len(self.test), 0):
                yield inputs
                advance(len(inputs[0]))

    def _fakes(self, count: int, seed: int) -> Iterator[tuple[Tensor, ...]]:
        """Images of the generator in batches, and labels where the network is given those."""
        assert self.subject.generator is not None
        generator = self.subject.generator()
        labels = generate.labels_in_turn(range(count), len(self.subject.classes) if self.subject.conditional else 0)
        z = generate.latents(seed, range(count), generator.latent_dim)  # type: ignore[arg-type]
        for row in _batches((z,) if labels is None else (z, labels)):
            with torch.no_grad():
                images = generator(*row)
            yield images, *row[1:]

    def _accuracy(self, run: NetworkFunction) -> float:
        assert self.test.labels is not None
        found = [run(inputs).argmax(1) for inputs in self._judgements("classifying test images")]
        return (torch.cat(found) == self.test.labels).float().mean().item()

    def _count(self) -> int:
        return self.options.num or min(_MOST_SCORED, len(self.train))

    def _fid(self, run: NetworkFunction) -> float:
        assert self.extractor is not None
        reference = measure_reference(image_set_stream(self.train, self.data, "train"), self.extractor)
        images = _stream(run, self.subject, self._count())
        result = score(images, reference, self.extractor, ("fid",), ema=self.subject.recipe["ema"])
        for line in result["warnings"]:
            if line not in self._told:  # both networks are scored alike
                say(line)
        self._told += result["warnings"]
        return result["fid"]


def _batches(inputs: tuple[Tensor, ...]) -> list[tuple[Tensor, ...]]:
    return list(zip(*(part.split(_BATCH) for part in inputs), strict=True))


def _spread(count: int, wanted: int) -> Tensor:
    """Numbers of `wanted` images of all parts of a set, in which classes may lie one after the other."""
    return torch.linspace(0, count - 1, min(wanted, count)).long()


def _stream(run: NetworkFunction, subject: ExportSource, count: int) -> ImageStream:
    """The images that `msn-gan sample` makes for seed 0, by any form of a generator."""

    def batches() -> Iterator[Tensor]:
        for start in range(0, count, _BATCH):
            numbers = range(start, min(start + _BATCH, count))
            z = generate.latents(0, numbers, *subject.inputs[0].shape)
            labels = generate.labels_in_turn(numbers, len(subject.classes) if subject.conditional else 0)
            images = run((z,) if labels is None else (z, labels))
            yield images if images.dtype == torch.uint8 else generate.to_uint8(images)

    return ImageStream(subject.what, count, batches)
