"""The Python API: what the commands `train`, `sample`, `report` and `compare` do, as functions

`import gan` has these names too and imports them, with torch, at their first use. docs/python.md is their page.
"""

from gan.api.comparing import ComparisonResult, compare
from gan.api.sampling import Generator, load_generator, sample
from gan.api.scoring import ScoreReport, TargetScores, score
from gan.api.training import TrainedRun, train

__all__ = [
    "ComparisonResult",
    "Generator",
    "ScoreReport",
    "TargetScores",
    "TrainedRun",
    "compare",
    "load_generator",
    "sample",
    "score",
    "train",
]
