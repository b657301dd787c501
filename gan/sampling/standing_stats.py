"""Standing statistics of a generator's batch norms (Brock et al. 2019, BigGAN, arXiv 1809.11096)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gan.sampling.generate import GENERATION_CHUNK, labels_in_turn
from gan.utils.progress import say
from gan.utils.random_streams import STANDING, random_stream


@torch.no_grad()
def use_standing_statistics(
    generator: nn.Module, batches: int, seed: int, *, latent_dim: int, classes: int = 0, truncation: float | None = None
) -> bool:
    """Replace the running statistics of all batch norms by means over new batches of latents.

    Running means and variances of training are averages over past weights, those of an EMA generator also over other
    weights than its own. Here the generator runs on `batches` batches of 64 latents (with a conditional one, each class
    in turn) in fp32, its batch norms in training mode and all other layers in evaluation mode. A batch norm's new
    statistics are the means of its batches' means and (unbiased) variances, as torch's BatchNorm computes with
    `momentum=None`.

    Args:
        seed: the statistics are a function of the seed (and of the truncation), not of the images made with them.
        truncation: of the latents, see `gan.sampling.generate.latents`.

    Returns:
        False for a generator without batch norms that have running statistics, which is unchanged; a message says so.
    """
    norms = [module for module in generator.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not norms:
        say(f"--standing-stats {batches}: this generator has no batch norm; its images are the same without it")
        return False
    device = next(generator.parameters()).device
    with _accumulating(generator, norms):
        for batch in range(batches):
            z = _latents(seed, batch, latent_dim, truncation).to(device)
            first = batch * GENERATION_CHUNK
            labels = labels_in_turn(range(first, first + GENERATION_CHUNK), classes)
            generator(z, None if labels is None else labels.to(device))
    return True


def _latents(seed: int, batch: int, latent_dim: int, truncation: float | None) -> Tensor:
    stream, z = random_stream(seed, STANDING, batch), torch.empty(GENERATION_CHUNK, latent_dim)
    if truncation is None:
        return z.normal_(generator=stream)
    return nn.init.trunc_normal_(z, a=-truncation, b=truncation, generator=stream)


@contextmanager
def _accumulating(generator: nn.Module, norms: list[_BatchNorm]) -> Iterator[None]:
    """Within the block the norms average the statistics of all batches; then all is in evaluation mode."""
    generator.eval()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches
        norm.train()
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        generator.eval()
