"""The augmentations of StyleGAN2-ADA against closed forms, one at a time, and how often each applies."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial.transform import Rotation

from gan.nn.ada import ALL, COLUMNS, R3GAN, UNIFORMS, Rates, ada
from gan.nn.affine_warp import warp

PARTS = tuple(field.name for field in fields(Rates))
COLOURS = ("brightness", "contrast", "luma_flip", "hue", "saturation")
GREY_AXIS = np.ones(3) / math.sqrt(3)


def images(count: int = 1, channels: int = 3, height: int = 12, width: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, channels, height, width, generator=generator, dtype=torch.float64) * 2 - 1


def numbers(**parts: tuple[float, ...]) -> torch.Tensor:
    """Uniform numbers (1, K) with which exactly these parts apply at p = ½."""
    columns = [(0.0, *parts[name]) if name in parts else (0.9,) + (0.3,) * (n - 1) for name, n in COLUMNS.items()]
    return torch.tensor([sum(columns, ())], dtype=torch.float64)


def drawn(count: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand(count, UNIFORMS, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def only(*names: str) -> Rates:
    return Rates(**{name: float(name in names) for name in PARTS})


def normal(uniform: float) -> float:
    return float(stats.norm.ppf(uniform))


def augmented(x: torch.Tensor, **parts: tuple[float, ...]) -> torch.Tensor:
    return ada(x, numbers(**parts), 0.5)


def assert_close(ours: torch.Tensor, expected: torch.Tensor | np.ndarray, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(ours, torch.as_tensor(expected), rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels", [1, 3])
def test_p_0_is_the_identity_bit_for_bit(channels: int, dtype: torch.dtype) -> None:
    x = images(8, channels).to(dtype)
    uniform = drawn(8)
    uniform[0] = 0.0
    assert torch.equal(ada(x, uniform, 0.0), x)
    assert torch.equal(ada(x, uniform, 1.0, only()), x)
    changed = ada(x, uniform, 1.0)
    assert changed.dtype == dtype and not torch.equal(changed, x)


@pytest.mark.parametrize("number, mirrored", [(0.49, False), (0.51, True)])
def test_x_flip(number: float, mirrored: bool) -> None:
    x = images(width=16)
    assert torch.equal(augmented(x, x_flip=(number,)), x.flip(3) if mirrored else x)


@pytest.mark.parametrize("turns", range(4))
def test_rotate90(turns: int) -> None:
    x = images()
    assert torch.equal(augmented(x, rotate90=((turns + 0.5) / 4,)), x.rot90(turns, (2, 3)))


@pytest.mark.parametrize("number, columns", [(0.0, -2), (0.5, 0), (0.7, 1), (1.0, 2)])
def test_integer_shift_reflects(number: float, columns: int) -> None:
    x = images(height=24, width=16)
    ours = augmented(x, integer_shift=(number, 0.95))
    padded = torch.nn.functional.pad(x, (2, 2, 3, 3), mode="reflect")
    assert torch.equal(ours, padded[:, :, :24, 2 - columns : 18 - columns])


def test_parts_that_copy_pixels_combine_in_the_published_order() -> None:
    x = images()
    ours = augmented(x, x_flip=(0.9,), rotate90=(0.3,), integer_shift=(0.1, 0.5))
    turned = x.flip(3).rot90(1, (2, 3))
    shifted = torch.nn.functional.pad(turned, (0, 1, 0, 0), mode="reflect")[:, :, :, 1:]
    assert torch.equal(ours, shifted)


@pytest.mark.parametrize("number", [0.1, 0.8, 1.0])
def test_scales_rotations_and_shifts_are_these_affine_maps(number: float) -> None:
    """`warp` is held to SciPy in its own tests; here are the matrices, from a position to its source."""
    x, normals = images(), normal(min(number, 1 - 2**-24))
    scale, angle = 2 ** (0.2 * normals), (2 * min(number, 1 - 2**-24) - 1) * math.pi
    turn = [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]]
    shift = [[1, 0, -12 / 8 * normals], [0, 1, -12 / 8 * normal(0.6)], [0, 0, 1]]
    scaling, aniso = np.diag([1 / scale, 1 / scale, 1]), np.diag([1 / scale, scale, 1])
    mirror = np.diag([-1, 1, 1])
    part = {"scale": (number,), "rotate": (number,), "aniso_scale": (number,), "rotate_after": (number,)}
    part["fractional_shift"] = (number, 0.6)
    matrices = dict(zip(part, (scaling, turn, aniso, turn, shift), strict=True))
    for name, matrix in matrices.items():
        assert_close(augmented(x, **{name: part[name]}), warp(x, torch.tensor(np.array(matrix))[None]), 1e-9)
    whole = mirror @ scaling @ turn @ aniso @ turn @ shift
    assert_close(augmented(x, x_flip=(0.9,), **part), warp(x, torch.tensor(whole)[None]), 1e-9)


def colour_maps(number: float) -> dict[str, np.ndarray]:
    """Homogeneous matrices (4, 4) of the parts of the published pipeline, in its order."""
    maps = {name: np.eye(4) for name in COLOURS}
    axis = np.append(GREY_AXIS, 0)
    maps["brightness"][:3, 3] = 0.2 * normal(number)
    maps["contrast"][:3, :3] *= 2 ** (0.5 * normal(number))
    maps["luma_flip"] -= 2 * np.outer(axis, axis) * (number >= 0.5)
    maps["hue"][:3, :3] = Rotation.from_rotvec(GREY_AXIS * (2 * number - 1) * math.pi).as_matrix()
    along = np.outer(axis, axis)
    maps["saturation"] = along + (np.eye(4) - along) * 2 ** normal(number)
    maps["saturation"][3, 3] = 1
    return maps


@pytest.mark.parametrize("number", [0.05, 0.3, 0.5, 0.9])
def test_colours(number: float) -> None:
    x, maps = images(), colour_maps(number)
    whole = np.eye(4)
    for name, matrix in maps.items():
        whole = matrix @ whole
        expected = np.einsum("cd,ndhw->nchw", matrix[:3, :3], x) + matrix[:3, 3, None, None]
        assert_close(augmented(x, **{name: (number,)}), expected, 1e-10)
    expected = np.einsum("cd,ndhw->nchw", whole[:3, :3], x) + whole[:3, 3, None, None]
    assert_close(augmented(x, **dict.fromkeys(COLOURS, (number,))), expected, 1e-10)


def test_grey_images_have_brightness_contrast_and_luma_flip() -> None:
    x = images(channels=1)
    ours = augmented(x, brightness=(0.9,), contrast=(0.2,), luma_flip=(0.7,), hue=(0.9,), saturation=(0.9,))
    assert_close(ours, -(2 ** (0.5 * normal(0.2))) * (x + 0.2 * normal(0.9)), 1e-10)


def test_cutout_is_a_rectangle_of_half_of_each_side_that_may_stand_out() -> None:
    x = torch.ones(1, 3, 8, 16, dtype=torch.float64)
    for centre, rows, columns in (((0.5, 0.5), (2, 6), (4, 12)), ((0.0, 1.0), (6, 8), (0, 4))):
        expected = x.clone()
        expected[:, :, slice(*rows), slice(*columns)] = 0
        assert torch.equal(augmented(x, cutout=centre), expected)


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("p", [0.2, 0.7])
def test_each_part_changes_a_share_p_of_the_images(name: str, p: float) -> None:
    """Half of the flips, and a quarter of quarter turns and of shifts by -1, 0 or 1, leave an image as it is."""
    count = 3000
    x = torch.tensor([[0.9, -0.2], [0.4, -0.7]]).expand(count, 3, 2, 2) * torch.tensor([1, 0.8, 0.5]).view(3, 1, 1)
    x = x.repeat_interleave(4, 2).repeat_interleave(4, 3)
    changed = (ada(x, drawn(count), p, only(name)) != x).flatten(1).any(1)
    effective = {"x_flip": 1 / 2, "luma_flip": 1 / 2, "rotate90": 3 / 4, "integer_shift": 3 / 4}.get(name, 1)
    assert stats.binomtest(int(changed.sum()), count, p * effective).pvalue > 1e-4


def test_shares_of_images_follow_the_rates() -> None:
    x = images(4000, 1, 2, 2).float()
    changed = (ada(x, drawn(4000), 0.6, Rates(**{**vars(only()), "brightness": 0.5})) != x).flatten(1).any(1)
    assert stats.binomtest(int(changed.sum()), 4000, 0.3).pvalue > 1e-4
    assert (R3GAN.cutout, R3GAN.hue, R3GAN.scale) == (1, 0.5, 1)


def test_strengths_are_normal_with_the_published_deviations() -> None:
    x = torch.full((4000, 1, 2, 2), 0.5)
    added = (ada(x, drawn(4000), 1.0, only("brightness")) - x)[:, 0, 0, 0]
    factors = (ada(x, drawn(4000, 2), 1.0, only("contrast")) / x)[:, 0, 0, 0].log2()
    assert stats.kstest(added.numpy() / 0.2, "norm").pvalue > 1e-3
    assert stats.kstest(factors.numpy() / 0.5, "norm").pvalue > 1e-3


def test_extreme_numbers_give_finite_images() -> None:
    uniform = torch.stack([torch.zeros(UNIFORMS), torch.ones(UNIFORMS)])
    assert ada(images(2).float(), uniform).isfinite().all()


def test_p_may_be_a_tensor_and_images_do_not_affect_each_other() -> None:
    x, uniform = images(6), drawn(6, dtype=torch.float64)
    whole = ada(x, uniform, 0.4)
    assert torch.equal(ada(x, uniform, torch.tensor(0.4, dtype=torch.float64)), whole)
    parts = [ada(x[i : i + 1], uniform[i : i + 1], 0.4) for i in range(6)]
    assert_close(torch.cat(parts), whole)
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(ada(x.float(), uniform, 0.4), whole.float(), 1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_derivatives(channels: int) -> None:
    x = images(2, channels, 4, 4).requires_grad_()
    uniform = drawn(2, dtype=torch.float64)
    rates = Rates(cutout=0.0)
    assert torch.autograd.gradcheck(lambda x: ada(x, uniform, 0.6, rates) ** 2, x)
    assert torch.autograd.gradgradcheck(lambda x: ada(x, uniform, 0.6, rates) ** 3, x)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="1 or 3 channels, not 2"):
        ada(images(channels=2), drawn(1))
    with pytest.raises(ValueError, match=r"p is 1\.5; it must be in \[0, 1\]"):
        ada(images(), drawn(1), 1.5)
    with pytest.raises(ValueError, match=r"the rate hue is -1; it must be in \[0, 1\]"):
        Rates(hue=-1)
    assert ALL == Rates()
