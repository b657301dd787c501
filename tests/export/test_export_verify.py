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
