"""The norm under check, the layers and networks that it is applied to, and the result of a check."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gan.config.norm_spec import parse_norm
from gan.dynamics.layers import raw_weight
from gan.models import Network
from gan.models.blocks import DiscriminatorNorm
from gan.models.dcgan import DCGANDiscriminator, DCGANGenerator
from gan.models.resnet import ResNetDiscriminator, ResNetGenerator
from gan.norm import Norm, compose, power_iterate, settle_input_sizes
from gan.runtime import Runtime

BATCH = 5
INPUTS = 4  # channels or features of a layer's input
CHANNELS = 32  # of its output; a norm may need a number that its groups divide
RESOLUTION, LATENT_DIM = 32, 16  # of the networks
NETWORKS = {
    "DCGAN": Network(DCGANGenerator, DCGANDiscriminator),
    "ResNet": Network(ResNetGenerator, ResNetDiscriminator),
}
REQUIRED = ("linear", "conv2d")
"""Kinds of layers that the discriminators consist of."""

OK: Literal["ok"] = "ok"
FAILS: Literal["fails"] = "fails"
NOT_APPLICABLE: Literal["does not apply"] = "does not apply"
MEASURED: Literal["measured"] = "measured"
"""Verdict of a property that is information: it cannot fail."""
Verdict = Literal["ok", "fails", "does not apply", "measured"]


class Finding(NamedTuple):
    """The result of checking one property."""

    verdict: Verdict
    text: str
    """Figure, or what is wrong."""
    values: dict[str, Any] = {}
    """Numbers for the JSON."""


class Failure(Exception):
    """A property does not hold; the message says what is wrong."""


LAYERS: dict[str, tuple[Callable[..., nn.Module], tuple[int, ...]]] = {
    "linear": (lambda c, **like: nn.Linear(INPUTS, c, **like), (INPUTS,)),
    "conv2d": (lambda c, **like: nn.Conv2d(INPUTS, c, 3, padding=1, **like), (INPUTS, 6, 6)),
    "conv2d of stride 2": (lambda c, **like: nn.Conv2d(INPUTS, c, 4, 2, 1, **like), (INPUTS, 6, 6)),
    "conv1d": (lambda c, **like: nn.Conv1d(INPUTS, c, 3, padding=1, **like), (INPUTS, 7)),
    "conv3d": (lambda c, **like: nn.Conv3d(INPUTS, c, 2, **like), (INPUTS, 3, 4, 3)),
    "transposed1d": (lambda c, **like: nn.ConvTranspose1d(INPUTS, c, 4, 2, 1, **like), (INPUTS, 5)),
    "transposed2d": (lambda c, **like: nn.ConvTranspose2d(INPUTS, c, 4, 2, 1, **like), (INPUTS, 4, 4)),
    "transposed3d": (lambda c, **like: nn.ConvTranspose3d(INPUTS, c, 2, **like), (INPUTS, 2, 3, 2)),
}
"""Builders, from the number of output channels, and the shape of an input without the batch."""


@dataclass(frozen=True)
class Case:
    """A kind of layer under the norm, as a hidden layer or as the output layer."""

    kind: str
    subject: Subject
    is_output: bool = False

    def plain(self, seed: int = 0, **like: Any) -> nn.Module:
        """Build the layer without a norm.

        Args:
            like: dtype of its parameters, and their device if it is not that of the subject.
        """
        torch.manual_seed(seed)
        channels = 1 if self.is_output else self.subject.channels
        layer = LAYERS[self.kind][0](channels, **{key: value for key, value in like.items() if value is not None})
        return layer if "device" in like else layer.to(self.subject.device)

    def normalized(self, layer: nn.Module) -> nn.Module:
        """Apply the norm to a layer."""
        return (self.subject.norm.output if self.is_output else self.subject.norm.hidden)(layer)

    def build(self, seed: int = 0, **like: Any) -> nn.Module:
        """Build the normalized layer; see `plain`."""
        layer = self.normalized(self.plain(seed, **like))
        settle_input_sizes(layer, self.inputs(batch=1, dtype=like.get("dtype") or torch.float32).to(like.get("device")))
        return layer

    def inputs(self, seed: int = 0, batch: int = BATCH, dtype: torch.dtype = torch.float32) -> Tensor:
        """Draw random inputs."""
        generator = torch.Generator().manual_seed(1000 + seed)
        shape = (batch, *LAYERS[self.kind][1])
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(self.subject.device, dtype)

    def __str__(self) -> str:
        return f"{self.kind} output layer" if self.is_output else self.kind


@dataclass(frozen=True)
class Subject:
    """A norm under check."""

    text: str
    """Value of --norm."""
    norm: Norm
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def channels(self) -> int:
        """Output channels of the layers: at least two in each group, as the norm of a single value is a constant."""
        return math.lcm(CHANNELS, 2 * self._groups)

    @property
    def width(self) -> int:
        """Width of the networks: a multiple of the norm's groups."""
        return math.lcm(CHANNELS, self._groups)

    @property
    def _groups(self) -> int:
        feature_norm = parse_norm(self.text).feature_norm
        return int(dict(feature_norm.options).get("groups", 1)) if feature_norm else 1

    def with_float64(self) -> Subject:
        """The subject on a device that has float64."""
        return Subject(self.text, self.norm) if self.device.type == "mps" else self

    def required_cases(self) -> Iterator[Case]:
        """Yield the layers that a discriminator consists of: hidden ones, and the output layer."""
        yield from (Case(kind, self) for kind in REQUIRED)
        yield Case("linear", self, is_output=True)

    def discriminator(self, network: str = "DCGAN", norm: Norm | None = None) -> nn.Module:
        """Build a small discriminator with seeded weights under this norm, or under another, as a training does."""
        torch.manual_seed(0)
        normalize = DiscriminatorNorm(norm or self.norm)
        discriminator = NETWORKS[network].discriminator(RESOLUTION, width=self.width, normalize=normalize)
        return self.placed(discriminator).train()

    def placed(self, network: nn.Module) -> nn.Module:
        """Move a network to the device, with weights in the memory format of a training (channels-last)."""
        return Runtime(self.device, bf16=False).place(network)

    def plain_discriminator(self, network: str = "DCGAN") -> nn.Module:
        """Build the same discriminator under `none`."""
        return self.discriminator(network, compose())

    def images(self, count: int = 8, seed: int = 0) -> Tensor:
        """Draw random images (N, 3, R, R) in [-1, 1]."""
        generator = torch.Generator().manual_seed(seed)
        return (2 * torch.rand(count, 3, RESOLUTION, RESOLUTION, generator=generator) - 1).to(self.device)


def stored_weight(layer: nn.Module) -> nn.Parameter | None:
    """The parameter that holds the raw weight of a layer; None if there is none.

    It is `weight`, the first original of a parametrization, or what torch's former functions with hooks register.
    """
    if parametrize.is_parametrized(layer, "weight"):
        return raw_weight(layer)
    names = ("weight", "weight_orig", "weight_v")
    return next((layer._parameters[name] for name in names if layer._parameters.get(name) is not None), None)


def exercise(network: nn.Module, inputs: Tensor, steps: int = 2) -> None:
    """Train a network for a few steps of gradient descent, so that its weights, state and statistics have moved."""
    network.train()
    for step in range(steps):
        torch.manual_seed(step)  # for norms that draw noise
        power_iterate(network)
        outputs = network(inputs)
        if outputs.requires_grad:
            network.zero_grad()
            weighted(outputs).backward()
            with torch.no_grad():
                for parameter in network.parameters():
                    if parameter.grad is not None:
                        parameter.sub_(parameter.grad, alpha=1e-3)
    network.zero_grad()


def weighted(outputs: Tensor) -> Tensor:
    """A scalar with a different weight for each output: a plain sum has no gradient after a centering."""
    weights = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    return (outputs * weights.to(outputs)).sum()


def require_finite(outputs: Tensor, where: str) -> None:
    """Raise a Failure if a value is not finite."""
    if not outputs.isfinite().all():
        raise Failure(f"{where}: the output is not finite")


def relative_difference(values: Tensor, expected: Tensor) -> float:
    """‖values − expected‖ / ‖expected‖."""
    expected = expected.detach().cpu().double()  # an Apple GPU has no float64
    difference = (values.detach().cpu().double() - expected).norm()
    return (difference / expected.norm().clamp_min(1e-12)).item()
