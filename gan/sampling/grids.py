"""Image grids, and images as Pillow has them"""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from torch import Tensor

from gan.utils.files import atomic_write


def image_grid(images: Tensor, columns: int) -> Tensor:
    """Images (N, C, H, W) side by side on white, uint8 (3, height, width), a pixel or more between them."""
    from torchvision.utils import make_grid  # here: it takes over a second to import, which --help need not wait for

    return make_grid(images, nrow=columns, padding=grid_padding(images.shape[-1]), pad_value=255)


def grid_padding(side: int) -> int:
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
    with atomic_write(path) as file:
        to_pil(image_grid(images, columns)).save(file, "PNG")
