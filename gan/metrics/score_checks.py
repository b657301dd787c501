"""Checks of images and metrics before they are scored, and warnings about the scores"""

from collections.abc import Sequence

from gan.errors import UsageError, UserError
from gan.metrics import fid_infinity
from gan.metrics.extractor import Extractor
from gan.metrics.feature_pass import ImageStream
from gan.metrics.frechet import count_warning
from gan.metrics.per_class import ClassLabels
from gan.metrics.precision_recall import DENSITY_NEIGHBOURS, NEIGHBOURS
from gan.metrics.reference import Reference
from gan.metrics.score_table import NEED_REAL_FEATURES, require_known_metrics
from gan.utils.counted import counted
from gan.utils.progress import say

IS_SPLITS = 10
KID_SUBSET_SIZE = 1000

NEED_REFERENCE = {"fid", "fid-infinity", *NEED_REAL_FEATURES}
"""Metrics that need real images or their statistics."""
NEED_GENERATED_FEATURES = {*NEED_REAL_FEATURES, "fid-infinity"}
"""Metrics that need the features of every generated image."""

_IS_SPLIT, _IS_PER_CLASS = 500, 10  # images of a split in all and per class, below which a warning is given


def available_metrics(metrics: Sequence[str], extractor: Extractor, *, chosen: bool = False) -> tuple[str, ...]:
    """The metrics that an extractor can compute: without logits, no Inception score, which a message says.

    Args:
        chosen: the user chose the metrics; then a UsageError is raised instead.
    """
    if "is" not in metrics or extractor.classes:
        return tuple(metrics)
    if chosen:
        require_logits(metrics, extractor)
    say(f"{extractor.name} returns features without logits: the Inception score is left out")
    return tuple(name for name in metrics if name != "is")


def require_logits(metrics: Sequence[str], extractor: Extractor, flag: str = "--metrics") -> None:
    """Raise a UsageError, which names the flag, if the Inception score is asked of an extractor without logits."""
    if "is" in metrics and not extractor.classes:
        raise UsageError(f"{flag} is: needs logits, and {extractor.name} returns features only; leave it out")


def score_warnings(
    real: Reference | None, count: int, extractor: Extractor, metrics: Sequence[str], is_splits: int
) -> list[str]:
    """Warnings about the scores of `count` generated images against `real`, a line each."""
    lines = list(extractor.warnings)
    if "is" in metrics and count < is_splits * min(_IS_SPLIT, _IS_PER_CLASS * extractor.classes):
        lines.append(
            f"Inception score from {count:,} images is biased low: each of its {counted(is_splits, 'split')} has only "
            f"{count // is_splits:,}, too few to estimate the class distribution; compare equal numbers only"
        )
    if extractor.protocol.precision == "bf16":
        lines.append("scored in bf16: these scores compare with others in bf16 only")
    if real is None:
        return lines
    fewest = min(count, real.count or count)
    if real.protocol is None:
        lines.append(f"{real.name} was written by another program: its preprocessing is unknown and may be different")
    if "fid" in metrics and (warning := count_warning(fewest, extractor.dimension)):
        lines.append(warning)
    if "fid-infinity" in metrics and (smallest := fid_infinity.smallest_subset(count)) <= extractor.dimension:
        lines.append(
            f"FID∞ from {count:,} images is not unbiased: its smallest subset, {smallest:,} images, has a singular "
            f"covariance of {extractor.dimension:,} features; use at least {2 * extractor.dimension + 2:,} images"
        )
    if "kid" in metrics and fewest < KID_SUBSET_SIZE:
        lines.append(f"KID over subsets of {fewest} images: too few for the usual {KID_SUBSET_SIZE:,}")
    elif "kid" in metrics and fewest < 2 * KID_SUBSET_SIZE:
        lines.append(
            f"KID's ± is too small: its subsets, {KID_SUBSET_SIZE:,} of {fewest:,} images, share most of their images"
        )
    return lines


def require_enough_images(name: str, count: int, metrics: Sequence[str]) -> None:
    """Raise a UserError if there are fewer images than the metrics need."""
    for minimum, metric, purpose in (
        (IS_SPLITS, "is", "the Inception score"),
        (max(NEIGHBOURS, DENSITY_NEIGHBOURS) + 1, "pr", "--metrics pr"),
        (4, "fid-infinity", "FID∞"),
        (2, None, "a score"),  # one image has no variance
    ):
        if count < minimum and (metric is None or metric in metrics):
            raise UserError(f"{name}: {counted(count, 'image')}; {purpose} needs at least {minimum}")


def check_inputs(
    generated: ImageStream, real: ImageStream | Reference | None, metrics: Sequence[str], labels: ClassLabels | None
) -> None:
    """Raise a UsageError or UserError for all that can be refused before features are extracted."""
    require_known_metrics(metrics)
    if labels is not None and isinstance(real, Reference) and real.features is None:
        raise UsageError(f"--per-class: needs the real images, {real.name} has statistics only")
    if real is None and NEED_REFERENCE & set(metrics):
        raise UsageError(f"--metrics {','.join(metrics)}: needs real images (--data) to score {generated.name}")
    if isinstance(real, Reference) and real.features is None and NEED_REAL_FEATURES & set(metrics):
        raise UsageError(
            f"--metrics {','.join(metrics)}: kid, pr and copies need the real images, {real.name} has statistics only"
        )
    require_enough_images(generated.name, generated.count, metrics)
    if real is not None and real.count:
        require_enough_images(real.name, real.count, [name for name in metrics if name not in ("is", "fid-infinity")])
