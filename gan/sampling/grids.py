"""Image grids"""

from pathlib import Path

from torch import Tensor

from gan.data.png_zip import to_pil
from gan.utils.files import atomic_write
from gan.utils.progress import working


def image_grid(images: Tensor, columns: int) -> Tensor:
    """Arrange images (N, C, H, W) on white, at least one pixel apart; returns uint8 (3, height, width)."""
    from torchvision.utils import make_grid  # takes over a second to import, which --help need not wait for

    return make_grid(images, nrow=columns, padding=grid_padding(images.shape[-1]), pad_value=255)


def grid_padding(side: int) -> int:
    """Pixels around each image of a grid of images of this side."""
    return max(1, side // 32)


def save_grid(path: Path, images: Tensor, columns: int) -> None:
    """Write a grid of images uint8 (N, C, H, W) as a PNG, atomically."""
    with working(f"writing {path}"), atomic_write(path) as file:
        to_pil(image_grid(images, columns)).save(file, "PNG")
