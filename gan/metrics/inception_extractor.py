"""The Inception network that FID is defined on, its features and logits in one pass."""

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
from gan.metrics.batched_inference import batched_features
from gan.metrics.extractor import ExtractorOptions
from gan.metrics.inception_weights import locate_inception_weights
from gan.metrics.preprocess import PREPROCESS
from gan.metrics.protocol import Protocol, feature_versions

_PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


class InceptionExtractor:
    """pytorch-fid's network: 2048 pooled features, and the 1008 logits without their bias that the score is made of."""

    name = "inception"
    dimension = 2048
    classes = 1008

    def __init__(self, options: ExtractorOptions) -> None:
        """Load the weights.

        Raises:
            UsageError: no such preprocessing or precision.
            UserError: the weights cannot be had, or are not the right ones.
        """
        _check(options)
        found = locate_inception_weights(options.weights, allow_other_weights=options.allow_other_weights)
        self.hash = found.sha256
        # Small batches stay in a CPU's cache: 8 are a third faster than 50 there.
        self.batch_size = options.batch_size or (8 if options.device.type == "cpu" else 128)
        self.protocol = Protocol(
            extractor=self.name,
            weights=self.hash,
            layer="pool (2048), logits without bias (1008)",
            preprocess=options.preprocess,
            precision=options.precision,
            batch_size=self.batch_size,
            device=options.device.type,
            versions=feature_versions(),
        )
        self._device = options.device
        self._preprocess = PREPROCESS[options.preprocess]
        self._dtype = _PRECISIONS[options.precision]
        network = inception_network(found.path)
        self._class_weights = network.get_parameter("fc.weight").to(self._device)  # (1008, 2048)
        self._trunk = _trunk(network, self._dtype).to(self._device)

    @torch.inference_mode()
    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features float32 (N, 2048), 0 or more, and logits float32 (N, 1008), on the CPU.

        Args:
            images: uint8 (N, 3, H, W), of any number and size.
        """
        return batched_features(images, self.batch_size, self._device, self._look)

    def _look(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        x = self._preprocess(batch).to(self._dtype, memory_format=torch.channels_last)
        pool = self._trunk(x)["pool"]
        return pool, pool @ self._class_weights.T


def inception_network(weights: Path) -> nn.Module:
    """pytorch-fid's `fid_inception_v3()` with the weights of a file, in evaluation mode.

    Raises:
        UserError: the file holds something else.
    """
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        # The network is filled with random numbers first; whoever is training must not notice.
        with _weights_of_pytorch_fid(state), torch.random.fork_rng(devices=[]):
            network: nn.Module = pytorch_fid.inception.fid_inception_v3()
    except Exception as error:  # files of another kind make the unpickler raise almost anything
        raise UserError(f"{weights}: does not hold the weights of pytorch-fid's Inception network") from error
    return network.eval().requires_grad_(False)


def _check(options: ExtractorOptions) -> None:
    for flag, value, choices in (
        ("--preprocess", options.preprocess, PREPROCESS),
        ("--precision", options.precision, _PRECISIONS),
    ):
        if value not in choices:
            raise UsageError(f"{flag} {value}: no such choice for Inception; there are {', '.join(choices)}")


@contextmanager
def _weights_of_pytorch_fid(state: dict[str, Tensor]) -> Iterator[None]:
    """Have pytorch-fid, which knows its own download only, take these weights instead."""
    loader = pytorch_fid.inception.load_state_dict_from_url
    pytorch_fid.inception.load_state_dict_from_url = lambda *arguments, **options: state
    try:
        yield
    finally:
        pytorch_fid.inception.load_state_dict_from_url = loader


class _FloatPool(nn.AdaptiveAvgPool2d):
    """The mean over positions in float32, whatever the convolutions before it run in."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.float())


def _trunk(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The network up to its pooled features, batch norms folded into the convolutions, channels last."""
    for block in network.modules():
        # Folding stays within the rounding of the unfolded network: either is as far from the float64 features.
        conv, norm = getattr(block, "conv", None), getattr(block, "bn", None)
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            block.conv = fuse_conv_bn_eval(conv, norm)
            block.bn = nn.Identity()
    network.avgpool = _FloatPool((1, 1))
    trunk = create_feature_extractor(network, {"flatten": "pool"}).eval()
    return trunk.to(dtype).to(memory_format=torch.channels_last)
