"""8-bit integers in place of fp32: ONNX Runtime's static quantization, and what it costs in quality.

Weights are int8 with a scale for each output channel; activations are int8 with a scale for each tensor, whose range is
what the calibration inputs reach. The graph is in QDQ form: QuantizeLinear and DequantizeLinear around each operator,
which a runtime merges into integer kernels where it has them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gan import sampling
from gan.data import ImageSet
from gan.data import load as load_images
from gan.data.loader import to_float
from gan.errors import UsageError, UserError
from gan.export.check import Run
from gan.export.subject import CLASSIFIER, GENERATOR, Subject, random_inputs
from gan.looking import Looking
from gan.metrics.protocol import Extractor
from gan.metrics.score import measure_reference, score
from gan.metrics.stream import ImageStream
from gan.progress import progress, say
from gan.targets import stream_of

if TYPE_CHECKING:
    import onnx

CALIBRATION = 256  # inputs that the ranges are taken from
_CALIBRATION_SEED = 2  # of latents; images are scored with those of seed 0
_BATCH = 64
_MOST_SCORED = 10_000  # images of a FID, unless told otherwise
# What integer kernels exist for, and what only moves numbers about between them.
_QUANTIZED = [
    "Conv",
    "ConvTranspose",
    "Gemm",
    "Relu",
    "LeakyRelu",
    "Add",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "Concat",
    "Reshape",
    "Flatten",
    "Resize",
]
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm")


@dataclass(frozen=True)
class Options:
    """What `--int8` needs besides the network."""

    data: str | None = None
    """The images; None: those that the network was trained on."""
    data_root: Path | None = None
    num: int | None = None
    """Images of a generator that are scored; None: as many as there are real ones, at most 10,000."""
    looking: Looking = field(default_factory=Looking)


class Quantizer:
    """Everything that the quantization of one network needs, loaded and checked before any work.

    Raises:
        UsageError: the images are not named, or are not those that the network is for.
        UserError: the images or the scoring network cannot be had.
    """

    def __init__(self, subject: Subject, options: Options) -> None:
        self.subject, self.options = subject, options
        data = options.data or subject.trained_on
        if not data:
            raise UsageError("--int8: name the images with --data, the checkpoint does not say what it was trained on")
        self.data = data
        self.extractor: Extractor | None = None
        self._told: list[str] = []
        if subject.what == GENERATOR:
            self.extractor = options.looking.extractor(data)
        self.train = self._images("train")
        self.test = self.train
        if subject.what != GENERATOR:
            self.test = self._images("test")
        if subject.what == CLASSIFIER:
            self._check_classes()

    def calibration(self) -> list[tuple[Tensor, ...]]:
        """Inputs that the ranges of activations are taken from, in batches: training images, or latents."""
        subject = self.subject
        if subject.what == GENERATOR:
            inputs = random_inputs(subject, CALIBRATION, _CALIBRATION_SEED)
        else:
            chosen = _spread(len(self.train), CALIBRATION)
            inputs = self._judged(self.train, chosen)
        return list(zip(*(part.split(_BATCH) for part in inputs), strict=True))

    def quality(self, run: Run) -> dict[str, float]:
        """How good a network is: `accuracy` of a classifier, `fid` of a generator. A discriminator has no such number.

        Raises:
            UserError: its images cannot be scored.
        """
        if self.subject.what == CLASSIFIER:
            return {"accuracy": self._accuracy(run)}
        if self.subject.what == GENERATOR:
            return {"fid": self._fid(run)}
        return {}

    def agreement(self, trained: Run, quantized: Run) -> dict[str, float]:
        """How alike two discriminators judge test images: `same_verdict`, the share of equal signs, and `noise`, the
        root mean square of the difference as a share of the logits' standard deviation."""
        both = [(trained(inputs), quantized(inputs)) for inputs in self._judgements("logits of test images")]
        before, after = (torch.cat(parts) for parts in zip(*both, strict=True))
        noise = (after - before).pow(2).mean().sqrt() / before.std().clamp(min=1e-12)
        return {"same_verdict": ((before > 0) == (after > 0)).float().mean().item(), "noise": noise.item()}

    def about(self) -> str:
        """What the quality is measured on."""
        if self.subject.what == GENERATOR:
            return f"{self._count():,} images against {len(self.train):,} of {self.data}"
        untested = self.test.fingerprint == self.train.fingerprint
        return f"{len(self.test):,} {'images' if untested else 'test images'} of {self.data}" + (
            ", which has no test split" if untested else ""
        )

    def _images(self, split: str) -> ImageSet:
        channels, resolution, _ = self.subject.image_shape
        root = self.options.data_root or Path(self.subject.data_root)
        return load_images(self.data, resolution=resolution, channels=channels, data_root=root, split=split)

    def _check_classes(self) -> None:
        if self.test.labels is None:
            raise UserError(f"--data {self.data}: has no labels; the accuracy needs them")
        if self.test.classes != self.subject.classes:
            raise UserError(
                f"--data {self.data}: its classes ({', '.join(self.test.classes)}) are not those of the checkpoint "
                f"({', '.join(self.subject.classes)})"
            )

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

    def _accuracy(self, run: Run) -> float:
        assert self.test.labels is not None
        found = [run(inputs).argmax(1) for inputs in self._judgements("classifying test images")]
        return (torch.cat(found) == self.test.labels).float().mean().item()

    def _count(self) -> int:
        return self.options.num or min(_MOST_SCORED, len(self.train))

    def _fid(self, run: Run) -> float:
        assert self.extractor is not None
        reference = measure_reference(stream_of(self.train, self.data, "train"), self.extractor)
        images = _stream(run, self.subject, self._count())
        result = score(images, reference, self.extractor, ("fid",), ema=self.subject.recipe["ema"])
        for line in result["warnings"]:
            if line not in self._told:  # both networks are scored alike
                say(line)
        self._told += result["warnings"]
        return result["fid"]


def quantize(model: onnx.ModelProto, batches: list[tuple[Tensor, ...]], subject: Subject) -> onnx.ModelProto:
    """The model in 8-bit integers.

    The last layer of a generator, its tanh and the map to bytes stay in fp32: that layer is small, and what is rounded
    there goes into the pixels as it is. The logits of the others are given in fp32.

    Args:
        batches: inputs that reach the range of values that the network will meet.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter(batches)

        def get_next(self) -> dict[str, Any] | None:
            inputs = next(self._left, None)
            if inputs is None:
                return None
            return {port.name: part.numpy() for port, part in zip(subject.inputs, inputs, strict=True)}

    with tempfile.TemporaryDirectory(prefix="msn-gan-int8-") as folder:
        whole, ready, small = (Path(folder, f"{name}.onnx") for name in ("whole", "ready", "int8"))
        onnx.save(model, whole)
        quant_pre_process(whole, ready, skip_symbolic_shape=True)
        quantize_static(
            ready,
            small,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_QUANTIZED,
            nodes_to_exclude=_left_in_fp32(onnx.load(ready), subject),
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
        )
        found = onnx.load(small)
    used = {node.domain for node in found.graph.node}
    needed = [entry for entry in found.opset_import if entry.domain in used]
    del found.opset_import[:]
    found.opset_import.extend(needed)  # the quantizer lists all that it knows, which other runtimes need not
    return found


def _left_in_fp32(model: onnx.ModelProto, subject: Subject) -> list[str]:
    """Names of the nodes that are not quantized: constant scales and shifts, and the end of a generator."""
    nodes = list(model.graph.node)
    constants = {tensor.name for tensor in model.graph.initializer}
    names = [node.name for node in nodes if node.op_type in ("Add", "Mul") and constants & set(node.input)]
    if subject.what == GENERATOR:
        last = max(index for index, node in enumerate(nodes) if node.op_type in _WEIGHTED)
        names += [node.name for node in nodes[last:]]
    return names


def _spread(count: int, wanted: int) -> Tensor:
    """Numbers of `wanted` images of all parts of a set, in which classes may lie one after the other."""
    return torch.linspace(0, count - 1, min(wanted, count)).long()


def _stream(run: Run, subject: Subject, count: int) -> ImageStream:
    """The images that `msn-gan sample` makes for seed 0, by any form of a generator."""

    def batches() -> Iterator[Tensor]:
        for start in range(0, count, _BATCH):
            numbers = range(start, min(start + _BATCH, count))
            z = sampling.latents(0, numbers, *subject.inputs[0].shape)
            labels = sampling.classes_of(numbers, len(subject.classes) if subject.conditional else 0)
            images = run((z,) if labels is None else (z, labels))
            yield images if images.dtype == torch.uint8 else sampling.to_uint8(images)

    return ImageStream(subject.what, count, batches)
