"""Image sets: all pixels in memory, or fetched at each access."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from torch import Tensor

from gan.data.decode_all import fingerprint


class Store(Protocol):
    """Storage of a set's pixels."""

    def __len__(self) -> int: ...

    def fetch(self, indices: Tensor) -> Tensor:
        """Return the images with these numbers, int64 (B,): uint8 (B, C, R, R)."""


@dataclass(frozen=True, eq=False)
class InMemory:
    """A store that holds all images in one tensor, uint8 (N, C, R, R)."""

    pixels: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def fetch(self, indices: Tensor) -> Tensor:
        """Copy the images with these numbers."""
        return self.pixels.index_select(0, indices)


@dataclass(frozen=True, eq=False)
class Subset:
    """A store of some images of another store, given by their numbers, int64 (N,)."""

    whole: Store
    indices: Tensor

    def __len__(self) -> int:
        return len(self.indices)

    def fetch(self, indices: Tensor) -> Tensor:
        """Return the images with these numbers within the subset."""
        return self.whole.fetch(self.indices[indices])


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Square images of one size, numbered from 0.

    `labels` is int64 (N,), or None for an unlabelled set; label k means `classes[k]`. `fingerprint` is a SHA-256 in
    hex: of pixels and labels, or, for a set streamed from disk, of names, sizes and CRCs or modification times.
    `conversions` counts the images that were converted, by kind; `notes` are sentences about what was left out or
    assumed. `channels` is 3 (RGB) or 1 (grey). `whole_fingerprint` is that of the set that this one is a part of, or
    None.
    """

    name: str
    labels: Tensor | None = field(repr=False)
    classes: tuple[str, ...]
    fingerprint: str
    resolution: int
    channels: int
    store: Store = field(repr=False)
    conversions: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    whole_fingerprint: str | None = None

    @classmethod
    def of(
        cls, pixels: Tensor, labels: Tensor | None = None, classes: Sequence[str] = (), *, name: str = "images"
    ) -> ImageSet:
        """Create a set from a tensor, uint8 (N, C, R, R), and labels, int64 (N,)."""
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
        """All images, uint8 (N, C, R, R), read-only; None for a streamed set."""
        return self.store.pixels if isinstance(self.store, InMemory) else None

    def fetch(self, indices: Tensor) -> Tensor:
        """Return the images with these numbers, int64 (B,), in that order: uint8 (B, C, R, R).

        Raises:
            UserError: a streamed image has become unreadable since the set was loaded.
        """
        return self.store.fetch(indices)

    def part(self, indices: Tensor) -> ImageSet:
        """Return the subset with these numbers, int64 (N,), in that order; it has a fingerprint of its own.

        Of `conversions`, it has the kinds of which every image was converted: how many of the others are in the part is
        unknown.
        """
        digest = hashlib.sha256(self.fingerprint.encode() + indices.numpy().astype("<i8").tobytes())
        return replace(
            self,
            labels=None if self.labels is None else self.labels[indices],
            fingerprint=digest.hexdigest(),
            whole_fingerprint=self.whole_fingerprint or self.fingerprint,
            conversions={kind: len(indices) for kind, count in self.conversions.items() if count == len(self)},
            store=Subset(self.store, indices) if self.pixels is None else InMemory(self.fetch(indices)),
        )
