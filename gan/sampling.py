"""Images from a generator: seeded latents, 8-bit images, grids and walks.

Image number i depends on (seed, i) alone. Its latent comes from a random stream of its own, and the generator always
runs on the same whole chunk of numbers, since kernels may round differently for another batch size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from gan import exchange, ranks
from gan.files import replacing
from gan.health import Diverged
from gan.runtime import SAMPLES, random_stream

CHUNK = 64


def latents(seed: int, indices: Iterable[int], latent_dim: int, truncation: float | None = None) -> Tensor:
    """Latents of the images with these numbers, (N, latent_dim), standard normal.

    Args:
        truncation: cut the normal distribution off at ± this value (the truncation trick of Brock et al. 2019): more
            typical images, less variety.
    """
    rows = []
    for index in indices:
        stream = random_stream(seed, SAMPLES, index)
        z = torch.empty(latent_dim)
        if truncation is None:
            rows.append(z.normal_(generator=stream))
        else:
            rows.append(nn.init.trunc_normal_(z, a=-truncation, b=truncation, generator=stream))
    return torch.stack(rows)


def classes_of(indices: Iterable[int], classes: int, fixed: int | None = None) -> Tensor | None:
    """Labels of the images with these numbers, (N,) int64: the class asked for, else each class in turn."""
    if not classes:
        return None
    return torch.tensor([index % classes if fixed is None else fixed for index in indices])


@torch.no_grad()
def render(generator: nn.Module, z: Tensor, labels: Tensor | None = None) -> Tensor:
    """Images of given latents, uint8 (N, C, H, W) on the CPU, by a generator in evaluation mode, in fp32.

    Latents are padded to whole chunks, so that an image does not depend on how many are asked for together.

    Raises:
        Diverged: the generator gives NaN or infinity.
    """
    device = next(generator.parameters()).device
    training = generator.training
    generator.eval()
    images = []
    for start in range(0, len(z), CHUNK):
        chunk = slice(start, start + CHUNK)
        count = len(z[chunk])
        padded = torch.cat([z[chunk], z.new_zeros(CHUNK - count, z.shape[1])]).to(device)
        y = None
        if labels is not None:
            y = torch.cat([labels[chunk], labels.new_zeros(CHUNK - count)]).to(device)
        made = generator(padded, y)[:count]
        if not bool(torch.isfinite(made).all()):
            raise Diverged("its generator gives NaN or infinity, so there is no image of it")
        images.append(to_uint8(made).cpu())
    generator.train(training)
    return torch.cat(images)


def sample(
    generator: nn.Module,
    count: int,
    seed: int,
    *,
    latent_dim: int,
    classes: int = 0,
    fixed_class: int | None = None,
    truncation: float | None = None,
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Images 0 to count − 1 of a seed, chunk by chunk, as (uint8 (n, C, H, W), labels (n,) or None).

    Several ranks share the making of the chunks out, and all get all images.

    Raises:
        Diverged: the generator gives NaN or infinity.
    """

    def chunk(start: int) -> tuple[Tensor, Tensor | None]:
        # Always the numbers of a whole chunk: those beyond `count` are made and dropped.
        indices = range(start, start + CHUNK)
        labels = classes_of(indices, classes, fixed_class)
        images = render(generator, latents(seed, indices, latent_dim, truncation), labels)
        wanted = min(CHUNK, count - start)
        return images[:wanted], None if labels is None else labels[:wanted]

    for first in range(0, count, CHUNK * ranks.count()):
        mine = first + CHUNK * ranks.rank()
        for made in exchange.gathered(chunk(mine) if mine < count else None):
            if made is not None:
                yield made


def to_uint8(images: Tensor) -> Tensor:
    """Round images from [-1, 1] to the 256 levels of a PNG file: the inverse of k / 127.5 − 1 for every level k."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def walk(keys: Tensor, frames: int, *, closed: bool = False) -> Tensor:
    """Latents on the way from key to key, with `frames` steps for each part of it.

    Spherical interpolation (White 2016): a straight line would pass where a normal distribution has no mass.

    Args:
        keys: (K, latent_dim), at least two.
        closed: come back to the first key; the last frame is then the one before it.

    Returns:
        (frames * K, latent_dim) if closed, else (frames * (K − 1) + 1, latent_dim).
    """
    ends = torch.cat([keys[1:], keys[:1]]) if closed else keys[1:]
    path = [slerp(a, b, step / frames) for a, b in zip(keys, ends, strict=False) for step in range(frames)]
    return torch.stack(path if closed else [*path, keys[-1]])


def slerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """The point at `share` of the arc from a to b, both (latent_dim,)."""
    cosine = torch.dot(a / a.norm(), b / b.norm()).clamp(-1, 1)
    angle = torch.arccos(cosine)
    if angle.sin() < 1e-6:  # the same or opposite direction: the arc is not defined
        return torch.lerp(a, b, share)
    return (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / torch.sin(angle)


def grid(images: Tensor, columns: int) -> Tensor:
    """Images (N, C, H, W) side by side on white, uint8 (3, height, width), a pixel or more between them."""
    from torchvision.utils import make_grid  # here: it takes over a second to import, which --help need not wait for

    return make_grid(images, nrow=columns, padding=padding(images.shape[-1]), pad_value=255)


def padding(side: int) -> int:
    """Pixels around each image of a grid whose images have this side."""
    return max(1, side // 32)


def to_pil(image: Tensor) -> Image.Image:
    """A uint8 image (C, H, W) as Pillow has it: grey for one channel, RGB for three."""
    array = image.permute(1, 2, 0).numpy()  # (C, H, W) -> (H, W, C)
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def save_grid(path: Path, images: Tensor, columns: int) -> None:
    """Write images (N, C, H, W), uint8, as one PNG.

    Raises:
        OSError: it cannot be written; nothing of it is left.
    """
    with replacing(path) as file:
        to_pil(grid(images, columns)).save(file, "PNG")
