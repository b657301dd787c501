"""Inference in batches of a fixed size, with float32 products computed in float32"""

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
    """Base class of extractors: the protocol of their features, and inference in batches of a fixed size.

    The constructors raise a UsageError if the extractor does not have an option, such as a precision.
    """

    name: str
    dimension: int
    classes: int
    precisions: tuple[str, ...] = ("fp32",)
    warnings: tuple[str, ...] = ()
    default_batch = (256, 256)  # on a CPU, on other devices

    def __init__(self, options: ExtractorOptions) -> None:
        if options.precision not in self.precisions:
            precisions = " and ".join(self.precisions)
            raise UsageError(f"--precision {options.precision}: {self.name} features are computed in {precisions} only")
        self.device = resolve_device(options.device)
        self.batch_size = options.batch or self.default_batch[self.device.type != "cpu"]
        self._precision = options.precision

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
