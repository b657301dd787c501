"""Image sets and generators as image streams"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from gan.data.image_set import ImageSet
from gan.errors import Diverged
from gan.metrics.feature_pass import ImageStream
from gan.sampling import generate
from gan.utils.random_streams import PART, random_stream

READ_CHUNK = 256  # images read from a set at a time

_GRID_IMAGES = 64


def image_set_stream(images: ImageSet, name: str, split: str | None = None) -> ImageStream:
    """All images of a set, in order."""
    return indexed_stream(images.fetch, torch.arange(len(images)), name, split)


def indexed_stream(
    fetch: Callable[[Tensor], Tensor], indices: Tensor, name: str, split: str | None = None
) -> ImageStream:
    """The images with these indices."""
    return ImageStream(name, len(indices), lambda: map(fetch, indices.split(READ_CHUNK)), split)


def random_part(size: int, count: int, seed: int) -> Tensor:
    """Ascending indices of `count` of `size` images, drawn at random, since sets are often sorted by class."""
    if count == size:
        return torch.arange(size)
    return torch.randperm(size, generator=random_stream(seed, PART))[:count].sort().values


def generator_stream(
    generator: nn.Module, count: int, seed: int, *, name: str, latent_dim: int, classes: int
) -> ImageStream:
    """The first `count` images of a generator for a seed, the same as `msn-gan sample` writes.

    Raises (while it is read):
        Diverged: the generator outputs NaN or infinity.
    """

    def batches() -> Iterator[Tensor]:
        try:
            for images, _ in generate.sample_images(generator, count, seed, latent_dim=latent_dim, classes=classes):
                yield images
        except Diverged as error:
            raise Diverged(f"{name}: {error}") from error

    return ImageStream(name, count, batches)


def grid_indices(count: int, *, spread: bool) -> Tensor:
    """Indices of the images in a grid: the first ones, or spread over the set, which may be sorted by class."""
    shown = min(_GRID_IMAGES, count)
    return torch.linspace(0, count - 1, shown).long() if spread else torch.arange(shown)
