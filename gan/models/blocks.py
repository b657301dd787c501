"""Pieces that the generators and discriminators share."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor, nn

from gan.errors import UsageError
from gan.norm import NORMS


class ConditionalBatchNorm2d(nn.Module):
    """Batch norm whose scale and shift are learned per class (Dumoulin et al. 2017; Miyato & Koyama 2018).

    Takes h (N, C, H, W) and labels (N,), int64 below `classes`.
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
    """The generator's normalization: batch norm, conditional where there are classes."""
    return ConditionalBatchNorm2d(channels, classes) if classes else nn.BatchNorm2d(channels)


class LayerNormalizer:
    """Applies one discriminator normalization to layers in the order in which they are built.

    Args:
        norm: a name in `gan.norm.NORMS`.
        only: numbers of the hidden convolutions, from 1 in building order, that get the norm; the others get what
            the norm leaves to an output layer (SN for the norms that have it). None: all of them.

    `pools` is that of the norm: whether a mean over neighbouring positions may come before it.
    """

    def __init__(self, norm: str, only: Collection[int] | None = None) -> None:
        self._norm = NORMS[norm]
        self._only = only
        self.pools = self._norm.pools
        self.count = 0

    def hidden(self, layer: nn.Module) -> nn.Module:
        """Normalize the next hidden layer."""
        self.count += 1
        treat = self._norm.hidden if self._only is None or self.count in self._only else self._norm.output
        return treat(layer)

    def done(self) -> None:
        """Check, after the last hidden layer, that `only` named layers that exist.

        Raises:
            UsageError: it names others.
        """
        absent = [number for number in self._only or () if number > self.count]
        if absent:
            raise UsageError(
                f"--norm-layers {','.join(map(str, absent))}: this discriminator has {self.count} hidden convolutions"
            )

    def output(self, layer: nn.Module) -> nn.Module:
        """Normalize an output layer, or the label embedding that stands beside it."""
        return self._norm.output(layer)


class ProjectionHead(nn.Module):
    """The discriminator's answer: ψ(φ) = linear(φ), plus ⟨embedding(y), φ⟩ with labels (Miyato & Koyama 2018, eq. 3).

    Takes features φ (N, F) and labels (N,) or None; gives logits (N,).
    """

    def __init__(self, linear: nn.Linear, classes: int, normalize: LayerNormalizer) -> None:
        super().__init__()
        features = linear.in_features
        self.linear = normalize.output(linear)
        self.embedding = None
        if classes:
            embedding = nn.Embedding(classes, features)
            nn.init.xavier_uniform_(embedding.weight)
            self.embedding = normalize.output(embedding)

    def forward(self, features: Tensor, labels: Tensor | None) -> Tensor:
        logits = self.linear(features).squeeze(1)  # (N, 1) -> (N,)
        if self.embedding is None:
            return logits
        return logits + (self.embedding(labels) * features).sum(1)
