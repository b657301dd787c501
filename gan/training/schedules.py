"""Cosine schedules over the images seen, of all settings of a run that have an end."""

import math

from gan.config.train_config import TrainConfig


def cosine(start: float, end: float, images: int, total: int) -> float:
    """The value after `images` images: from `start` to `end` along half a cosine, and `end` from `total` images on.

    start + ½ (1 - cos(π images / total)) (end - start), as in R3GAN's training loop (Huang et al. 2024, arXiv
    2501.05441).
    """
    if images >= total:
        return end
    return start + 0.5 * (1 - math.cos(math.pi * images / total)) * (end - start)


class Schedules:
    """The scheduled settings of a run as functions of the images seen alone, so that a resumed run repeats them."""

    def __init__(self, config: TrainConfig) -> None:
        self.ends = config.schedules()
        """First and last value of each scheduled field; empty for a run of constant settings."""
        self._total = config.schedule_images or 0

    def at(self, images: int) -> dict[str, float]:
        """The values for a step before which D has seen `images` real images, by field."""
        return {name: cosine(*ends, images, self._total) for name, ends in self.ends.items()}
