"""A trained classifier as the network that looks at images: scores for a domain that Inception does not know."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor
from torch.nn import functional as F

from gan.errors import UsageError, UserError
from gan.metrics.batched_inference import batched_features
from gan.metrics.extractor import ExtractorOptions
from gan.metrics.protocol import Protocol, feature_versions
from gan.models.classifiers import classifier_from_state
from gan.runs import checkpoint

LARGEST = 4096  # features; a covariance of more takes minutes to decompose, and as many images to be of full rank


class ClassifierExtractor:
    """The penultimate features and the logits of a classifier checkpoint, asked for as `classifier:CHECKPOINT`."""

    name = "classifier"

    def __init__(self, options: ExtractorOptions) -> None:
        """Load the checkpoint that `options.weights` names.

        Raises:
            UsageError: no checkpoint is named, or another precision than fp32 is asked for.
            UserError: it is no whole classifier checkpoint, or has too many features for a covariance.
        """
        if options.weights is None:
            raise UsageError("--features classifier: name a trained checkpoint, as in classifier:checkpoints/x.pt")
        if options.precision != "fp32":
            raise UsageError(f"--precision {options.precision}: the features of a classifier are made in fp32 only")
        state = checkpoint.load_checkpoint(options.weights)
        self._network = classifier_from_state(state, options.weights).to(options.device).requires_grad_(False)
        self.dimension = self._network.dimension
        self.classes = len(state["classes"])
        if self.dimension > LARGEST:
            raise UserError(
                f"{options.weights}: {state['model']} has {self.dimension:,} features, too many for a covariance "
                f"({LARGEST:,} at most); use vgg7, densenet-bc or resnet18"
            )
        self.hash = hashlib.sha256(options.weights.read_bytes()).hexdigest()
        self.batch_size = options.batch_size or 256
        self.protocol = Protocol(
            extractor=self.name,
            weights=self.hash,
            layer=f"{state['model']} penultimate ({self.dimension}), logits ({self.classes})",
            preprocess=f"antialiased bilinear to {self._network.resolution}",
            precision="fp32",
            batch_size=self.batch_size,
            device=options.device.type,
            versions=feature_versions(),
        )
        self._device = options.device

    @torch.inference_mode()
    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features float32 (N, D) and logits float32 (N, K), on the CPU.

        Args:
            images: uint8 (N, 3, H, W), of any number and size; a grey classifier sees the mean of the colours.
        """
        return batched_features(
            images, self.batch_size, self._device, lambda batch: self._network.features(self._prepared(batch))
        )

    def _prepared(self, images: Tensor) -> Tensor:
        """uint8 (N, 3, H, W) -> float32 (N, C, R, R) in [-1, 1]."""
        x = images.float()
        if self._network.channels == 1:
            x = x.mean(dim=1, keepdim=True)
        size = (self._network.resolution, self._network.resolution)
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=True) / 127.5 - 1
