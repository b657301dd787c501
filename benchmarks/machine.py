"""Matrix-product rate of the machine and FLOP of a training, for `benchmarks/train_speed.py`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gan.config.train_config import TrainConfig
from gan.models import build_discriminator, build_generator
from gan.norm import NORMS
from gan.utils.environment import time_work

PRODUCT = {"cpu": 4096, "cuda": 8192}  # largest side of the matrices
PRODUCT_REPEATS = 3
_FIRST_SIDE, _MAX_SECONDS = 256, 1.0  # the side doubles while a product of the next side takes less than this


def product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return the FLOP/s of a large matrix product, the best of several.

    The matrices are smaller than `PRODUCT` where a product would take longer than a second: a processor without
    instructions for a type may need minutes for what others do in a tenth of a second.
    """
    side = _FIRST_SIDE
    seconds = _product_seconds(side, device, dtype)
    while side < PRODUCT[device.type] and 8 * seconds < _MAX_SECONDS:
        side *= 2
        seconds = _product_seconds(side, device, dtype)
    return 2 * side**3 / seconds


def _product_seconds(side: int, device: torch.device, dtype: torch.dtype) -> float:
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    product = torch.mm(a, b)
    return min(time_work(lambda: torch.mm(a, b, out=product), device) for _ in range(PRODUCT_REPEATS))


def our_networks(config: TrainConfig) -> tuple[nn.Module, nn.Module]:
    """Build the generator and discriminator of a recipe, as this program's trainer does."""
    return build_generator(config), build_discriminator(config)


def model_flop(
    config: TrainConfig, build: Callable[[TrainConfig], tuple[nn.Module, nn.Module]] = our_networks
) -> float:
    """Count the FLOP of both networks per real image shown to D: a multiplication and an addition count as two.

    If a step has one update of D, its generated images are also used for the update of G and counted once. The work of
    the norm itself is not counted: norms differ only where they prevent layers from being merged
    (`gan.nn.convolutions`).

    Args:
        build: builds the program's generator and discriminator.
    """
    config = config.replace({"norm": "none" if NORMS[config.norm].pools else "bn"})
    generator, discriminator = build(config)
    batch = 2
    real = torch.zeros(batch, config.channels, config.resolution, config.resolution)
    z = torch.randn(batch, config.latent_dim)
    shared = config.n_dis == 1
    with FlopCounterMode(display=False) as d_update:
        with torch.set_grad_enabled(shared):
            fake = generator(z)
        (discriminator(real) + discriminator(fake.detach())).sum().backward()
    discriminator.requires_grad_(False)
    with FlopCounterMode(display=False) as g_update:
        discriminator(fake if shared else generator(z)).sum().backward()
    flop = d_update.get_total_flops() * config.n_dis + g_update.get_total_flops()
    return flop / (batch * config.n_dis)
