"""Image grids"""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
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


def save_class_grid(path: Path, images: Tensor, labels: Tensor, classes: Sequence[str], columns: int) -> None:
    """Write a grid with the rows of each class under each other, and the name of the class to their left.

    Args:
        images: uint8 (N, C, H, W).
        labels: class numbers, int64 (N,).
        columns: images in a row; a class with more has several rows.
    """
    blank = torch.full_like(images[:1], 255)
    rows, names = [], []
    for label in labels.unique().tolist():
        own = images[labels == label]
        padding = blank.expand(-len(own) % columns, -1, -1, -1)
        rows.append(torch.cat([own, padding]))
        names += [classes[label]] + [""] * (len(rows[-1]) // columns - 1)
    grid = to_pil(image_grid(torch.cat(rows), columns))
    with working(f"writing {path}"), atomic_write(path) as file:
        _with_row_names(grid, names, images.shape[-2]).save(file, "PNG")


def _with_row_names(grid: Image.Image, names: Sequence[str], side: int) -> Image.Image:
    """The grid with a name to the left of each row of images of this height."""
    font = ImageFont.load_default(size=max(10, min(side // 3, 24)))
    margin = 12 + max(int(font.getlength(name)) for name in names)
    image = Image.new("RGB", (margin + grid.width, grid.height), "white")
    image.paste(grid, (margin, 0))
    draw = ImageDraw.Draw(image)
    step = side + grid_padding(side)
    for row, name in enumerate(names):
        draw.text((6, row * step + grid_padding(side) + side / 2), name, fill="black", font=font, anchor="lm")
    return image
