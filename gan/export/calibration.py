"""Inputs that calibrate 8-bit quantization, and the quality of a network before and after it"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gan.errors import UsageError
from gan.evaluation.image_streams import image_set_stream
from gan.export.network import CLASSIFIER, DISCRIMINATOR, GENERATOR, ExportSource, random_inputs, with_labels
from gan.export.training_images import BATCH, ImageOptions, TrainingImages, in_batches
from gan.export.verify import NetworkFunction
from gan.metrics.extractor import ExtractorOptions
from gan.metrics.extractors import create_extractor
from gan.metrics.feature_pass import ImageStream
from gan.metrics.score import measure_reference, score
from gan.sampling import generate
from gan.utils.counted import counted
from gan.utils.progress import progress, say

CALIBRATION = 256  # inputs that determine the ranges of activations
_CALIBRATION_SEED = 2  # of latents; scored images have seed 0
_MOST_SCORED = 10_000  # default number of images of a FID, at most


@dataclass(frozen=True)
class QuantizationOptions(ImageOptions):
    """The flags of `export --int8`."""

    num: int | None = None
    """Generated images to score; None: as many as there are real ones, at most 10,000."""
    extractor: ExtractorOptions = field(default_factory=ExtractorOptions)


class QuantizationData(TrainingImages):
    """Images for the calibration and the quality of one network, loaded and checked before any work.

    Raises:
        UsageError: the images are not named or do not fit the network, or an option is for another kind of network.
        UserError: the images or the feature extractor are not available.
    """

    options: QuantizationOptions

    def __init__(self, source: ExportSource, options: QuantizationOptions) -> None:
        _check_options(options, source.kind)
        super().__init__(source, options, "--int8")
        if source.kind == DISCRIMINATOR:
            self.test = self.load("test")
        self.extractor = create_extractor(options.extractor, self.data) if source.kind == GENERATOR else None
        self._warnings: list[str] = []

    def calibration_inputs(self) -> list[tuple[Tensor, ...]]:
        """Batches of training images, or of latents, that determine the ranges of activations.

        A discriminator also gets as many images of its generator, since ranges of real images alone would clip the
        activations that separate the two.
        """
        if self.source.kind == GENERATOR:
            return in_batches(random_inputs(self.source, CALIBRATION, _CALIBRATION_SEED))
        count = len(self.train)
        indices = torch.linspace(0, count - 1, min(CALIBRATION, count)).long()  # of all classes, if sorted by class
        batches = in_batches(self.inputs(self.train, indices))
        if self.source.kind == DISCRIMINATOR:
            batches += self.generated_inputs(len(indices), _CALIBRATION_SEED)
        return batches

    def quality(self, run: NetworkFunction) -> dict[str, float]:
        """`accuracy` of a classifier or `fid` of a generator; empty for a discriminator.

        Raises:
            UserError: the images cannot be scored.
        """
        if self.source.kind == CLASSIFIER:
            return {"accuracy": self._accuracy(run)}
        if self.source.kind == GENERATOR:
            return {"fid": self._fid(run)}
        return {}

    def agreement(self, trained: NetworkFunction, quantized: NetworkFunction) -> dict[str, Any]:
        """Agreement of two discriminators on test images and on as many images of the generator of the training.

        `same_verdict` is the fraction of logits of equal sign, `noise` the root mean square difference relative to the
        logits' standard deviation, `accuracy` the fraction of logits with the right sign, above 0 for real images. Both
        kinds of images are needed: on real ones alone, a network that always says "real" would be right.
        """
        rows = []
        for real, batches in ((True, self._test_inputs("logits of test images")), (False, self._fake_inputs())):
            for inputs in batches:
                logits = trained(inputs)
                rows.append((logits, quantized(inputs), torch.full(logits.shape, real)))
        before, after, is_real = (torch.cat(parts) for parts in zip(*rows, strict=True))
        noise = (after - before).pow(2).mean().sqrt() / before.std().clamp(min=1e-12)
        fp32, int8 = (((logits > 0) == is_real).float().mean().item() for logits in (before, after))
        return {
            "same_verdict": ((before > 0) == (after > 0)).float().mean().item(),
            "noise": noise.item(),
            "accuracy": {"fp32": fp32, "int8": int8},
        }

    def description(self) -> str:
        """The images that the quality is measured on."""
        if self.source.kind == GENERATOR:
            return f"{counted(self._count(), 'image')} against {len(self.train):,} of {self.data}"
        if self.source.kind == CLASSIFIER:
            return f"{counted(len(self.test), 'test image')} of {self.test_name}"
        no_test_split = self.test.fingerprint == self.train.fingerprint
        return (
            f"{counted(len(self.test), 'image' if no_test_split else 'test image')} of {self.data}"
            f"{', which has no test split,' if no_test_split else ''} and as many of its generator"
        )

    def _test_inputs(self, task: str) -> Iterator[tuple[Tensor, ...]]:
        with progress(task, len(self.test)) as advance:
            for indices in torch.arange(len(self.test)).split(BATCH):
                yield self.inputs(self.test, indices)
                advance(len(indices))

    def _fake_inputs(self) -> Iterator[tuple[Tensor, ...]]:
        """As many images of the generator as there are test images."""
        with progress("logits of generated images", len(self.test)) as advance:
            for inputs in self.generated_inputs(len(self.test), 0):
                yield inputs
                advance(len(inputs[0]))

    def _accuracy(self, run: NetworkFunction) -> float:
        assert self.test.labels is not None
        predicted = [run(inputs).argmax(1) for inputs in self._test_inputs("classifying test images")]
        return (torch.cat(predicted) == self.test.labels).float().mean().item()

    def _count(self) -> int:
        return self.options.num or min(_MOST_SCORED, len(self.train))

    def _fid(self, run: NetworkFunction) -> float:
        assert self.extractor is not None
        reference = measure_reference(image_set_stream(self.train, self.data, "train"), self.extractor)
        images = _image_stream(run, self.source, self._count())
        result = score(images, reference, self.extractor, ("fid",), ema=self.source.recipe["ema"])
        for line in result["warnings"]:
            if line not in self._warnings:  # the same for both networks
                say(line)
        self._warnings += result["warnings"]
        return result["fid"]


def _check_options(options: QuantizationOptions, kind: str) -> None:
    unused = [*(["--num"] if options.num is not None else []), *options.extractor.given_flags]
    if unused and kind != GENERATOR:
        raise UsageError(f"{', '.join(unused)}: for the FID of a generator; a {kind} has none, leave it out")
    if options.test_data is not None and kind != CLASSIFIER:
        raise UsageError(f"--test-data: for the accuracy of a classifier; a {kind} takes --data alone")


def _image_stream(run: NetworkFunction, source: ExportSource, count: int) -> ImageStream:
    """The images of `msn-gan sample` for seed 0, by any form of a generator."""

    def batches() -> Iterator[Tensor]:
        for start in range(0, count, BATCH):
            indices = range(start, min(start + BATCH, count))
            latents = generate.latents(0, indices, *source.inputs[0].shape)
            images = run(with_labels(source, latents, indices))
            yield images if images.dtype == torch.uint8 else generate.to_uint8(images)

    return ImageStream(source.kind, count, batches)
