"""The augmentation pipeline of StyleGAN2-ADA: geometry, colours and cutout, each with probability p.

Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", arXiv 2006.06676, with the strengths
of appendix B and of their published code. The caller passes the uniform random numbers, so that a step can be repeated.
All geometric parts are combined into one affine matrix per image, all colour parts into one colour matrix.

The paper's image filtering and noise are left out, and cutout, which its default ("bgc") leaves out, is applied. Two
more things differ from the published code. Images that are only mirrored, turned by quarters or shifted by whole
pixels are copied exactly, as the paper's "pixel blitting" says, where the code filters them. Reflections repeat without
end, where the code fills with zeros what is more than one image's width away.
"""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from gan.nn.affine_warp import copy_pixels, warp

_SHIFT = 1 / 8  # largest shift by whole pixels, and standard deviation of other shifts, as a fraction of a side
_SCALE = 0.2  # standard deviation of log2 of isotropic and of anisotropic scaling
_BRIGHTNESS = 0.2  # standard deviation
_CONTRAST = 0.5  # standard deviation of log2
_SATURATION = 1.0  # standard deviation of log2
_HOLE = 1 / 2  # side of the rectangle that is cut out, as a fraction of the side of an image

COLUMNS = {
    "x_flip": 2,
    "rotate90": 2,
    "integer_shift": 3,
    "scale": 2,
    "rotate": 2,  # before anisotropic scaling
    "aniso_scale": 2,
    "rotate_after": 2,  # after it
    "fractional_shift": 3,
    "brightness": 2,
    "contrast": 2,
    "luma_flip": 2,
    "hue": 2,
    "saturation": 2,
    "cutout": 3,
}
"""Counts of uniform numbers of each part, in order: the first decides whether the part applies, the others how."""

UNIFORMS = sum(COLUMNS.values())
"""Count of uniform numbers per image."""


@dataclass(frozen=True)
class Rates:
    """Probability of each part as a multiple of p, in [0, 1]."""

    x_flip: float = 1.0
    """Mirroring, by chance of one half."""
    rotate90: float = 1.0
    """Rotation by 0, 90, 180 or 270 degrees."""
    integer_shift: float = 1.0
    """Shift by whole pixels, up to an eighth of a side."""
    scale: float = 1.0
    """Isotropic scaling."""
    rotate: float = 1.0
    """Rotation by any angle, before or after anisotropic scaling."""
    aniso_scale: float = 1.0
    """Anisotropic scaling: wider and less high, or the reverse."""
    fractional_shift: float = 1.0
    """Shift by fractions of pixels."""
    brightness: float = 1.0
    contrast: float = 1.0
    luma_flip: float = 1.0
    """Reflection of colours at the plane through black, across the grey axis; by chance of one half."""
    hue: float = 1.0
    """Rotation of colours about the grey axis."""
    saturation: float = 1.0
    cutout: float = 1.0
    """Zeroing a rectangle of half of each side."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not 0 <= (rate := getattr(self, field.name)) <= 1:
                raise ValueError(f"the rate {field.name} is {rate}; it must be in [0, 1]")


ALL = Rates()
R3GAN = Rates(brightness=0.5, contrast=0.5, luma_flip=0.5, hue=0.5, saturation=0.5)
"""The rates of R3GAN (arXiv 2501.05441) in its published code."""


def ada(images: Tensor, uniform: Tensor, p: float | Tensor = 1.0, rates: Rates = ALL) -> Tensor:
    """Augment images by the pipeline of StyleGAN2-ADA.

    Args:
        images: (N, C, H, W) in [-1, 1], with C = 1 or 3 and sides of at least 2. Grey images have no hue or saturation.
        uniform: (N, `UNIFORMS`) in [0, 1).
        p: probability of each part, in [0, 1]; a tensor without dimensions on the device of the images can change
            without a new CUDA graph.
        rates: factors of p.

    Returns:
        (N, C, H, W), not clamped to [-1, 1], of the type of `images`, differentiable twice with respect to them. Images
        that no part changes, as all with p = 0, are returned bit for bit.

    Raises:
        ValueError: another number of channels, or a number p outside [0, 1].
    """
    if images.shape[1] not in (1, 3):
        raise ValueError(f"ada works on images with 1 or 3 channels, not {images.shape[1]}")
    if not isinstance(p, Tensor) and not 0 <= p <= 1:
        raise ValueError(f"p is {p}; it must be in [0, 1]")
    dtype = images.dtype if images.dtype == torch.float64 else torch.float32
    draws = _Draws(uniform.to(dtype), p, rates)
    with torch.autocast(images.device.type, enabled=False):
        changed = _transform(images.to(dtype), draws)
        changed = _recolor(changed, draws)
        return _cut_out(changed, draws).to(images.dtype)


def ada_r3gan(images: Tensor, uniform: Tensor, p: float | Tensor = 1.0) -> Tensor:
    """`ada` at the rates of R3GAN: each colour part with half of the probability p."""
    return ada(images, uniform, p, R3GAN)


# See `gan.nn.diff_augment.apply_augmentations`.
ada.takes_probability = True  # type: ignore[attr-defined]
ada_r3gan.takes_probability = True  # type: ignore[attr-defined]


class _Draws:
    """Random parameters of the parts for each image, from its uniform numbers: (N,), neutral where a part is off."""

    def __init__(self, uniform: Tensor, p: float | Tensor, rates: Rates) -> None:
        # At 0 or 1 the normal numbers would be infinite.
        uniform = uniform.clamp(2**-25, 1 - 2**-24)
        self._numbers = dict(zip(COLUMNS, uniform.split(list(COLUMNS.values()), dim=1), strict=True))
        chance = p.to(uniform) if isinstance(p, Tensor) else uniform.new_full((), p)
        thresholds = {name: getattr(rates, name) * chance for name in COLUMNS if name != "rotate_after"}
        # Two rotations, of which one or both happen with the probability of "rotate": P(either) = 1 - (1 - x)².
        thresholds["rotate"] = thresholds["rotate_after"] = 1 - (1 - thresholds["rotate"]).sqrt()
        # The chance 0 must switch off, also where a uniform number is 0.
        self.on = {name: self._numbers[name][:, 0] < threshold for name, threshold in thresholds.items()}

    def values(self, name: str, index: int = 0, *, neutral: float = 0.0) -> Tensor:
        """Uniform numbers in (0, 1)."""
        return self._numbers[name][:, 1 + index].masked_fill(~self.on[name], neutral)

    def integers(self, name: str, count: int) -> Tensor:
        """0 to `count` - 1 alike; 0 where off."""
        return (self.values(name) * count).floor()

    def angles(self, name: str) -> Tensor:
        """Angles in (-π, π); 0 where off."""
        return (self.values(name, neutral=0.5) * 2 - 1) * math.pi

    def normals(self, name: str, index: int = 0) -> Tensor:
        """Standard normal numbers by the inverse of their distribution; 0 where off."""
        return math.sqrt(2) * torch.erfinv(self.values(name, index, neutral=0.5) * 2 - 1)


def _transform(images: Tensor, draws: _Draws) -> Tensor:
    """Apply all geometric parts as one affine transform."""
    height, width = images.shape[2:]
    # Matrices that map positions in the result to the source, so the first part stands at the left.
    turns = draws.integers("rotate90", 4) * (math.pi / 2)
    flip = draws.integers("x_flip", 2)
    blit = _product(
        _scaling(1 - 2 * flip, torch.ones_like(flip)),
        _rotation(turns.cos().round(), turns.sin().round()),
        _translation(
            *(
                (-(draws.values("integer_shift", i, neutral=0.5) * 2 - 1) * _SHIFT * side).round()
                for i, side in enumerate((width, height))
            )
        ),
    )
    scale, aniso = (torch.exp2(-_SCALE * draws.normals(name)) for name in ("scale", "aniso_scale"))
    first, second = draws.angles("rotate"), draws.angles("rotate_after")
    general = _product(
        _scaling(scale, scale),
        _rotation(first.cos(), first.sin()),
        _scaling(aniso, 1 / aniso),
        _rotation(second.cos(), second.sin()),
        _translation(
            *(-_SHIFT * side * draws.normals("fractional_shift", i) for i, side in enumerate((width, height)))
        ),
    )
    names = ("scale", "rotate", "aniso_scale", "rotate_after", "fractional_shift")
    warped = torch.stack([draws.on[name] for name in names]).any(0)
    return torch.where(warped[:, None, None, None], warp(images, _product(blit, general)), copy_pixels(images, blit))


def _recolor(images: Tensor, draws: _Draws) -> Tensor:
    """Apply all colour parts as one matrix and one addend.

    All parts treat the grey axis v = (1, 1, 1)/√3 and the plane across it apart, so that their product does. A colour
    x becomes l (vvᵀx + b) + k R(θ)(I - vvᵀ)x with brightness b, contrast c, luma flip i in {0, 1}, saturation s,
    l = (1 - 2i) c, k = s c, and R(θ) the rotation about v. This is a circulant matrix: its first row is enough.
    """
    contrast = torch.exp2(_CONTRAST * draws.normals("contrast"))
    grey = contrast * (1 - 2 * draws.integers("luma_flip", 2))
    addend = _per_image(grey * _BRIGHTNESS * draws.normals("brightness"))
    if images.shape[1] == 1:
        return images * _per_image(grey) + addend
    across = contrast * torch.exp2(_SATURATION * draws.normals("saturation"))
    angle = draws.angles("hue")
    along, sideways = across * angle.cos(), math.sqrt(3) * across * angle.sin()
    row = ((grey + 2 * along) / 3, (grey - along - sideways) / 3, (grey - along + sideways) / 3)
    mixed = sum((_per_image(factor) * images.roll(-i, 1) for i, factor in enumerate(row)), addend)
    # The factors of images without a colour part are 1 and 0 up to rounding.
    names = ("brightness", "contrast", "luma_flip", "hue", "saturation")
    return torch.where(_per_image(torch.stack([draws.on[name] for name in names]).any(0)), mixed, images)


def _cut_out(images: Tensor, draws: _Draws) -> Tensor:
    """Zero a rectangle of half of each side whose centre may be anywhere in the image."""
    inside = draws.on["cutout"][:, None, None]
    for axis, side in enumerate((images.shape[3], images.shape[2])):
        positions = (torch.arange(side, device=images.device, dtype=images.dtype) + 0.5) / side
        near = (positions - draws.values("cutout", axis)[:, None]).abs() < _HOLE / 2
        inside = inside & (near[:, None, :] if axis == 0 else near[:, :, None])
    return images.masked_fill(inside[:, None], 0.0)


def _per_image(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def _translation(x: Tensor, y: Tensor) -> Tensor:
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    return _matrix(one, zero, x, zero, one, y)


def _scaling(x: Tensor, y: Tensor) -> Tensor:
    zero = torch.zeros_like(x)
    return _matrix(x, zero, zero, zero, y, zero)


def _rotation(cosine: Tensor, sine: Tensor) -> Tensor:
    zero = torch.zeros_like(cosine)
    return _matrix(cosine, -sine, zero, sine, cosine, zero)


def _matrix(*entries: Tensor) -> Tensor:
    """Homogeneous matrices (N, 3, 3) from their first two rows, entry by entry."""
    zero = torch.zeros_like(entries[0])
    return torch.stack([*entries, zero, zero, torch.ones_like(zero)], dim=1).view(-1, 3, 3)


def _product(first: Tensor, *others: Tensor) -> Tensor:
    """Product of matrices (N, 3, 3), by sums: TF32 would round a matrix product's positions to a thousandth."""
    for other in others:
        first = (first[:, :, :, None] * other[:, None]).sum(2)
    return first
