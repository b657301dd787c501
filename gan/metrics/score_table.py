"""The metrics by name, and their scores in tables, charts and logs: key, title, direction and number format of each"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from gan.errors import UsageError

DEFAULT_METRICS = ("fid", "is", "kid", "pr")
"""Fréchet distance, Inception score, kernel distance; precision, recall, density and coverage."""

METRICS = (*DEFAULT_METRICS, "fid-infinity", "copies")
"""All metrics. On request only: FID∞, and `copies`, AuthPct and C_T, which detect copies of training images."""

NEED_REAL_FEATURES = {"kid", "pr", "copies"}
"""The metrics that need the features of every real image, not its statistics alone."""

CLASS_METRICS = ("fid", "pr")
"""The metrics that can be computed for each class."""


class Score(NamedTuple):
    """Display of one score."""

    key: str
    """Its key in log.jsonl, best.json and report.json."""
    title: str
    better: int
    """-1 if a lower value is better, 1 if a higher one is, 0 if neither."""
    factor: float = 1.0
    """The displayed value is the score times this."""
    digits: int = 2
    """Digits after the decimal point."""
    spread: str | None = None
    """Key of its standard deviation, or of the half-width of its 95 % interval, if it has one."""

    @property
    def header(self) -> str:
        """Title with an arrow in the better direction, if there is one, such as `FID ↓`."""
        return f"{self.title} {'↑' if self.better > 0 else '↓'}" if self.better else self.title

    @property
    def direction(self) -> str:
        """`less is better`, `more is better`, or empty."""
        return {-1: "less is better", 0: "", 1: "more is better"}[self.better]

    def format(self, scores: Mapping[str, Any]) -> str:
        """Value ± standard deviation as text, such as `1.23 ± 0.04`."""
        keys = (self.key, self.spread) if self.spread else (self.key,)
        return " ± ".join(f"{scores[key] * self.factor:.{self.digits}f}" for key in keys)


SCORES = (
    Score("fid", "FID", -1),
    Score("fid_infinity", "FID∞", -1, spread="fid_infinity_interval"),
    Score("inception_score", "Inception score", 1, spread="inception_score_std"),
    Score("kid", "KID × 10³", -1, factor=1e3, spread="kid_std"),
    Score("precision", "Precision", 1, digits=3),
    Score("recall", "Recall", 1, digits=3),
    Score("density", "Density", 1, digits=3),
    Score("coverage", "Coverage", 1, digits=3),
    Score("auth_pct", "Authentic, %", 0, digits=1),
    Score("ct", "C_T", 0),
)
"""All scores of METRICS, in the order of tables; the first is the FID."""


def fid_text(value: float) -> str:
    """A FID for tables, with two decimals, or four below 1."""
    return f"{value:,.2f}" if value >= 1 else f"{round(value, 4) + 0.0:.4f}"  # + 0.0: no -0


def measured_scores(trainings: Iterable[Mapping[str, Any]]) -> tuple[Score, ...]:
    """The scores that all trainings of a comparison have in their `curve`; the FID if none has a curve.

    Trainings of an older version lack the scores that came later.
    """
    curves = [training["curve"] for training in trainings if training["curve"]]
    return tuple(score for score in SCORES if all(score.key in curve for curve in curves)) if curves else SCORES[:1]


def require_known_metrics(metrics: Sequence[str]) -> None:
    """Raise a UsageError unless there are metrics and all are in METRICS."""
    unknown = [name for name in metrics if name not in METRICS]
    if unknown or not metrics:
        named = ",".join(unknown) or "(none)"
        raise UsageError(f"--metrics {named}: no such metric; choose from {', '.join(METRICS)}, or all alone")
