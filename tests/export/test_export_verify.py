"""The comparison of an exported network with the trained one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gan.errors import UserError
from gan.export.verify import COMPARED_INPUTS, Difference, compare_outputs, require_close


def test_the_check_sees_what_it_should() -> None:
    inputs = (torch.randn(COMPARED_INPUTS, 3),)
    sizes: list[int] = []

    def exported(given: tuple[Tensor, ...]) -> Tensor:
        sizes.append(len(given[0]))
        return given[0] + (given[0] == inputs[0][40]) * 0.5  # one wrong row

    found = compare_outputs(lambda given: given[0], exported, inputs, Path("x"))
    assert sizes == [64, 1, 63] and found.largest == pytest.approx(0.5) and found.fraction == pytest.approx(1 / 64)
    assert found.mean == pytest.approx(0.5 / 64) and found.mean_square == pytest.approx(0.25 / 64)
    with pytest.raises(UserError, match="x: not written, the exported network outputs torch.float32"):
        compare_outputs(lambda given: given[0], lambda given: given[0][:, :2], inputs, Path("x"))
    with pytest.raises(UserError, match="the trained network itself outputs NaN"):
        compare_outputs(lambda given: given[0] / 0, lambda given: given[0], inputs, Path("x"))
    for largest, reach, share, levels, fine in (
        (4.9e-5, 0.5, 1.0, False, True),
        (5.1e-5, 0.5, 1.0, False, False),
        (1.1e-5, 1.1e-5, 1.0, False, False),  # zeros in place of small logits
        (1e-7, 1e-6, 1.0, False, True),
        (9e-4, 10.0, 1.0, False, True),
        (1.0, 255.0, 0.009, True, True),
        (1.0, 255.0, 0.011, True, False),
        (2.0, 255.0, 1e-6, True, False),
    ):
        try:
            require_close(Difference(largest, reach, share, levels), Path("x"))
            assert fine
        except UserError:
            assert not fine


@pytest.mark.parametrize(
    "mean, square, largest, text",
    [
        (0.0, 0.0, 0.0, "the pictures are equal"),
        (0.25, 0.5, 3.0, "pixels differ by 0.25 of 255 levels on average, at most by 3; PSNR 51.1 dB: not visible"),
        (0.9, 3.0, 55.0, "PSNR 43.4 dB: hardly visible"),
        (3.0, 30.0, 55.0, "PSNR 33.4 dB: visible when the pictures are compared side by side"),
        (20.0, 900.0, 255.0, "PSNR 18.6 dB: clearly visible"),
    ],
)
def test_what_a_difference_means_for_a_picture(mean: float, square: float, largest: float, text: str) -> None:
    assert Difference(largest, 255.0, 1.0, True, mean, square).picture_text().endswith(text)
    unit = Difference(largest / 127.5, 1.0, 1.0, False, mean / 127.5, square / 127.5**2)  # of outputs in [-1, 1]
    assert unit.picture_text() == Difference(largest, 255.0, 1.0, True, mean, square).picture_text()


def test_the_levels_of_an_exact_export() -> None:
    assert str(Difference(1.0, 255.0, 1e-4, True)) == "at most 1 level of 255, in 0.010% of the pixel values"
