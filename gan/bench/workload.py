"""A network under one normalization, with the training step and the four kinds of inference to time."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gan.config.choices import NORMS
from gan.config.presets import PRESETS, preset_config
from gan.models import build_discriminator, count_parameters
from gan.models.classifiers import CLASSIFIERS, build_classifier
from gan.norm import fold, power_iterate
from gan.runtime import Runtime
from gan.utils.environment import time_work

RESOLUTION, CHANNELS, CLASSES = 32, 3, 10  # of a classifier
LARGE_BATCH = 64  # of inference; the other batch is 1

MODELS = (*CLASSIFIERS, *PRESETS)
# Names in the JSON.
QUANTITIES = ("train", "infer_1", f"infer_{LARGE_BATCH}", "folded_1", f"folded_{LARGE_BATCH}")


def build_model(model: str, norm: str) -> tuple[nn.Module, tuple[int, int, int], bool]:
    """Build a classifier, or the discriminator of a preset; a conditional one has `CLASSES` classes.

    Returns:
        the network, the shape (channels, R, R) of its images, and whether it takes labels.
    """
    if model in CLASSIFIERS:
        network = build_classifier(model, norm, resolution=RESOLUTION, channels=CHANNELS, classes=CLASSES)
        return network, (CHANNELS, RESOLUTION, RESOLUTION), False
    config = preset_config(model).replace({"norm": norm})
    discriminator = build_discriminator(config, CLASSES if config.conditional else 0)
    return discriminator, (config.channels, config.resolution, config.resolution), config.conditional


def bench_loss(logits: Tensor) -> Tensor:
    """Cross entropy of (N, K) logits with label 0, or the logistic loss of (N,) logits of generated images."""
    if logits.dim() == 1:
        return F.softplus(logits).mean()
    return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))


class Workload:
    """A network with its optimizer, its folded copy, and random inputs.

    Args:
        model: a name in `MODELS`.
        norm: a value of --norm; its critic, if it has one, computes all outputs.
        batch: images of a training step.
        runtime: device and precision.
    """

    def __init__(self, model: str, norm: str, batch: int, runtime: Runtime) -> None:
        self.norm = norm
        self._norm = NORMS.load(norm)
        self.runtime = runtime
        network, shape, conditional = build_model(model, norm)
        self.network = runtime.place(network)
        self.parameters = count_parameters(self.network)
        fused = runtime.device.type in ("cpu", "cuda")
        self.optimizer = torch.optim.Adam(self.network.parameters(), 1e-4, fused=fused)
        self._inputs = {size: self._random(size, shape, conditional=conditional) for size in {batch, 1, LARGE_BATCH}}
        self.batch = batch
        self.train_step()  # moves running statistics away from their initial values
        self.folded = fold(self.network, strict=False)
        self.work: dict[str, Callable[[], object]] = {
            "train": self.train_step,
            "infer_1": lambda: self.infer(self.network, 1),
            f"infer_{LARGE_BATCH}": lambda: self.infer(self.network, LARGE_BATCH),
            "folded_1": lambda: self.infer(self.folded, 1),
            f"folded_{LARGE_BATCH}": lambda: self.infer(self.folded, LARGE_BATCH),
        }

    def _random(self, count: int, shape: tuple[int, int, int], *, conditional: bool) -> tuple[Tensor, ...]:
        images = torch.randn(count, *shape, generator=torch.Generator().manual_seed(count))
        images = images.to(self.runtime.device).contiguous(memory_format=torch.channels_last)
        return (images, torch.arange(count, device=self.runtime.device) % CLASSES) if conditional else (images,)

    def train_step(self) -> None:
        """Run power iteration if the norm has one, forward, backward and Adam."""
        power_iterate(self.network)
        with self.runtime.autocast():
            logits = self._norm.logits(self.network, *self._inputs[self.batch])
        self.optimizer.zero_grad()
        bench_loss(logits.float()).backward()
        self.optimizer.step()

    @torch.inference_mode()
    def infer(self, network: nn.Module, count: int) -> Tensor:
        """Return the logits of the network or its folded copy for a batch of `count` images."""
        with self.runtime.autocast():
            return self._norm.logits(network, *self._inputs[count])

    def seconds(self, quantity: str, repeats: int, *, warm: bool) -> float:
        """Return the mean time of `repeats` calls; with `warm`, after one untimed call."""
        self.network.train(quantity == "train")
        work = self.work[quantity]
        if warm:
            work()
        return time_work(lambda: [work() for _ in range(repeats)], self.runtime.device) / repeats


def count_flop(model: str, norm: str) -> dict[str, int]:
    """Count the FLOP of the folded network for one image: convolutions and matrix products.

    A multiplication and an addition count as two. The work of the norm itself is not counted; norms differ only where
    they allow layers to be merged.

    Returns:
        `forward`: FLOP of inference; `training`: of forward and backward.
    """
    network, shape, conditional = build_model(model, norm)
    network = fold(network, strict=False)
    inputs = (torch.zeros(1, *shape), *([torch.zeros(1, dtype=torch.long)] if conditional else []))
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        network(*inputs)
    with FlopCounterMode(display=False) as training:
        bench_loss(network(*inputs)).backward()
    return {"forward": forward.get_total_flops(), "training": training.get_total_flops()}
