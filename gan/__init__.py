"""msn-gan: train GANs under spectral and mean spectral normalization, sample from them, and compare them fairly.

The functions of the Python API are imported at their first use, so that `import gan` does not load torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gan.api import (
        ComparisonResult,
        Generator,
        ScoreReport,
        TargetScores,
        TrainedRun,
        compare,
        load_generator,
        sample,
        score,
        train,
    )
    from gan.errors import Diverged, GANWarning, UsageError, UserError
    from gan.utils.listener import Progress

__version__ = "0.1.0"

__all__ = [
    "ComparisonResult",
    "Diverged",
    "GANWarning",
    "Generator",
    "Progress",
    "ScoreReport",
    "TargetScores",
    "TrainedRun",
    "UsageError",
    "UserError",
    "compare",
    "load_generator",
    "sample",
    "score",
    "train",
]

_ELSEWHERE = {
    **dict.fromkeys(("Diverged", "GANWarning", "UsageError", "UserError"), "gan.errors"),
    "Progress": "gan.utils.listener",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_ELSEWHERE.get(name, "gan.api")), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
