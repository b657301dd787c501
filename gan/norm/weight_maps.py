"""Weight maps: functions that parametrize the weight of a layer and return the layer."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from .layer_types import LAYERS, output_dim
from .spectral import SpectralNorm


def plain(layer: nn.Module) -> nn.Module:
    """No weight map: W as it is."""
    return layer


def weight_norm(layer: nn.Module) -> nn.Module:
    """W = g v / ‖v‖ per output channel (Salimans & Kingma 2016, arXiv 1602.07868, equation 2)."""
    return parametrizations.weight_norm(layer, dim=output_dim(layer))


def spectral_norm(layer: nn.Module) -> nn.Module:
    """W / σ(W), by power iteration (Miyato et al. 2018, arXiv 1802.05957)."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    norm = SpectralNorm(weight, output_dim(layer), autocast=isinstance(layer, LAYERS))
    parametrize.register_parametrization(layer, "weight", norm)
    return layer
