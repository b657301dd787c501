"""The Inception network of FID: features and logits in one forward pass"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytorch_fid.inception
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.feature_extraction import create_feature_extractor

from gan.errors import UsageError, UserError
from gan.metrics.batched_inference import BatchedExtractor
from gan.metrics.extractor import ExtractorOptions
from gan.metrics.inception_weights import locate_inception_weights
from gan.metrics.preprocess import PREPROCESS

_PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


class InceptionExtractor(BatchedExtractor):
    """pytorch-fid's network: 2048 pooled features, and the 1008 logits without bias that the Inception score uses."""

    name = "inception"
    dimension = 2048
    classes = 1008
    precisions = tuple(_PRECISIONS)

    def __init__(self, options: ExtractorOptions) -> None:
        """Load the weights.

        Raises:
            UsageError: unknown preprocessing or precision.
            UserError: the weights are not available, or not the published ones.
        """
        preprocess = options.preprocess or "pytorch-fid"
        if preprocess not in PREPROCESS:
            raise UsageError(f"--preprocess {preprocess}: unknown; choose from {', '.join(PREPROCESS)}")
        super().__init__(options)
        weights = locate_inception_weights(options.weights, allow_other_weights=options.allow_other_weights)
        self._set_protocol(weights.sha256, layer="pool (2048), logits without bias (1008)", preprocess=preprocess)
        self._preprocess = PREPROCESS[preprocess]
        self._dtype = _PRECISIONS[options.precision]
        network = inception_network(weights.path)
        self._class_weights = network.get_parameter("fc.weight").to(self.device)  # (1008, 2048)
        self._trunk = _trunk(network, self._dtype).to(self.device)

    def _default_batch_size(self) -> int:
        # Small batches stay in a CPU's cache: 8 is a third faster than 50.
        return 8 if self.device.type == "cpu" else 128

    def _forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self._preprocess(images).to(self._dtype, memory_format=torch.channels_last)
        pool = self._trunk(x)["pool"]
        return pool, pool @ self._class_weights.T


def inception_network(weights: Path) -> nn.Module:
    """pytorch-fid's `fid_inception_v3()` with the weights of a file, in evaluation mode.

    Raises:
        UserError: the file does not contain these weights.
    """
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        # The network starts from random weights; keep the caller's random state.
        with _replaced_download(state), torch.random.fork_rng(devices=[]):
            network: nn.Module = pytorch_fid.inception.fid_inception_v3()
    except Exception as error:  # files of another kind make the unpickler raise almost anything
        raise UserError(f"{weights}: does not hold the weights of pytorch-fid's Inception network") from error
    return network.eval().requires_grad_(False)


@contextmanager
def _replaced_download(state: dict[str, Tensor]) -> Iterator[None]:
    """Make pytorch-fid, which only loads its own download, use these weights instead."""
    loader = pytorch_fid.inception.load_state_dict_from_url
    pytorch_fid.inception.load_state_dict_from_url = lambda *arguments, **options: state
    try:
        yield
    finally:
        pytorch_fid.inception.load_state_dict_from_url = loader


class _FloatPool(nn.AdaptiveAvgPool2d):
    """Global average pooling in float32, whatever precision the convolutions before it run in."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.float())


def _trunk(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return the network up to its pooled features: batch norms folded into the convolutions, channels last."""
    for block in network.modules():
        # Folding adds no error beyond rounding: folded and unfolded features are equally far from the float64 ones.
        conv, norm = getattr(block, "conv", None), getattr(block, "bn", None)
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            block.conv = fuse_conv_bn_eval(conv, norm)
            block.bn = nn.Identity()
    network.avgpool = _FloatPool((1, 1))
    trunk = create_feature_extractor(network, {"flatten": "pool"}).eval()
    return trunk.to(dtype).to(memory_format=torch.channels_last)
