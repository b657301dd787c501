"""Generate 8-bit images from seeded latents.

Image i depends on (seed, i) alone. Its latent comes from a random stream of its own, and the generator always runs
on the same whole chunk of indices, since kernels may round differently for another batch size.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan.distributed import collectives, process_group
from gan.errors import Diverged
from gan.utils.random_streams import SAMPLES, random_stream

GENERATION_CHUNK = 64


def latents(seed: int, indices: Iterable[int], latent_dim: int, truncation: float | None = None) -> Tensor:
    """Latents (N, latent_dim) of the images with these indices, standard normal.

    Args:
        truncation: truncate the normal distribution at ± this value (truncation trick, Brock et al. 2019): more typical
            images, less variety.
    """
    streams = (random_stream(seed, SAMPLES, index) for index in indices)
    return torch.stack([draw_latents((latent_dim,), stream, truncation) for stream in streams])


def draw_latents(shape: tuple[int, ...], stream: torch.Generator, truncation: float | None = None) -> Tensor:
    """Draw latents of a shape from a random stream; `truncation` as in `latents`."""
    z = torch.empty(shape)
    if truncation is None:
        return z.normal_(generator=stream)
    return nn.init.trunc_normal_(z, a=-truncation, b=truncation, generator=stream)


def labels_in_turn(indices: Iterable[int], classes: int, fixed: int | None = None) -> Tensor | None:
    """Labels int64 (N,) of the images with these indices: the fixed class or each in turn; None without classes."""
    if not classes:
        return None
    return torch.tensor([index % classes if fixed is None else fixed for index in indices])


@torch.no_grad()
def render(generator: nn.Module, z: Tensor, labels: Tensor | None = None) -> Tensor:
    """Generate images uint8 (N, C, H, W) on the CPU from latents, in evaluation mode and fp32.

    Latents are padded to whole chunks, so that an image does not depend on the number of latents.

    Raises:
        Diverged: the generator outputs NaN or infinity.
    """
    device = next(generator.parameters()).device
    training = generator.training
    generator.eval()
    images = []
    for start in range(0, len(z), GENERATION_CHUNK):
        chunk = slice(start, start + GENERATION_CHUNK)
        count = len(z[chunk])
        padded = F.pad(z[chunk], (0, 0, 0, GENERATION_CHUNK - count)).to(device)
        y = None if labels is None else F.pad(labels[chunk], (0, GENERATION_CHUNK - count)).to(device)
        output = generator(padded, y)[:count]
        if not bool(torch.isfinite(output).all()):
            raise Diverged("its generator outputs NaN or infinity")
        images.append(to_uint8(output).cpu())
    generator.train(training)
    return torch.cat(images)


def sample_images(
    generator: nn.Module,
    count: int,
    seed: int,
    *,
    latent_dim: int,
    classes: int = 0,
    fixed_class: int | None = None,
    truncation: float | None = None,
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Generate images 0 to count − 1 of a seed in chunks: (uint8 (n, C, H, W), labels (n,) or None).

    Several ranks share the chunks, and every rank gets all images.

    Raises:
        Diverged: the generator outputs NaN or infinity.
    """

    def chunk(start: int) -> tuple[Tensor, Tensor | None]:
        # Always a whole chunk: images beyond `count` are generated and dropped.
        indices = range(start, start + GENERATION_CHUNK)
        labels = labels_in_turn(indices, classes, fixed_class)
        images = render(generator, latents(seed, indices, latent_dim, truncation), labels)
        size = min(GENERATION_CHUNK, count - start)
        return images[:size], None if labels is None else labels[:size]

    for first in range(0, count, GENERATION_CHUNK * process_group.world_size()):
        start = first + GENERATION_CHUNK * process_group.rank()
        for images in collectives.all_gather(chunk(start) if start < count else None):
            if images is not None:
                yield images


def to_uint8(images: Tensor) -> Tensor:
    """Round images from [-1, 1] to the 256 levels of a PNG file: the inverse of k / 127.5 − 1 for every level k."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
