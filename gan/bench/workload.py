"""One network under one normalization, and the five things that are timed of it."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gan.config.presets import PRESETS, preset_config
from gan.models import build_discriminator, count_parameters
from gan.models.classifiers import CLASSIFIERS, build_classifier
from gan.norm import fold, power_iterate
from gan.runtime import Runtime
from gan.utils.environment import time_work

RESOLUTION, CHANNELS, CLASSES = 32, 3, 10  # of a classifier; a preset has its own
LARGE_BATCH = 64  # images of the larger inference

MODELS = (*CLASSIFIERS, *PRESETS)
# What is timed, by its name in the JSON; train and infer are of the network as it is trained.
QUANTITIES = ("train", "infer_1", f"infer_{LARGE_BATCH}", "folded_1", f"folded_{LARGE_BATCH}")


def build_model(model: str, norm: str) -> tuple[nn.Module, tuple[int, int, int], bool]:
    """A classifier, or the discriminator of a preset, the shape (channels, R, R) of its images, whether it has labels.

    A discriminator that is told labels knows `CLASSES` of them.
    """
    if model in CLASSIFIERS:
        network = build_classifier(model, norm, resolution=RESOLUTION, channels=CHANNELS, classes=CLASSES)
        return network, (CHANNELS, RESOLUTION, RESOLUTION), False
    config = preset_config(model).replace({"norm": norm})
    discriminator = build_discriminator(config, CLASSES if config.conditional else 0)
    return discriminator, (config.channels, config.resolution, config.resolution), config.conditional


def bench_loss(logits: Tensor) -> Tensor:
    """Cross entropy of a classifier's (N, K) against label 0; of a discriminator's (N,), the logistic loss of fakes."""
    if logits.dim() == 1:
        return F.softplus(logits).mean()
    return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))


class Workload:
    """A network, its optimizer, its folded copy, and images of random numbers with labels where it takes them.

    Args:
        model: a name in `MODELS`.
        norm: a name in `gan.norm.NORMS`.
        batch: images of a training step.
        runtime: device and precision.
    """

    def __init__(self, model: str, norm: str, batch: int, runtime: Runtime) -> None:
        self.norm = norm
        self.runtime = runtime
        network, shape, labelled = build_model(model, norm)
        self.network = runtime.place(network)
        fused = runtime.device.type in ("cpu", "cuda")
        self.optimizer = torch.optim.Adam(self.network.parameters(), 1e-4, fused=fused)
        self._inputs = {size: self._random(size, shape, labelled=labelled) for size in {batch, 1, LARGE_BATCH}}
        self.batch = batch
        self.train_step()  # running statistics that are not those of the beginning
        self.folded = fold(self.network, strict=False)
        self.work: dict[str, Callable[[], object]] = {
            "train": self.train_step,
            "infer_1": lambda: self.answer(self.network, 1),
            f"infer_{LARGE_BATCH}": lambda: self.answer(self.network, LARGE_BATCH),
            "folded_1": lambda: self.answer(self.folded, 1),
            f"folded_{LARGE_BATCH}": lambda: self.answer(self.folded, LARGE_BATCH),
        }

    def _random(self, count: int, shape: tuple[int, int, int], *, labelled: bool) -> tuple[Tensor, ...]:
        images = torch.randn(count, *shape, generator=torch.Generator().manual_seed(count))
        images = images.to(self.runtime.device).contiguous(memory_format=torch.channels_last)
        return (images, torch.arange(count, device=self.runtime.device) % CLASSES) if labelled else (images,)

    def train_step(self) -> None:
        """Power iteration where the norm has one, forward, backward, Adam."""
        power_iterate(self.network)
        with self.runtime.autocast():
            logits = self.network(*self._inputs[self.batch])
        self.optimizer.zero_grad()
        bench_loss(logits.float()).backward()
        self.optimizer.step()

    @torch.inference_mode()
    def answer(self, network: nn.Module, count: int) -> Tensor:
        """What the network or its folded copy says of some images."""
        with self.runtime.autocast():
            return network(*self._inputs[count])

    def seconds(self, quantity: str, repeats: int, *, warm: bool) -> float:
        """Of one call, the mean of several; with `warm` after one that is not timed."""
        self.network.train(quantity == "train")
        work = self.work[quantity]
        if warm:
            work()
        return time_work(lambda: [work() for _ in range(repeats)], self.runtime.device) / repeats

    @property
    def parameters(self) -> int:
        """Numbers that are learned."""
        return count_parameters(self.network)


def count_flop(model: str, norm: str) -> dict[str, int]:
    """FLOP for one image, of the folded network: convolutions and matrix products, an addition and a product are two.

    `forward` is inference, `training` forward and backward. The norm's own work is not counted; networks differ where
    a norm lets a layer be merged with its neighbour.
    """
    network, shape, labelled = build_model(model, norm)
    network = fold(network, strict=False)
    inputs = (torch.zeros(1, *shape), *([torch.zeros(1, dtype=torch.long)] if labelled else []))
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        network(*inputs)
    with FlopCounterMode(display=False) as training:
        bench_loss(network(*inputs)).backward()
    return {"forward": forward.get_total_flops(), "training": training.get_total_flops()}
