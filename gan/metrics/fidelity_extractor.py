"""DINOv2 and CLIP features, by torch-fidelity's extractors. torch-fidelity is imported when one is created."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from gan.errors import UserError
from gan.metrics.batched_inference import BatchedExtractor
from gan.metrics.dinov2_network import SIZES, load_dinov2
from gan.metrics.extractor import ExtractorOptions
from gan.metrics.weights_file import FLAG, PublishedWeights, locate_weights
from gan.utils.environment import package_versions
from gan.utils.optional_packages import require_packages
from gan.utils.random_streams import seeded_globally

_REQUIREMENT = "'torch-fidelity>=0.4,<0.5'"  # as in the extra `features`
_RESIZING = "torch-fidelity's (TensorFlow 1's) bilinear to 224"
_CLIP_SHAPE = (768, 3, 32, 32)  # of the first convolution of ViT-B/32
_CLIP_SHA256 = "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"
_CLIP = PublishedWeights(
    network="CLIP",
    url=f"https://openaipublic.azureedge.net/clip/models/{_CLIP_SHA256}/ViT-B-32.pt",
    file_name=f"clip-vit-b-32-{_CLIP_SHA256}.pt",  # torch-fidelity's name
    variable="MSN_GAN_CLIP",
    sha256=_CLIP_SHA256,
)


def dinov2_weights(size: str) -> PublishedWeights:
    """The published weights of a size, a key of SIZES; their authors publish no SHA-256."""
    stem = f"dinov2_vit{size}14"
    return PublishedWeights(
        network=f"DINOv2 {SIZES[size].title}",
        url=f"https://dl.fbaipublicfiles.com/dinov2/{stem}/{stem}_pretrain.pth",
        file_name=f"{stem}_pretrain.pth",
        variable="MSN_GAN_DINOV2",
        sha256=None,
    )


class FidelityExtractor(BatchedExtractor):
    """Base class: resizing, normalization and features of an extractor of torch-fidelity; no logits."""

    classes = 0
    default_batch = (8, 64)
    _network: nn.Module

    def __init__(self, options: ExtractorOptions) -> None:
        self.name = options.features
        super().__init__(options)
        require_packages(
            f"--features {self.name}", ("torch_fidelity.feature_extractor_dinov2",), requirement=_REQUIREMENT
        )

    def _set_network(self, network: nn.Module, sha256: str, layer: str, normalization: str) -> None:
        self._network = network.to(self.device)
        layer = f"{layer} ({self.dimension}), no logits"
        self._set_protocol(sha256, layer=layer, preprocess=f"{_RESIZING}, {normalization}")
        versions = {**self.protocol.versions, **package_versions("torch-fidelity")}
        self.protocol = replace(self.protocol, versions=versions)

    def _forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        (features,) = self._network(images)
        return features, features.new_zeros(len(features), 0)


class Dinov2Extractor(FidelityExtractor):
    """The class token of DINOv2: `dinov2` (ViT-L/14), `dinov2:s`, `dinov2:b`, `dinov2:g`."""

    def __init__(self, options: ExtractorOptions) -> None:
        """Load the weights; raise a UserError if they or torch-fidelity are not available."""
        super().__init__(options)
        key = options.features.partition(":")[2] or "l"
        size = SIZES[key]
        weights = locate_weights(dinov2_weights(key), options.weights)
        network = load_dinov2(weights.path, size)
        from torch_fidelity.feature_extractor_dinov2 import FeatureExtractorDinoV2

        self.dimension = size.width
        # torch-fidelity always downloads the network's code and weights, and sets a variable that this code reads.
        with patch.object(torch.hub, "load", lambda *args, **options: network), patch.dict(os.environ):
            extractor = FeatureExtractorDinoV2(f"dinov2-vit-{key}-14", ["dinov2"])
        self._set_network(extractor, weights.sha256, f"{size.title} class token", "ImageNet's mean and deviation")


class ClipExtractor(FidelityExtractor):
    """The image embedding of CLIP ViT-B/32 (Radford et al. 2021, arXiv 2103.00020)."""

    def __init__(self, options: ExtractorOptions) -> None:
        """Load the weights; raise a UserError if they are not available, or not the published ones."""
        super().__init__(options)
        weights = locate_weights(_CLIP, options.weights, allow_other_weights=options.allow_other_weights)
        extractor = _clip(weights.path)
        self.dimension = extractor.model.visual.output_dim
        self._set_network(extractor, weights.sha256, "ViT-B/32 image embedding", "CLIP's mean and deviation")
        if weights.sha256 != _CLIP.sha256:
            self.warnings = ("not the published CLIP weights: compare only with scores of the same weights",)


def _clip(path: Path) -> Any:
    """torch-fidelity's extractor with the weights of a file; a UserError if they are not those of CLIP ViT-B/32."""
    from torch_fidelity.feature_extractor_clip import FeatureExtractorCLIP

    try:
        # The network starts from random weights: keep the caller's random state.
        with warnings.catch_warnings(), seeded_globally(0):
            warnings.simplefilter("ignore")  # TorchScript, the form of the file, is deprecated
            extractor = FeatureExtractorCLIP("clip-vit-b-32", ["clip"], feature_extractor_weights_path=str(path))
        shape = tuple(extractor.model.visual.conv1.weight.shape)
    except Exception as error:  # files of another kind make the unpickler raise almost anything
        raise UserError(f"{path}: does not hold the weights of CLIP ViT-B/32, in OpenAI's form") from error
    if shape != _CLIP_SHAPE:
        raise UserError(f"{path}: holds another CLIP network, not ViT-B/32; {FLAG} needs {_CLIP.url}")
    return extractor
