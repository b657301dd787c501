"""The table of a comparison on the error of its scores: their spread over draws of latents beside that over seeds."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev, variance

from gan.experiments import report_parts as parts
from gan.experiments.summary import Result, select_results
from gan.metrics.score_table import SCORES
from gan.report.document import Table
from gan.utils.counted import counted

_FID = SCORES[0]


def score_error_table(rows: Sequence[Result], trainings: Sequence[Result]) -> list[Table]:
    """Return the table of the spread of final FID over seeds and over draws; nothing without --report-repeats.

    Args:
        rows: rows of the comparison, which name the arms and settings.
        trainings: results of trainings.
    """
    groups = [select_results(trainings, norm=row["norm"], setting=row["setting"], diverged=None) for row in rows]
    fids = [[result["fid_draws"] for result in group if result.get("fid_draws")] for group in groups]
    draws = max((len(values) for arm in fids for values in arm), default=1)
    if draws < 2:
        return []
    columns = {
        "Arm": [parts.row_name(row) for row in rows],
        "SD over seeds": [_text(_spread([values[0] for values in arm])) for arm in fids],
        "SD over draws": [_text(pooled_spread(arm)) for arm in fids],
        "Seeds": [str(len(arm)) for arm in fids],
        "Draws": [str(draws)] * len(rows),
    }
    notes = [
        f"Standard deviations of the final FID. Over draws: that of one generator over {counted(draws, 'draw')} of "
        "latents, as the square root of its mean variance over the seeds.",
        "The spread over seeds has that over draws in it. A difference of about the SD over draws between two "
        "generators is noise of the score; more images for each score make it smaller.",
    ]
    return [parts.table_of("Error of the final FID", columns, notes)]


def pooled_spread(draws: Sequence[Sequence[float]]) -> float | None:
    """Return the standard deviation within groups, the root of their mean variance (ddof 1); None without any."""
    variances = [variance(values) for values in draws if len(values) > 1]
    return math.sqrt(fmean(variances)) if variances else None


def _spread(values: Sequence[float]) -> float | None:
    return stdev(values) if len(values) > 1 else None


def _text(value: float | None) -> str:
    return parts.number_cell(value, f"{{:.{_FID.digits}f}}")
