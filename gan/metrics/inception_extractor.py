"""The Inception network of FID: features and logits in one forward pass"""

from pathlib import Path
from unittest.mock import patch

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
from gan.utils.random_streams import seeded_globally

_PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


class InceptionExtractor(BatchedExtractor):
    """pytorch-fid's network: 2048 pooled features, and the 1008 logits without bias that the Inception score uses."""

    name = "inception"
    dimension = 2048
    classes = 1008
    precisions = tuple(_PRECISIONS)
    default_batch = (8, 128)  # small batches stay in a CPU's cache: 8 is a third faster than 50

    def __init__(self, options: ExtractorOptions) -> None:
        """Load the weights; raise a UserError if they are not available, or not the published ones."""
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

    def _forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self._preprocess(images).to(self._dtype, memory_format=torch.channels_last)
        pool = self._trunk(x)["pool"]
        return pool, pool @ self._class_weights.T


def inception_network(weights: Path) -> nn.Module:
    """pytorch-fid's `fid_inception_v3()` in evaluation mode; a UserError if the file does not contain its weights."""
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        # pytorch-fid always downloads its weights. The network starts from random ones: keep the caller's random state.
        download = patch.object(pytorch_fid.inception, "load_state_dict_from_url", lambda *args, **options: state)
        with download, seeded_globally(0):
            network: nn.Module = pytorch_fid.inception.fid_inception_v3()
    except Exception as error:  # files of another kind make the unpickler raise almost anything
        raise UserError(f"{weights}: does not hold the weights of pytorch-fid's Inception network") from error
    return network.eval().requires_grad_(False)


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
