"""An exported network held against the one that was trained, before its file is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from gan.errors import UserError

NetworkFunction = Callable[[tuple[Tensor, ...]], Tensor]
"""A network as a function of its inputs, each with the batch first."""

COMPARED_INPUTS = 64
TOLERANCE = 1e-4  # largest difference in fp32, as a share of the largest output: logits may all be small
_LEAST = 1e-7  # what may differ in any case: rounding, where outputs are next to nothing
MOST_LEVELS = 0.01  # share of the levels of uint8 images that may differ, by one


@dataclass(frozen=True)
class Difference:
    """How far an exported network is from the trained one."""

    largest: float
    """Between two outputs."""
    reach: float
    """The largest output of the trained network, without its sign."""
    share: float
    """Of the outputs that differ at all."""
    levels: bool
    """Whether the outputs are levels of images, uint8."""

    def __str__(self) -> str:
        if self.levels:
            return f"at most {self.largest:.0f} of 255 levels, in {self.share:.3%} of them"
        return f"{self.largest:.2g} (outputs up to {self.reach:.3g})"


def as_function(network: nn.Module) -> NetworkFunction:
    """A network in evaluation mode as a function."""

    @torch.no_grad()
    def run(inputs: tuple[Tensor, ...]) -> Tensor:
        return network(*inputs)

    return run


def compare_outputs(
    trained: NetworkFunction, exported: NetworkFunction, inputs: tuple[Tensor, ...], where: Path
) -> Difference:
    """Run both on the same `COUNT` inputs, the exported one in batches of 64, of 1 and of 63.

    Raises:
        UserError: either gives NaN or infinity, or the shapes or types of their outputs differ.
    """
    expected = trained(inputs)
    largest, differing, numbers = 0.0, 0, 0
    if not bool(torch.isfinite(expected).all()):
        raise UserError(f"{where}: not written, the trained network itself gives NaN or infinity")
    for batch in (slice(0, COMPARED_INPUTS), slice(0, 1), slice(1, COMPARED_INPUTS)):
        wanted = expected[batch]
        got = exported(tuple(part[batch] for part in inputs))
        if got.shape != wanted.shape or got.dtype != wanted.dtype or not bool(torch.isfinite(got).all()):
            found = f"{got.dtype} {tuple(got.shape)}"
            raise UserError(f"{where}: not written, the exported network gives {found}, or numbers that are not finite")
        # As float64, since uint8 has no negative numbers.
        difference = (got.double() - wanted.double()).abs()
        largest = max(largest, difference.max().item())
        differing += int((difference > 0).sum())
        numbers += difference.numel()
    reach = expected.double().abs().max().item()
    return Difference(largest, reach, differing / numbers, levels=expected.dtype == torch.uint8)


def require_close(difference: Difference, where: Path) -> None:
    """Refuse an exported network that is not the trained one.

    Raises:
        UserError: the difference is above `TOLERANCE`, or above one level of uint8 images here and there.
    """
    if difference.levels:
        alike = difference.largest <= 1 and difference.share <= MOST_LEVELS
        allowed = f"1 level in {MOST_LEVELS:.0%} of them"
    else:
        limit = max(_LEAST, TOLERANCE * difference.reach)
        alike = difference.largest <= limit
        allowed = f"{limit:.2g}"
    if not alike:
        raise UserError(
            f"{where}: not written, the exported network differs from the trained one by {difference}, more than "
            f"{allowed}; this is a fault of the exporter or the runtime: try another --opset or other versions of them"
        )
