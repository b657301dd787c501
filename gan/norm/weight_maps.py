"""Weight maps: functions that parametrize the weight of a layer and return the layer.

A layer is linear, an embedding (classes, features), a convolution or a transposed convolution. A `gain` is a constant
factor c of the normalized weight, or "learned": a scalar parameter of the layer, initially 1.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils import parametrize

from .bidirectional import BidirectionalSpectralNorm
from .convolution_norm import ConvolutionSpectralNorm, settle_input_size
from .layer_types import LAYERS, convolution, output_dim
from .orthogonalization import Orthogonal
from .spectral import Gain, SpectralNorm
from .weight_normalization import WeightNorm


def plain(layer: nn.Module) -> nn.Module:
    """No weight map: W as it is."""
    return layer


def weight_norm(layer: nn.Module) -> nn.Module:
    """W = g v / ‖v‖ per output channel (Salimans & Kingma 2016, arXiv 1602.07868, equation 2)."""
    parametrize.register_parametrization(layer, "weight", WeightNorm(output_dim(layer)))
    return layer


def spectral_norm(layer: nn.Module, gain: Gain = 1.0) -> nn.Module:
    """c W / σ(W), by power iteration (Miyato et al. 2018, arXiv 1802.05957).

    Constant gains are those of Lin et al. 2021 (arXiv 2009.02773), a learned one is in appendix E of the former.
    """
    norm = SpectralNorm(_weight(layer), output_dim(layer), autocast=isinstance(layer, LAYERS), gain=gain)
    parametrize.register_parametrization(layer, "weight", norm)
    return layer


def bidirectional_spectral_norm(layer: nn.Module, gain: Gain = 1.0) -> nn.Module:
    """c W / ½ (σ(W as C_out × rest) + σ(W as C_in × rest)) (Lin et al. 2021, arXiv 2009.02773).

    For a linear layer or an embedding both σ are equal, and it is `spectral_norm`.
    """
    if isinstance(layer, (nn.Linear, nn.Embedding)):
        return spectral_norm(layer, gain)
    norm = BidirectionalSpectralNorm(convolution(layer).weight, gain, autocast=True)
    parametrize.register_parametrization(layer, "weight", norm)
    return layer


def convolution_spectral_norm(layer: nn.Module, gain: Gain = 1.0) -> nn.Module:
    """c W / ‖conv_W‖, the largest singular value of the convolution as a linear map of whole inputs.

    Gouk et al. 2018 (arXiv 1804.04368) and Farnia et al. 2019 (arXiv 1811.07457) compute it in this way, by power
    iteration through the convolution and its transpose. It depends on the input size, which the layer learns when it is
    first called: see `settle_input_sizes`. For a linear layer or an embedding it is `spectral_norm`.

    Raises:
        ValueError: the layer's padding is not by zeros, or not the same on both sides.
    """
    if isinstance(layer, (nn.Linear, nn.Embedding)):
        return spectral_norm(layer, gain)
    norm = ConvolutionSpectralNorm(convolution(layer), gain, autocast=True)
    parametrize.register_parametrization(layer, "weight", norm, unsafe=True)  # else it computes the weight here
    layer.register_forward_pre_hook(settle_input_size, with_kwargs=True)
    return layer


def orthogonal(layer: nn.Module) -> nn.Module:
    """The orthogonal factor of W, flattened to C_out × rest: orthonormal rows, or columns if C_out ≥ rest.

    It is that of W's QR decomposition, with a positive diagonal of R; see `Orthogonal`.
    """
    norm = Orthogonal(output_dim(layer), autocast=isinstance(layer, LAYERS))
    parametrize.register_parametrization(layer, "weight", norm)
    return layer


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight
