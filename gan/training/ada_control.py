"""Adaptive augmentation: p rises while D overfits and falls while it does not.

Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", arXiv 2006.06676, section 3.1.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from gan.config.train_config import TrainConfig
from gan.distributed.collectives import all_reduce_mean

_STATE = ("p", "signs", "updates")
_INTERVAL = 4  # updates of D between two changes of p, as published


class AdaptiveProbability:
    """Adapts the probability p of augmentations to the overfitting of D.

    The overfitting is measured by r_t = E[sign(D(real))], equation 1. At 0 D cannot distinguish real from generated
    images; at 1 it classifies every real image as real. Every `interval` updates of D, p increases by
    `batch * interval / (1000 * kimg)` if r_t is above the target, decreases by the same amount if it is below, and is
    clamped to [0, 1]. (The published code has no upper limit.)

    All of it is tensors that change in place on the device, so that nothing waits for the device and a CUDA graph can
    hold the updates.

    Args:
        batch: real images in one update of D, or part of it, over all ranks.
        device: the device of p.
        target: target value of r_t.
        interval: updates of D, or parts of them whose gradients are accumulated, between two changes of p.
        kimg: thousands of real images in which p can rise from 0 to 1.
        p: first value.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        batch: int,
        device: torch.device,
        *,
        target: float = 0.6,
        interval: int = 4,
        kimg: float = 500.0,
        p: float = 0.0,
    ) -> None:
        if batch < 1 or interval < 1 or kimg <= 0:
            raise ValueError(f"batch {batch}, interval {interval} and kimg {kimg} must be positive")
        if not -1 <= target <= 1 or not 0 <= p <= 1:
            raise ValueError(f"target {target} must be in [-1, 1] and p {p} in [0, 1]")
        self.target, self.interval = target, interval
        self._change = batch * interval / (1000 * kimg)
        self.p = torch.tensor(p, device=device)
        """float32 without dimensions: always the same tensor."""
        self._signs = torch.zeros((), device=device)
        self._updates = torch.zeros((), dtype=torch.int64, device=device)

    @torch.no_grad()
    def update(self, real: Tensor, fake: Tensor | None = None) -> None:
        """Note an update of D; every `interval`-th changes p.

        Args:
            real: D's outputs for this rank's augmented real images, of any shape.
            fake: the outputs for as many generated images; r_t is then E[sign(D(real) - D(fake))]. Pass them for a
                loss to which a constant added to D's outputs makes no difference (relativistic, WGAN) or whose
                boundary is not at 0 (LSGAN): the sign of D(real) alone has no meaning there.
        """
        difference = real if fake is None else real - fake
        self._signs += all_reduce_mean(difference.sign().float().mean())
        self._updates += 1
        due = self._updates % self.interval == 0
        direction = (self._signs / self.interval - self.target).sign()
        self.p.add_(self._change * direction * due).clamp_(0, 1)
        self._signs.masked_fill_(due, 0.0)

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of all that changes, for a checkpoint."""
        values = (self.p, self._signs, self._updates)
        return {name: value.clone() for name, value in zip(_STATE, values, strict=True)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a `state_dict`, in the same tensors. Raises a KeyError if a part of it is missing."""
        values = (self.p, self._signs, self._updates)
        for value, saved in zip(values, [state[name] for name in _STATE], strict=True):
            value.copy_(saved)


def adaptive_probability(config: TrainConfig, device: torch.device) -> AdaptiveProbability | None:
    """The probability of the augmentations of a run with `ada_target`; None without."""
    if config.ada_target is None:
        return None
    return AdaptiveProbability(
        config.batch // config.accumulate,
        device,
        target=config.ada_target,
        interval=_INTERVAL * config.accumulate,
        kimg=config.ada_images / 1000,
    )
