"""Options of `report`, with the checks that need no file"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gan.config.train_config import TrainConfig
from gan.errors import UsageError
from gan.evaluation.named_protocols import require_no_contradiction
from gan.metrics.extractor import ExtractorOptions
from gan.metrics.score_table import (
    CLASS_METRICS,
    DEFAULT_METRICS,
    METRICS,
    NEED_REAL_FEATURES,
    require_known_metrics,
)

MOST_GENERATED = 50_000  # default number of generated images, at most


@dataclass(frozen=True)
class EvaluationOptions:
    """The command line of `msn-gan report`."""

    targets: tuple[str, ...]
    extractor: ExtractorOptions = field(default_factory=ExtractorOptions)
    data: str | None = None
    """The real images; None: those that the checkpoints were trained on."""
    data_root: Path | None = None
    split: str = "train"
    metrics: tuple[str, ...] | None = None
    """Names in METRICS; None: DEFAULT_METRICS, or fid and is with `ref`; `all` alone: all that can be computed."""
    num: int | None = None
    seed: int = 0
    repeats: int = 1
    """Draws of latents from each of which the FID of a checkpoint is computed."""
    held_out: str | None = None
    """Real images that were not trained on, for the C_T of `copies`."""
    per_class: bool = False
    """Score each class too: FID, and precision and recall, as far as they are among the metrics."""
    ref: Path | None = None
    """Reference statistics to use in place of `data`."""
    as_protocol: tuple[str, ...] = ()
    """Names in NAMED_PROTOCOLS, each of which scores all targets."""
    ema: bool = True
    standing_stats: int = 0
    """Batches of latents over which a generator's batch-norm statistics are recomputed; 0: as trained."""
    mixed_protocols: bool = False
    skip_bad_images: bool = False
    network: tuple[str, ...] = ()
    """Networks of the user's own, whose code may run."""

    @property
    def scores(self) -> tuple[str, ...]:
        """Names in METRICS, with the default and `all` filled in."""
        if self.metrics == ("all",):
            return tuple(name for name in METRICS if not (self.ref and name in NEED_REAL_FEATURES))
        return self.metrics or (("fid", "is") if self.ref else DEFAULT_METRICS)

    @property
    def num_source(self) -> str:
        """The flag that set the number of images, for messages."""
        return f"--as {','.join(self.as_protocol)}:" if self.as_protocol else "--num"

    def check(self) -> None:
        """Raise a UsageError if options contradict each other."""
        require_known_metrics(self.scores)
        require_no_contradiction(self)
        if self.repeats > 1 and "fid" not in self.scores:
            raise UsageError(f"--repeats {self.repeats}: repeats fid, which --metrics leaves out; add it")
        if self.per_class and self.ref:
            raise UsageError("--per-class: needs the real images and their labels (--data); --ref has statistics only")
        if self.per_class and not {*CLASS_METRICS} & {*self.scores}:
            raise UsageError(
                f"--per-class: scores fid and pr of each class; --metrics {','.join(self.scores)}: add one"
            )
        if self.ref and self.data:
            raise UsageError("--ref replaces --data; give only one of them")
        if self.ref and NEED_REAL_FEATURES & set(self.scores):
            raise UsageError(
                "--ref: kid, pr and copies need the real images (--data); statistics are enough for the others"
            )
        if self.held_out and "copies" not in self.scores:
            raise UsageError(f"--held-out {self.held_out}: is for --metrics copies only; add it")

    def real_images(self, configs: Sequence[TrainConfig]) -> str | None:
        """The real images: those that were named, else those that all checkpoints were trained on; None with `ref`."""
        if self.data:
            return self.data
        names = list(dict.fromkeys(config.data for config in configs))
        if self.ref or not names:
            return None
        if len(names) > 1:
            raise UsageError(f"--data: name the real images; the runs were trained on {' and '.join(names)}")
        return names[0]
