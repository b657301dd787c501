"""A user's own feature extractor: a class or function of the device that returns a function of images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gan.config import plugins
from gan.errors import UsageError
from gan.metrics.batched_inference import BatchedExtractor
from gan.metrics.classifier_extractor import MAX_FEATURES
from gan.metrics.extractor import Extractor, ExtractorOptions
from gan.utils.random_streams import seeded_globally

_TRIED_SIZE = 32  # pixels of the images with which it is tried
_CALL = "name(device), then function(images)"


def own_extractor(build: Any) -> Callable[[ExtractorOptions], Extractor]:
    """The constructor of a user's own extractor, for EXTRACTORS; a TypeError if it cannot be called.

    `build(device)` returns a function of images uint8 (N, 3, H, W) on the device, of any size, that returns features
    (N, D), or features and logits (N, K). Without logits there is no Inception score. The SHA-256 of the source stands
    in the protocol; if the function has weights in another file, it gives their hash as its attribute `sha256`.
    """
    if not callable(build):
        raise TypeError("must be a class or function of the device that returns a function of images")
    return partial(OwnExtractor, build)


class OwnExtractor(BatchedExtractor):
    """A user's own extractor, tried on two images. Random numbers that it draws when it is built are always the same.

    Raises:
        UserError: it returns no features, or too many for a covariance, or its code raises an exception.
    """

    def __init__(self, build: Callable[[torch.device], Any], options: ExtractorOptions) -> None:
        self.name = options.features
        super().__init__(options)
        self.dimension = self.classes = 0
        self._where = f"--features {self.name}"
        with seeded_globally(0), plugins.reported_errors(self._where, _CALL):
            self._function = build(self.device)
            if isinstance(self._function, torch.nn.Module):
                self._function.eval()
        images = torch.randint(0, 256, (2, 3, _TRIED_SIZE, _TRIED_SIZE), generator=torch.Generator().manual_seed(0))
        features, logits = self.features(images.to(torch.uint8))
        self.dimension, self.classes = features.shape[1], logits.shape[1]
        if self.dimension > MAX_FEATURES:
            many = f"returns {self.dimension:,} features, too many for a covariance"
            raise UsageError(f"{self._where}: {many} ({MAX_FEATURES:,} at most)")
        (source,) = plugins.record([self.name], "--features").values()
        weights = getattr(self._function, "sha256", None)
        sha256 = hashlib.sha256(f"{source['sha256']} {weights}".encode()).hexdigest() if weights else source["sha256"]
        self._set_protocol(
            sha256,
            layer=f"features ({self.dimension}), {f'logits ({self.classes})' if self.classes else 'no logits'}",
            preprocess="its own",
        )
        if source["version"]:
            package = self.name.partition(".")[0].partition(":")[0]
            self.protocol = replace(self.protocol, versions={**self.protocol.versions, package: source["version"]})

    def _forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        with plugins.reported_errors(self._where, _CALL):
            output = self._function(images)
            features, logits = output if isinstance(output, (tuple, list)) and len(output) == 2 else (output, None)
            self._require_matrix("features", features, len(images), self.dimension)
            if logits is None:
                logits = features.new_zeros(len(images), 0)
            elif self.classes or not self.dimension:
                self._require_matrix("logits", logits, len(images), self.classes)
            return features.float(), logits.float()

    def _require_matrix(self, what: str, values: Any, count: int, width: int) -> None:
        """Raise a TypeError unless `values` is a tensor (count, width); a width of 0 is not known yet."""
        shape = tuple(values.shape) if isinstance(values, Tensor) else None
        if shape is None or len(shape) != 2 or len(values) != count or not shape[1]:
            form = shape or type(values).__name__
            raise TypeError(f"returned {what} {form} for {count} images; it must return a tensor ({count}, D)")
        if width and shape[1] != width:
            raise TypeError(
                f"returned {shape[1]} {what} for an image, and {width} when it was tried on images of {_TRIED_SIZE} "
                "pixels; their number must not depend on the size of the images"
            )
