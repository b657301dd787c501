"""Normalizations of a network's layers: spectral normalization, mean spectral normalization, and what they are held to.

This folder imports torch alone and can be used in any other project:

    conv = NORMS["msn"].hidden(nn.Conv2d(64, 128, 3, padding=1))   # a hidden layer
    last = NORMS["msn"].output(nn.Linear(8192, 1))                 # the layer that gives the network's answer

    power_iterate(network)      # once before each training update of the network
    small = fold(network)       # after training: plain layers, nothing left to compute

Sources: SN is Miyato et al. 2018 (arXiv 1802.05957), algorithm 1; MSN is Subramanian & Chong 2019 (arXiv 1907.04003),
section 3. Neither equation is restated in a changed form here; `docs/method.md` says where the published code differs.
"""

from __future__ import annotations

from .centering import Centering
from .folding import fold
from .layers import NORMS, Norm, Normalized
from .spectral import SpectralNorm, power_iterate, sigmas, spectral_norms

__all__ = [
    "NORMS",
    "Centering",
    "Norm",
    "Normalized",
    "SpectralNorm",
    "fold",
    "power_iterate",
    "sigmas",
    "spectral_norms",
]
