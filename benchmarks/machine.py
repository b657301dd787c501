"""What a machine can do, and what a recipe asks of it: for `benchmarks/train_speed.py`."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from gan.config import TrainConfig
from gan.machine import timed
from gan.models import build_discriminator, build_generator

PRODUCT = {"cpu": 4096, "cuda": 8192}  # side of the matrices whose product is the machine's rate
PRODUCT_REPEATS = 3


def product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large matrix product, the best of several."""
    size = PRODUCT[device.type]
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    product = torch.mm(a, b)
    best = min(timed(lambda: torch.mm(a, b, out=product), device) for _ in range(PRODUCT_REPEATS))
    return 2 * size**3 / best


def model_flop(config: TrainConfig, batch: int = 2) -> float:
    """FLOP of the two networks for each real image that D is shown: a multiplication and an addition are two.

    Where a step has one update of D, its fake images serve the update of G too, and are counted once. The norm's own
    work is not counted, so a recipe has one number for all norms.
    """
    config = config.replace({"norm": "none"})
    generator, discriminator = build_generator(config), build_discriminator(config)
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
