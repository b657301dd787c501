"""Compare an exported network with the trained one before its file is kept"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from gan.errors import UserError
from gan.utils.counted import counted

NetworkFunction = Callable[[tuple[Tensor, ...]], Tensor]
"""A network as a function of its inputs; the first dimension of each is the batch."""

COMPARED_INPUTS = 64
TOLERANCE = 1e-4  # largest difference in fp32, relative to the largest output, as logits may all be small
_ABSOLUTE_TOLERANCE = 1e-7  # for outputs close to 0
_VISIBILITY = (  # lowest PSNR in dB, and what an eye sees; 40 and 30 are the usual limits for compressed pictures
    (50.0, "not visible"),
    (40.0, "hardly visible"),
    (30.0, "visible when the pictures are compared side by side"),
    (-math.inf, "clearly visible"),
)
LEVEL_TOLERANCE = 0.01  # fraction of the levels of uint8 images that may differ, by one


@dataclass(frozen=True)
class Difference:
    """Difference between the outputs of an exported network and of the trained one."""

    largest: float
    """Largest absolute difference of two outputs."""
    magnitude: float
    """Largest absolute output of the trained network."""
    fraction: float
    """Fraction of the outputs that differ at all."""
    levels: bool
    """True if the outputs are levels of images, uint8."""
    mean: float = 0.0
    """Mean absolute difference."""
    mean_square: float = 0.0

    def __str__(self) -> str:
        if self.levels:
            return f"at most {counted(round(self.largest), 'level')} of 255, in {self.fraction:.3%} of the pixel values"
        return f"{self.largest:.2g} (outputs up to {self.magnitude:.3g})"

    def picture_text(self) -> str:
        """What the difference of a generator's images means for a picture, with levels from 0 to 255."""
        scale = 1.0 if self.levels else 127.5  # of outputs in [-1, 1]
        if self.mean_square == 0:
            return "the pictures are equal"
        psnr = 10 * math.log10(255**2 / (scale**2 * self.mean_square))
        visible = next(text for least, text in _VISIBILITY if psnr >= least)
        mean, largest = scale * self.mean, scale * self.largest
        return (
            f"pixels differ by {mean:.2g} of 255 levels on average, at most by {largest:.0f}; "
            f"PSNR {psnr:.1f} dB: {visible}"
        )


def as_function(network: nn.Module) -> NetworkFunction:
    """Wrap a network in evaluation mode as a function without gradients."""

    @torch.no_grad()
    def run(inputs: tuple[Tensor, ...]) -> Tensor:
        return network(*inputs)

    return run


def compare_outputs(
    trained: NetworkFunction, exported: NetworkFunction, inputs: tuple[Tensor, ...], where: Path
) -> Difference:
    """Run both on the same 64 inputs, the exported network in batches of 64, 1 and 63.

    Raises:
        UserError: either outputs NaN or infinity, or the shapes or types of their outputs differ.
    """
    expected = trained(inputs)
    largest, total, squares, differing, numbers = 0.0, 0.0, 0.0, 0, 0
    if not bool(torch.isfinite(expected).all()):
        raise UserError(f"{where}: not written, the trained network itself outputs NaN or infinity")
    for batch in (slice(0, COMPARED_INPUTS), slice(0, 1), slice(1, COMPARED_INPUTS)):
        reference = expected[batch]
        output = exported(tuple(part[batch] for part in inputs))
        if output.shape != reference.shape or output.dtype != reference.dtype:
            form = f"{output.dtype} {tuple(output.shape)}"
            raise UserError(f"{where}: not written, the exported network outputs {form}")
        if not bool(torch.isfinite(output).all()):
            raise UserError(f"{where}: not written, the exported network outputs values that are not finite")
        # As float64, since uint8 has no negative numbers.
        difference = (output.double() - reference.double()).abs()
        largest = max(largest, difference.max().item())
        total += difference.sum().item()
        squares += difference.square().sum().item()
        differing += int((difference > 0).sum())
        numbers += difference.numel()
    magnitude = expected.double().abs().max().item()
    levels = expected.dtype == torch.uint8
    return Difference(largest, magnitude, differing / numbers, levels, total / numbers, squares / numbers)


def require_close(difference: Difference, where: Path) -> None:
    """Raise a UserError if the difference exceeds `TOLERANCE`; for uint8, one level in a fraction `LEVEL_TOLERANCE`."""
    if difference.levels:
        close = difference.largest <= 1 and difference.fraction <= LEVEL_TOLERANCE
        allowed = f"1 level in {LEVEL_TOLERANCE:.0%} of them"
    else:
        limit = max(_ABSOLUTE_TOLERANCE, TOLERANCE * difference.magnitude)
        close = difference.largest <= limit
        allowed = f"{limit:.2g}"
    if not close:
        raise UserError(
            f"{where}: not written, the exported network differs from the trained one by {difference}, more than "
            f"{allowed}; this is an error of the exporter or the runtime: try another --opset or other versions of them"
        )
