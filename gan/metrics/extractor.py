"""The interface of feature extractors, and the options that choose one"""

from __future__ import annotations

import typing
from dataclasses import dataclass, fields, replace
from pathlib import Path

from gan.errors import UsageError

if typing.TYPE_CHECKING:  # the command line needs the options and starts without torch
    from torch import Tensor

    from gan.metrics.protocol import Protocol


@dataclass(frozen=True)
class ExtractorOptions:
    """The feature extractor chosen on the command line."""

    features: str = "auto"
    """A name or reference in FEATURES, `classifier:FILE`, or `auto`: `digits` for the digits, else `inception`."""
    preprocess: str | None = None
    """A name in PREPROCESS, of Inception only; None: pytorch-fid."""
    precision: str = "fp32"
    """`fp32` or `bf16`; bf16 changes FID."""
    weights: Path | None = None
    """The weights file of Inception, DINOv2 or CLIP, or the checkpoint of a classifier."""
    allow_other_weights: bool = False
    """Accept weights of Inception or CLIP other than the published ones; their hash goes into the protocol."""
    batch: int | None = None
    """Images in one forward pass; None: a size that suits the device."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `mps`."""
    norm: tuple[str, ...] = ()
    """Norms of the user's own, for a classifier that was trained under one, whose code may run."""

    @property
    def given_flags(self) -> list[str]:
        """The flags whose values differ from the defaults."""
        changed = [item.name for item in fields(self) if getattr(self, item.name) != item.default]
        flags = {"weights": "--features-weights"}
        return [flags.get(name, f"--{name.replace('_', '-')}") for name in changed if name != "device"]

    def like(self, protocol: Protocol) -> ExtractorOptions:
        """These options; if no extractor was chosen, the one that existing statistics were made with.

        Raises:
            UsageError: the statistics were made with a classifier, whose file is not known.
        """
        if self.features != "auto":
            return self
        if protocol.extractor == "classifier":
            raise UsageError("--ref: has statistics of a classifier; name its checkpoint, --features classifier:FILE")
        preprocess = protocol.preprocess if protocol.extractor == "inception" else None
        return replace(self, features=protocol.extractor, preprocess=self.preprocess or preprocess)


class Extractor(typing.Protocol):
    """A network that turns images into feature vectors and class logits. Any object with these attributes will do."""

    name: str
    hash: str
    """SHA-256 of the weights, hex."""
    dimension: int
    """D, length of a feature vector."""
    classes: int
    """K, number of logits; 0: none, so that there is no Inception score."""
    batch_size: int
    """Images in one forward pass."""
    protocol: Protocol
    warnings: tuple[str, ...]
    """Reasons to doubt every score in its features; they stand beside the scores."""

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features float32 (N, D) and logits float32 (N, K), on the CPU, of images uint8 (N, 3, H, W)."""
        ...
