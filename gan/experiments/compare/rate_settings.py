"""Learning rates, betas and updates of D under which arms are compared: the grid of a paper, and random ones."""

from __future__ import annotations

import math
from typing import Any

RATES = ("g_lr", "d_lr", "beta1", "beta2", "n_dis")
"""The fields of `TrainConfig` that a setting has."""

# The settings with which Miyato et al. 2018 compare norms (arXiv 1802.05957, table 1).
LR_GRID: dict[str, dict[str, Any]] = {
    name: dict(zip(RATES, (rate, rate, *others), strict=True))
    for name, rate, *others in (
        ("A", 1e-4, 0.5, 0.9, 5),
        ("B", 1e-4, 0.5, 0.999, 1),
        ("C", 2e-4, 0.5, 0.999, 1),
        ("D", 1e-3, 0.5, 0.9, 5),
        ("E", 1e-3, 0.5, 0.999, 5),
        ("F", 1e-3, 0.9, 0.999, 5),
    )
}

LR_RANGE = (2e-5, 2e-3)
BETA1_RANGE = (0.0, 0.9)
BETA2_RANGE = (0.9, 0.999)
N_DIS_CHOICES = (1, 5)
RANGES_TEXT = (
    f"learning rates of G and D independent, log-uniform from {LR_RANGE[0]:g} to {LR_RANGE[1]:g}; beta1 uniform from "
    f"{BETA1_RANGE[0]:g} to {BETA1_RANGE[1]:g}; 1 - beta2 log-uniform from {1 - BETA2_RANGE[1]:.3g} to "
    f"{1 - BETA2_RANGE[0]:.3g}; n_dis {' or '.join(map(str, N_DIS_CHOICES))}"
)


def setting_names(count: int) -> tuple[str, ...]:
    """Names of the first random settings: t1, t2, ..."""
    return tuple(f"t{number}" for number in range(1, count + 1))


def random_setting(name: str) -> dict[str, Any]:
    """The values of a random setting: a function of its name alone, equal for all arms and comparisons.

    As in Lucic et al. 2018 (arXiv 1711.10337), learning rates are log-uniform and n_dis is 1 or 5. G and D have a rate
    each, and the ranges are between their wide and narrow ones, for searches of less than their 100 settings. Values
    are rounded, so that flags repeat them exactly.

    Args:
        name: one of `setting_names`.
    """
    import torch  # takes a second to load, and `--help` needs none

    from gan.utils.random_streams import TUNING, random_stream

    stream = random_stream(0, TUNING, int(name[1:]))
    g_lr, d_lr, beta1, beta2, n_dis = torch.rand(5, generator=stream, dtype=torch.float64).tolist()
    low, high = BETA1_RANGE
    return {
        "g_lr": _log_uniform(g_lr, *LR_RANGE),
        "d_lr": _log_uniform(d_lr, *LR_RANGE),
        "beta1": round(low + (high - low) * beta1, 2),
        "beta2": round(1 - _log_uniform(beta2, 1 - BETA2_RANGE[0], 1 - BETA2_RANGE[1]), 4),
        "n_dis": N_DIS_CHOICES[int(n_dis * len(N_DIS_CHOICES))],
    }


def _log_uniform(share: float, low: float, high: float) -> float:
    """The value at a share of the range, on a log scale, with three significant digits."""
    return float(f"{math.exp(math.log(low) + share * (math.log(high) - math.log(low))):.3g}")
