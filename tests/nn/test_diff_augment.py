"""DiffAugment against reference implementations for single images, and its general properties."""

from __future__ import annotations

import pytest
import torch

from gan.nn.diff_augment import (
    AUGMENTATIONS,
    apply_augmentations,
    check_augmentation,
    color,
    count_gates,
    count_uniforms,
    cutout,
    translation,
)

ALL = [AUGMENTATIONS[name] for name in ("color", "translation", "cutout")]


def images(count: int = 5, channels: int = 3) -> torch.Tensor:
    return torch.rand(count, channels, 16, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1


def test_color_written_out() -> None:
    x = images(1)
    shifted = x + 0.9 - 0.5
    grey = shifted.mean(1, keepdim=True)
    saturated = grey + 2 * 0.25 * (shifted - grey)
    expected = saturated.mean() + (0.75 + 0.5) * (saturated - saturated.mean())
    ours = color(x, torch.tensor([[0.9, 0.25, 0.75]], dtype=torch.float64))
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(color(x, torch.full((1, 3), 0.5, dtype=torch.float64)), x, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("uniform, rows, columns", [((0.0, 0.999), -2, 3), ((0.5, 0.5), 0, 0), ((0.999, 0.0), 2, -3)])
def test_translation_moves_by_up_to_an_eighth(uniform: tuple[float, float], rows: int, columns: int) -> None:
    x = images(2)
    ours = translation(x, torch.tensor([uniform, (0.5, 0.5)], dtype=torch.float64))
    expected = torch.zeros_like(x[0])
    for i in range(16):
        for j in range(24):
            if 0 <= i + rows < 16 and 0 <= j + columns < 24:
                expected[:, i, j] = x[0, :, i + rows, j + columns]
    torch.testing.assert_close(ours[0], expected, rtol=0, atol=0)
    torch.testing.assert_close(ours[1], x[1], rtol=0, atol=0)


def test_cutout_is_a_square_of_half_a_side_that_may_stand_out() -> None:
    x = torch.ones(3, 1, 16, 24)
    holes = cutout(x, torch.tensor([[0.5, 0.5], [0.0, 0.0], [0.999, 0.999]]))[:, 0] == 0
    assert [int(hole.sum()) for hole in holes] == [8 * 12, 4 * 6, 4 * 6]
    assert holes[0, 4:12, 6:18].all() and holes[1, :4, :6].all() and holes[2, -4:, -6:].all()


def test_gradient_reaches_every_pixel_that_is_seen() -> None:
    x = images().requires_grad_()
    uniform = torch.rand(5, count_uniforms(ALL), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda x: apply_augmentations(x, uniform[:1], ALL), x[:1, :, :8, :8].detach().requires_grad_()
    )
    seen = apply_augmentations(x, uniform, ALL)
    (gradient,) = torch.autograd.grad(seen.square().sum(), x)
    assert gradient.isfinite().all() and (gradient != 0).float().mean() > 0.5


@pytest.mark.parametrize("names", [(), ("color",), ("cutout", "translation"), tuple(AUGMENTATIONS)])
def test_changes_are_functions_of_their_numbers(names: tuple[str, ...]) -> None:
    augmentations = [AUGMENTATIONS[name] for name in names]
    x, uniform = images(), torch.rand(5, count_uniforms(augmentations), dtype=torch.float64)
    whole = apply_augmentations(x, uniform, augmentations)
    parts = torch.cat([apply_augmentations(x[i : i + 1], uniform[i : i + 1], augmentations) for i in range(5)])
    torch.testing.assert_close(whole, parts, rtol=1e-12, atol=1e-12)
    assert (whole is x) == (not names)


def test_each_augmentation_is_applied_to_an_image_with_its_own_probability() -> None:
    """One further number for each image and augmentation decides; p may be a tensor, as in a captured step."""
    x = images(400)[:, :, :8, :8]
    generator = torch.Generator().manual_seed(3)
    uniform = torch.rand(400, count_uniforms(ALL) + count_gates(ALL), generator=generator, dtype=torch.float64)
    p = torch.tensor(0.3, dtype=torch.float64)
    ours, start = apply_augmentations(x, uniform, ALL, p), 0
    expected = x.clone()
    for number, (augment, count) in enumerate(ALL):
        for i in range(400):
            if uniform[i, 7 + number] < 0.3:
                expected[i : i + 1] = augment(expected[i : i + 1], uniform[i : i + 1, start : start + count])
        start += count
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    unchanged = int((ours == x).all(3).all(2).all(1).sum())
    assert 400 * 0.7**3 - 4 * 9.5 < unchanged < 400 * 0.7**3 + 4 * 9.5  # 4 standard deviations
    torch.testing.assert_close(apply_augmentations(x, uniform, ALL, 0.0), x, rtol=0, atol=0)
    torch.testing.assert_close(apply_augmentations(x, uniform, ALL, 1.0), apply_augmentations(x, uniform, ALL))


def test_an_augmentation_may_take_the_probability_itself() -> None:
    def brighten(images: torch.Tensor, uniform: torch.Tensor, p: float | torch.Tensor) -> torch.Tensor:
        return images + (uniform[:, 0] < p).view(-1, 1, 1, 1)

    brighten.takes_probability = True  # type: ignore[attr-defined]
    check_augmentation((brighten, 1), 3, 16)
    pair = [(brighten, 1), ALL[2]]
    assert (count_uniforms(pair), count_gates(pair)) == (3, 1)
    x, uniform = images(2), torch.tensor([[0.2, 0.5, 0.5, 0.9], [0.7, 0.5, 0.5, 0.9]])
    expected = x + torch.tensor([1.0, 0.0]).view(-1, 1, 1, 1)
    torch.testing.assert_close(apply_augmentations(x, uniform, pair, 0.5), expected, rtol=0, atol=0)
    torch.testing.assert_close(apply_augmentations(x, uniform[:, :1], pair[:1]), x + 1, rtol=0, atol=0)
