"""The scores that tables, charts and logs show: their keys, titles, direction and format."""

from __future__ import annotations

from typing import NamedTuple


class Score(NamedTuple):
    """One score as it is shown."""

    key: str
    """Its key in log.jsonl, best.json and report.json."""
    title: str
    better: int
    """-1 where a lower value is better, 1 where a higher one is."""
    factor: float = 1.0
    """What the value is multiplied by when it is shown."""
    digits: int = 2
    """Digits after the point."""
    spread: str | None = None
    """Key of its standard deviation, where there is one."""

    @property
    def header(self) -> str:
        """Title with an arrow towards better values, as `FID ↓`."""
        return f"{self.title} {'↑' if self.better > 0 else '↓'}"

    @property
    def direction(self) -> str:
        """`less is better` or `more is better`."""
        return "less is better" if self.better < 0 else "more is better"


SCORES = (
    Score("fid", "FID", -1),
    Score("inception_score", "Inception score", 1, spread="inception_score_std"),
    Score("kid", "KID × 10³", -1, factor=1e3, spread="kid_std"),
    Score("precision", "Precision", 1, digits=3),
    Score("recall", "Recall", 1, digits=3),
)
