"""The images that networks are trained on: all in memory, or fetched when they are asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from torch import Tensor

from gan.data.decode_all import fingerprint


class Store(Protocol):
    """Where the pixels of a set come from."""

    def __len__(self) -> int: ...

    def fetch(self, indices: Tensor) -> Tensor:
        """uint8 (B, C, R, R) of the images with these numbers, int64 (B,)."""


@dataclass(frozen=True, eq=False)
class InMemory:
    """All images as one tensor, uint8 (N, C, R, R)."""

    pixels: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def fetch(self, indices: Tensor) -> Tensor:
        """A copy of some images."""
        return self.pixels.index_select(0, indices)


@dataclass(frozen=True, eq=False)
class Subset:
    """Some images of another store, by their numbers, int64 (N,)."""

    whole: Store
    indices: Tensor

    def __len__(self) -> int:
        return len(self.indices)

    def fetch(self, indices: Tensor) -> Tensor:
        """The images with these numbers of the part."""
        return self.whole.fetch(self.indices[indices])


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Square images of one size, numbered from 0.

    `labels` is int64 (N,), or None for an unlabelled set; label k means `classes[k]`. `fingerprint` is a SHA-256 in
    hex: of pixels and labels, wherever they lie, or, for a set that is streamed from the disk, of names, sizes and CRCs
    or times of change. `conversions` counts the images that were changed on the way, by kind. `channels` is 3 (RGB) or
    1 (grey).
    """

    name: str
    labels: Tensor | None = field(repr=False)
    classes: tuple[str, ...]
    fingerprint: str
    resolution: int
    channels: int
    store: Store = field(repr=False)
    conversions: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls, pixels: Tensor, labels: Tensor | None = None, classes: Sequence[str] = (), *, name: str = "images"
    ) -> ImageSet:
        """A set made of a tensor, uint8 (N, C, R, R), and of labels, int64 (N,)."""
        return cls(
            name=name,
            labels=labels,
            classes=tuple(classes),
            fingerprint=fingerprint(pixels.numpy(), None if labels is None else labels.numpy()),
            resolution=pixels.shape[-1],
            channels=pixels.shape[1],
            store=InMemory(pixels),
        )

    def __len__(self) -> int:
        return len(self.store)

    @property
    def pixels(self) -> Tensor | None:
        """All images, uint8 (N, C, R, R), not to be written to; None for a set that is streamed."""
        return self.store.pixels if isinstance(self.store, InMemory) else None

    def fetch(self, indices: Tensor) -> Tensor:
        """The images with these numbers, int64 (B,), in that order: uint8 (B, C, R, R).

        Raises:
            UserError: a streamed image has become unreadable since the set was loaded.
        """
        return self.store.fetch(indices)

    def part(self, indices: Tensor) -> ImageSet:
        """The set of the images with these numbers, int64 (N,), in that order. Its fingerprint is its own."""
        digest = hashlib.sha256(self.fingerprint.encode() + indices.numpy().astype("<i8").tobytes())
        return replace(
            self,
            labels=None if self.labels is None else self.labels[indices],
            fingerprint=digest.hexdigest(),
            store=Subset(self.store, indices) if self.pixels is None else InMemory(self.fetch(indices)),
        )
