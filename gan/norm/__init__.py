"""Layer normalizations: spectral normalization (SN), mean spectral normalization (MSN), and those compared with them.

This package imports only torch and can be copied into other projects:

    conv = NORMS["msn"].hidden(nn.Conv2d(64, 128, 3, padding=1))   # a hidden layer
    last = NORMS["msn"].output(nn.Linear(8192, 1))                 # the output layer

    power_iterate(network)      # once before each training update of the network
    folded = fold(network)      # after training: plain layers without normalizations

Sources: SN is Miyato et al. 2018 (arXiv 1802.05957), algorithm 1; MSN is Subramanian & Chong 2019 (arXiv 1907.04003),
section 3; gradient normalization is Wu et al. 2021 (arXiv 2109.02235). The equations are implemented as published;
`docs/method.md` lists the differences of the published code.
"""

from __future__ import annotations

from .bidirectional import BidirectionalSpectralNorm
from .centering import Centering
from .convolution_norm import ConvolutionSpectralNorm, settle_input_sizes
from .feature_norms import Normalized
from .folding import fold
from .gradient import gradient_normalized
from .norms import CRITICS, FEATURE_NORMS, NORMS, WEIGHT_MAPS, Norm, compose
from .orthogonalization import Orthogonal
from .power_iteration import power_iterate, sigmas, spectral_norms
from .running_statistics import has_running_statistics, retake_running_statistics
from .spectral import SpectralNorm
from .weight_maps import (
    bidirectional_spectral_norm,
    convolution_spectral_norm,
    orthogonal,
    spectral_norm,
    weight_norm,
)

__all__ = [
    "CRITICS",
    "FEATURE_NORMS",
    "NORMS",
    "WEIGHT_MAPS",
    "BidirectionalSpectralNorm",
    "Centering",
    "ConvolutionSpectralNorm",
    "Norm",
    "Normalized",
    "Orthogonal",
    "SpectralNorm",
    "bidirectional_spectral_norm",
    "compose",
    "convolution_spectral_norm",
    "fold",
    "gradient_normalized",
    "has_running_statistics",
    "orthogonal",
    "power_iterate",
    "retake_running_statistics",
    "settle_input_sizes",
    "sigmas",
    "spectral_norm",
    "spectral_norms",
    "weight_norm",
]
