"""Inference in batches of a fixed size, with float32 products computed in float32"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from gan.errors import UsageError
from gan.metrics.extractor import ExtractorOptions
from gan.metrics.protocol import Protocol, feature_versions
from gan.runtime import resolve_device


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Turn off TF32, autocast and cuDNN's choice of algorithms by timing for the block; training may use them all.

    TF32 changes features by 1e-3 of their size; algorithms that change from run to run, by 1e-6.
    """
    cudnn: Any = torch.backends.cudnn
    matmul = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with (
            cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
            torch.autocast(device.type, enabled=False),
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(matmul)


class BatchedExtractor:
    """Base class of the extractors: the protocol of their features, and inference in batches of a fixed size."""

    name: str
    dimension: int
    classes: int
    precisions: tuple[str, ...] = ("fp32",)

    def __init__(self, options: ExtractorOptions) -> None:
        """Resolve the device.

        Raises:
            UsageError: the extractor does not run in that precision.
        """
        if options.precision not in self.precisions:
            raise UsageError(
                f"--precision {options.precision}: {self.name} features are computed in {', '.join(self.precisions)}"
                f"{' only' if len(self.precisions) == 1 else ''}"
            )
        self.device = resolve_device(options.device)
        self.batch_size = options.batch or self._default_batch_size()
        self._precision = options.precision

    def _default_batch_size(self) -> int:
        return 256

    def _set_protocol(self, sha256: str, layer: str, preprocess: str) -> None:
        self.hash = sha256
        self.protocol = Protocol(
            extractor=self.name,
            weights=sha256,
            layer=layer,
            preprocess=preprocess,
            precision=self._precision,
            batch_size=self.batch_size,
            device=self.device.type,
            versions=feature_versions(),
        )

    @torch.inference_mode()
    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features float32 (N, D) and logits float32 (N, K), on the CPU.

        Args:
            images: uint8 (N, 3, H, W), of any number and size.
        """
        parts = []
        with full_precision(self.device):
            for batch in images.split(self.batch_size):
                parts.append([part.cpu() for part in self._forward(batch.to(self.device))])
        features, logits = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        return features, logits

    def _forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features and logits of a batch uint8 (B, 3, H, W) on the device."""
        raise NotImplementedError
