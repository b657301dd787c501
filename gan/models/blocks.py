"""Building blocks of the networks: normalizations, the projection head, initialized convolutions."""

from collections.abc import Callable, Collection
from typing import Literal

from torch import Tensor, nn

from gan.config import plugins
from gan.errors import UsageError
from gan.norm import Norm
from gan.utils.counted import counted


class ConditionalBatchNorm2d(nn.Module):
    """Batch norm with a learned scale and shift per class (Dumoulin et al. 2017; Miyato & Koyama 2018).

    Inputs: h (N, C, H, W) and labels (N,), int64 below `classes`.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.scale = nn.Embedding(classes, channels)
        self.shift = nn.Embedding(classes, channels)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, h: Tensor, labels: Tensor) -> Tensor:
        normalized = self.norm(h)
        scale = self.scale(labels)[:, :, None, None].to(h.dtype)  # (N, C) -> (N, C, 1, 1)
        shift = self.shift(labels)[:, :, None, None].to(h.dtype)
        return normalized * scale + shift


def batch_norm(channels: int, classes: int) -> nn.Module:
    """Batch norm for a generator, conditional if there are classes."""
    return ConditionalBatchNorm2d(channels, classes) if classes else nn.BatchNorm2d(channels)


class DiscriminatorNorm:
    """Applies one normalization to the layers of a discriminator, in the order in which they are built.

    `pools` is True if a mean over neighbouring positions may come before the norm; `used` once a layer was given.

    Args:
        norm: the norm.
        only: numbers of the hidden convolutions, from 1 in building order, that get the norm; the others get its
            treatment of an output layer (SN for the norms that have it). None: all of them.
    """

    def __init__(self, norm: Norm, only: Collection[int] | None = None) -> None:
        self._norm = norm
        self._only = only
        self.pools = self._norm.pools
        self.count = 0
        self.used = False

    def hidden(self, layer: nn.Module) -> nn.Module:
        """Normalize the next hidden layer."""
        self.used = True
        self.count += 1
        full = self._only is None or self.count in self._only
        return normalized(self._norm.hidden if full else self._norm.output, layer)

    def check_layer_numbers(self) -> None:
        """Raise UsageError if `only` has a number above `count`; call it after the last hidden layer."""
        absent = [number for number in self._only or () if number > self.count]
        if absent:
            raise UsageError(
                f"--norm-layers {','.join(map(str, absent))}: this discriminator has "
                f"{counted(self.count, 'hidden convolution')}"
            )

    def output(self, layer: nn.Module) -> nn.Module:
        """Normalize the output layer or its label embedding."""
        self.used = True
        return self._norm.output(layer)


def normalized(norm: Callable[[nn.Module], nn.Module], layer: nn.Module) -> nn.Module:
    """A layer under a norm; a UsageError if the norm does not fit its sizes, such as its number of channels."""
    try:
        return norm(layer)
    except ValueError as error:
        if plugins.error_message(error):
            raise
        raise UsageError(f"--norm: {error}") from error


class ProjectionHead(nn.Module):
    """Projection discriminator's output: linear(φ), plus ⟨embedding(y), φ⟩ with labels (Miyato & Koyama 2018, eq. 3).

    Features φ (N, F) and labels (N,) or None to logits (N,).
    """

    def __init__(self, linear: nn.Linear, classes: int, norm: DiscriminatorNorm) -> None:
        super().__init__()
        features = linear.in_features
        self.linear = norm.output(linear)
        self.embedding = None
        if classes:
            embedding = nn.Embedding(classes, features)
            nn.init.xavier_uniform_(embedding.weight)
            self.embedding = norm.output(embedding)

    def forward(self, features: Tensor, labels: Tensor | None) -> Tensor:
        logits = self.linear(features).squeeze(1)  # (N, 1) -> (N,)
        if self.embedding is None:
            return logits
        return logits + (self.embedding(labels) * features).sum(1)


def he_convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, *, mode: Literal["fan_in", "fan_out"] = "fan_in"
) -> nn.Conv2d:
    """Convolution with the initial weights of He et al. 2015 (arXiv 1502.01852).

    Args:
        mode: keep the variance of the maps in the forward pass (`fan_in`) or of the gradients (`fan_out`).
    """
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)
    nn.init.kaiming_normal_(conv.weight, mode=mode, nonlinearity="relu")
    return conv
