"""Checks of training health: values that are not finite, a stuck discriminator, a collapsed generator."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gan.errors import Diverged

_D_STEPS = 500  # steps at chance, or of perfect separation, after which D is flagged
_CHANCE = 0.02  # by which D's accuracy must exceed one half; logits that are equal, as of a dead D in bf16, lower it
_PERFECT = 0.999
# Bounds of the variety of generated images, and the steps below them after which G is flagged. Every G starts with
# images that are much alike. 0.65 is the variety of CIFAR-10 averaged over squares of 8x8 pixels.
_ALIKE = (0.65, 500)
_SAME = (0.1, 100)

FLAG_MEANINGS = {
    "d-at-chance": "D has separated real from fake no better than chance for 500 steps: G gets no useful gradient. "
    "Try a higher --d-lr, a larger --n-dis or another --norm",
    "d-separates": "D has separated real from fake without error for 500 steps: G gets little gradient. "
    "Try a lower --d-lr, --norm sn or msn, or --r1",
    "g-collapsed": "G's images are much alike (mode collapse, or still blobs). "
    "Try an earlier checkpoint with lower learning rates, --r1, or another --loss",
}


_REMEDY = "try lower --g-lr and --d-lr, --precision fp32, --norm sn or msn, or a smaller penalty weight"


def gradient_norm(network: nn.Module) -> Tensor:
    """2-norm of all gradients of a network, a scalar on its device."""
    return torch.nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None])


def require_finite(who: str, network: nn.Module, loss: Tensor, norm: Tensor, step: int) -> None:
    """Check that a loss and the norm of the gradients are finite; waits for the device.

    Raises:
        Diverged: one is NaN or infinite; the message names the step, the layer and what to try.
    """
    if torch.isfinite(norm + loss):
        return
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    first = next((name for name, grad in gradients.items() if not grad.isfinite().all()), None)
    value = "its loss" if first is None or not torch.isfinite(loss) else "a gradient"
    layer = f", first in {first.replace('.parametrizations', '').replace('.original', '')}" if first else ""
    raise Diverged(f"step {step}: {who} has diverged: {value} is not finite{layer}; {_REMEDY}")


def require_finite_means(means: Mapping[str, float], first: int, last: int) -> None:
    """Check that metric means over the steps from `first` to `last` are finite.

    Raises:
        Diverged: one is NaN or infinite; the message names it, the steps, and what to try.
    """
    wrong = [name for name, value in means.items() if not math.isfinite(value)]
    if wrong:
        raise Diverged(f"steps {first} to {last}: training has diverged: {', '.join(wrong)} not finite; {_REMEDY}")


@torch.no_grad()
def variety(images: Tensor, real: Tensor) -> Tensor:
    """Variety of generated images relative to real ones; a scalar.

    The mean Euclidean distance from an image to its nearest neighbour in the batch, of `images` divided by that of
    `real`. It is near 0 if all images are alike, and also if there are a few groups of equal images, which a standard
    deviation over the batch would miss. 1 for a batch of one image.

    Args:
        images, real: (N, C, H, W).
    """
    if len(images) == 1:
        return torch.ones((), device=images.device)
    return _nearest(images) / _nearest(real).clamp(min=1e-6)


def _nearest(images: Tensor) -> Tensor:
    """Mean Euclidean distance of an image to its nearest neighbour in the batch; a scalar."""
    x = images.float().flatten(1)
    x = x - x.mean(0)  # avoids cancellation in the squared distances of bright images
    squares = x.square().sum(1)
    distances = (squares[:, None] + squares - 2 * x @ x.T).clamp(min=0)
    return distances.fill_diagonal_(torch.inf).amin(1).sqrt().mean()


@dataclass
class Health:
    """Counters of consecutive steps for each sign of trouble, and the flags raised; part of the checkpoint."""

    chance: int = 0
    separates: int = 0
    alike: int = 0
    same: int = 0
    flagged: tuple[str, ...] = ()

    def update(self, steps: int, accuracy: float, variety: float) -> tuple[str, ...]:
        """Update the counters with the means over `steps` steps; returns the newly raised flags.

        Args:
            accuracy: share of (real, fake) pairs in which D gives the real image the larger logit, in [0, 1].
            variety: mean result of the function `variety`.
        """
        self.chance = self.chance + steps if accuracy - 0.5 < _CHANCE else 0
        self.separates = self.separates + steps if accuracy > _PERFECT else 0
        self.alike = self.alike + steps if variety < _ALIKE[0] else 0
        self.same = self.same + steps if variety < _SAME[0] else 0
        signs = {
            "d-at-chance": self.chance >= _D_STEPS,
            "d-separates": self.separates >= _D_STEPS,
            "g-collapsed": self.alike >= _ALIKE[1] or self.same >= _SAME[1],
        }
        before, self.flagged = self.flagged, tuple(name for name, raised in signs.items() if raised)
        return tuple(name for name in self.flagged if name not in before)

    def state(self) -> dict[str, Any]:
        """All fields, for the checkpoint."""
        return asdict(self)
