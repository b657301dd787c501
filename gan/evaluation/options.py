"""What `msn-gan report` is asked for, and what of it can be refused before any file is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from gan.config.train_config import TrainConfig
from gan.errors import UsageError
from gan.evaluation.reference_statistics import Looking
from gan.metrics.score import METRICS


@dataclass(frozen=True)
class EvaluationOptions:
    """What `msn-gan report` is asked for."""

    targets: tuple[str, ...]
    looking: Looking = field(default_factory=Looking)
    data: str | None = None
    """The real images; None: those that the checkpoints were trained on."""
    data_root: Path | None = None
    split: str = "train"
    metrics: tuple[str, ...] | None = None
    """None: all, or fid and is against `ref`."""
    num: int | None = None
    seed: int = 0
    ref: Path | None = None
    """Statistics of the real images, in place of `data`."""
    ema: bool = True
    mixed_protocols: bool = False
    skip_bad_images: bool = False

    @property
    def scores(self) -> tuple[str, ...]:
        """Names of `METRICS`, the default filled in."""
        return self.metrics or (("fid", "is") if self.ref else METRICS)

    def check(self) -> None:
        """Refuse what does not go together.

        Raises:
            UsageError: names the flag.
        """
        unknown = [name for name in self.scores if name not in METRICS]
        if unknown:
            raise UsageError(f"--metrics {','.join(unknown)}: no such metric; there are {', '.join(METRICS)}")
        if self.ref and self.data:
            raise UsageError("--ref takes the place of --data; give one of them")
        if self.ref and {"kid", "pr"} & set(self.scores):
            raise UsageError("--ref: kid and pr need the real images themselves (--data); statistics serve fid alone")

    def data_of(self, settings: list[TrainConfig]) -> str | None:
        """The real images: those named, or else what the checkpoints were trained on; None with `ref`.

        Raises:
            UsageError: they were trained on unlike ones.
        """
        if self.data:
            return self.data
        names = list(dict.fromkeys(config.data for config in settings))
        if self.ref or not names:
            return None
        if len(names) > 1:
            raise UsageError(f"--data: name the real images; the runs were trained on {' and '.join(names)}")
        return names[0]
