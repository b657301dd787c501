"""The interface of feature extractors, and their options"""

from __future__ import annotations

import typing
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gan.metrics.protocol import Protocol


@dataclass(frozen=True)
class ExtractorOptions:
    """The flags that choose how a network looks at images."""

    device: torch.device = torch.device("cpu")
    precision: str = "fp32"
    """`fp32` or `bf16`; bf16 changes FID."""
    preprocess: str = "pytorch-fid"
    """A name in PREPROCESS."""
    weights: Path | None = None
    """The file given with `--inception-weights`."""
    allow_other_weights: bool = False
    """Take a weights file that is not the published one; its own hash goes into the protocol."""
    batch_size: int | None = None
    """Images in one pass of the network; None: fitting the device."""


class Extractor(typing.Protocol):
    """A network that turns images into feature vectors and class logits. Anything of this shape will do."""

    name: str
    hash: str
    """SHA-256 of the weights, hex."""
    dimension: int
    """D, length of a feature vector."""
    classes: int
    """K, number of logits."""
    batch_size: int
    """How many images it is given at a time."""
    protocol: Protocol

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features float32 (N, D) and logits float32 (N, K), on the CPU, of images uint8 (N, 3, H, W)."""
        ...
