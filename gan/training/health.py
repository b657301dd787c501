"""Signs that training has gone wrong: values that are not finite, a stuck discriminator, a collapsed generator."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gan.errors import Diverged

_LONG = 500  # steps that a discriminator may be at chance or separate perfectly before it is flagged
_CHANCE = 0.02  # distance of the share of rightly ordered pairs from one half
_PERFECT = 0.999
# Variety of generated images, and for how many steps it may be less. Every G begins with images that are much alike.
_ALIKE = (0.65, 500)  # what is left of CIFAR-10 when it is averaged over squares of 8x8 pixels
_SAME = (0.1, 100)

FLAG_MEANINGS = {
    "d-at-chance": "D has told real from fake no better than chance for long: G gets no useful gradient. "
    "Try a higher --d-lr, a larger --n-dis or another --norm",
    "d-separates": "D has told real from fake without error for long: G gets little gradient. "
    "Try a lower --d-lr, --norm sn or msn, or --r1",
    "g-collapsed": "G's images are much alike (mode collapse, or still blobs). "
    "Try an earlier checkpoint with lower learning rates, --r1, or another --loss",
}


_REMEDY = "try lower --g-lr and --d-lr, --precision fp32, --norm sn or msn, or a smaller penalty weight"


def gradient_norm(network: nn.Module) -> Tensor:
    """The 2-norm of all gradients of a network, a scalar on its device."""
    return torch.nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None])


def require_finite(who: str, network: nn.Module, loss: Tensor, norm: Tensor, step: int) -> None:
    """Let a loss and the norm of the gradients pass if they are finite.

    Raises:
        Diverged: one is NaN or infinite; names the step, the layer and what to try.
    """
    if torch.isfinite(norm + loss):
        return
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    where = next((name for name, grad in gradients.items() if not grad.isfinite().all()), None)
    what = "its loss is" if where is None or not torch.isfinite(loss) else "a gradient is"
    layer = f", first in {where.replace('.parametrizations', '').replace('.original', '')}" if where else ""
    raise Diverged(f"step {step}: {who} has diverged: {what} not finite{layer}; {_REMEDY}")


def require_finite_means(means: Mapping[str, float], first: int, last: int) -> None:
    """Let means over the steps from `first` to `last` pass if they are finite.

    Raises:
        Diverged: names those that are NaN or infinite, the steps, and what to try.
    """
    wrong = [name for name, value in means.items() if not math.isfinite(value)]
    if wrong:
        raise Diverged(f"steps {first} to {last}: training has diverged: {', '.join(wrong)} not finite; {_REMEDY}")


@torch.no_grad()
def variety(images: Tensor, real: Tensor) -> Tensor:
    """How much generated images differ from each other, against as many real ones; a scalar.

    The mean distance in pixels from an image to the nearest other one of its batch, of `images` over that of `real`:
    near 0 when all are alike, and also when there are several kinds of images but few of each kind, which a standard
    deviation over the batch would not see. 1 where a batch is a single image, which says nothing.

    Args:
        images, real: (N, C, H, W).
    """
    if len(images) == 1:
        return torch.ones((), device=images.device)
    return _nearest(images) / _nearest(real).clamp(min=1e-6)


def _nearest(images: Tensor) -> Tensor:
    """The mean over images of the Euclidean distance to the nearest other one; a scalar."""
    x = images.float().flatten(1)
    x = x - x.mean(0)  # small differences between bright images would drown in the squares
    squares = x.square().sum(1)
    distances = (squares[:, None] + squares - 2 * x @ x.T).clamp(min=0)
    return distances.fill_diagonal_(torch.inf).amin(1).sqrt().mean()


@dataclass
class Health:
    """What the discriminator and generator have been up to, and for how many steps; a part of the checkpoint."""

    chance: int = 0
    separates: int = 0
    alike: int = 0
    same: int = 0
    flagged: tuple[str, ...] = ()

    def update(self, steps: int, accuracy: float, variety: float) -> tuple[str, ...]:
        """Take in the means over `steps` steps; returns the flags that are new.

        Args:
            accuracy: share of (real, fake) pairs in which D gives the real image the larger logit, in [0, 1].
            variety: as `variety` gives it.
        """
        self.chance = self.chance + steps if abs(accuracy - 0.5) < _CHANCE else 0
        self.separates = self.separates + steps if accuracy > _PERFECT else 0
        self.alike = self.alike + steps if variety < _ALIKE[0] else 0
        self.same = self.same + steps if variety < _SAME[0] else 0
        signs = {
            "d-at-chance": self.chance >= _LONG,
            "d-separates": self.separates >= _LONG,
            "g-collapsed": self.alike >= _ALIKE[1] or self.same >= _SAME[1],
        }
        before, self.flagged = self.flagged, tuple(name for name, there in signs.items() if there)
        return tuple(name for name in self.flagged if name not in before)

    def state(self) -> dict[str, Any]:
        """For the checkpoint."""
        return asdict(self)
