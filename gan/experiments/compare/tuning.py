"""Random search with the same settings for every arm: each arm's best setting, and best-of-k curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from scipy.special import bdtr  # scipy.stats has it too, and takes a second to load

from gan.config.base import flag_name
from gan.errors import UsageError
from gan.experiments.compare.plan import ComparePlan
from gan.experiments.compare.rate_settings import random_setting
from gan.experiments.summary import Result, select_results

_TAIL = 0.025  # of a two-sided 95 % interval


class BestOfK(NamedTuple):
    """The final FID that the best of k random settings has, with a 95 % confidence interval."""

    k: int
    median: float | None
    """None: half of all such searches, or more, have only diverged trainings."""
    low: float | None
    """None: so few settings do not bound it."""
    high: float | None


def best_of_k(fids: Sequence[float], k: int) -> BestOfK:
    """The median of the lowest FID of k random settings, estimated from those of K >= k of them.

    The best of k settings is below x with probability 1 - (1 - F(x))^k, where F is the distribution of the FID over
    settings; so its median is the quantile of F at p = 1 - 2^(-1/k). The estimate is that of the K values. Its interval
    is distribution-free: the narrowest order statistics x_(l), x_(u) with P(B < l) <= 2.5 % and P(B >= u) <= 2.5 %,
    where B, the number of values below the quantile, is binomial(K, p) (David and Nagaraja 2003, *Order Statistics*,
    section 7.1). Lucic et al. 2018 (arXiv 1711.10337) plot the mean instead, with intervals of the bootstrap; a mean is
    infinite as soon as one training diverges, and such intervals are too narrow for few settings (arXiv 2311.09480).

    Args:
        fids: final FID under each setting; infinity for a diverged training.
        k: number of settings, at most as many as values.
    """
    count, ordered = len(fids), sorted(fids)
    p = 1 - 2 ** (-1 / k)
    below = [float(bdtr(index, count, p)) for index in range(count)]  # P(B <= index)
    low = max((index for index in range(count) if below[index] <= _TAIL), default=None)  # x_(l), l = index + 1
    high = next((index for index in range(count) if 1 - below[index] <= _TAIL), None)  # x_(u), u = index + 1
    values = (ordered[math.ceil(p * count) - 1], *(None if index is None else ordered[index] for index in (low, high)))
    return BestOfK(k, *(value if value is not None and math.isfinite(value) else None for value in values))


def final_fid(result: Result) -> float:
    """The FID at the end of a training; infinity if it diverged."""
    return result["final"]["fid"] if result["final"] else math.inf


def choose_settings(done: Sequence[Result], plan: ComparePlan) -> dict[str, str | None]:
    """The setting with the lowest final FID of each arm that is trained under all; None if all of them diverged.

    Args:
        done: results of trainings.
    """
    chosen: dict[str, str | None] = {}
    for arm in plan.arms:
        fids = _fids_of(done, arm.name, plan)
        if len(fids) == plan.compare.tune:
            best = min(fids, key=fids.__getitem__)
            chosen[arm.name] = best if math.isfinite(fids[best]) else None
    return chosen


def require_tuned(cell: str, done: Sequence[Result], plan: ComparePlan) -> None:
    """Check that the setting of a training of --then is chosen.

    Args:
        cell: value of `--only`; those of other trainings pass.
        done: results of trainings.

    Raises:
        UsageError: the tuning of its arm is not complete.
    """
    arm = cell.rpartition("/")[0]
    if plan.compare.then and arm in {arm.name for arm in plan.arms} - plan.chosen.keys():
        count = len(_fids_of(done, arm, plan))
        raise UsageError(
            f"--only {cell}: the tuning of {arm} is not complete ({count} of {plan.compare.tune} settings); "
            f"train the others first, such as --only {plan.random_settings[0]}/{arm}/0"
        )


def choice_text(arm: str, setting: str | None, count: int) -> str:
    """Return a line that says which setting is chosen for an arm.

    Args:
        count: number of settings.
    """
    if setting is None:
        return f"{arm}: diverged under all {count} settings, so --then leaves it out"
    return f"{arm}: --then uses {setting}, which has the lowest final FID of {count} settings: {setting_text(setting)}"


def setting_text(name: str) -> str:
    """Return the flags of a random setting."""
    return " ".join(f"{flag_name(key)} {value:g}" for key, value in random_setting(name).items())


def tuning_record(done: Sequence[Result], plan: ComparePlan) -> dict[str, Any]:
    """The entry `tuning` of report.json: `settings`, and for each arm `fids`, `best` and `curve`.

    `fids` has the final FID under each setting that is trained, None if it diverged; `best` is the name of the setting
    with the lowest, None if there is none; `curve` has a `BestOfK` for each k as a dict.

    Args:
        done: results of trainings.
    """
    arms = {}
    for arm in plan.arms:
        if fids := _fids_of(done, arm.name, plan):
            best = min(fids, key=fids.__getitem__)
            arms[arm.name] = {
                "fids": {name: fid if math.isfinite(fid) else None for name, fid in fids.items()},
                "best": best if math.isfinite(fids[best]) else None,
                "curve": [best_of_k(list(fids.values()), k)._asdict() for k in range(1, len(fids) + 1)],
            }
    return {"settings": {name: random_setting(name) for name in plan.random_settings}, "arms": arms}


def _fids_of(done: Sequence[Result], arm: str, plan: ComparePlan) -> Mapping[str, float]:
    """Final FID of an arm under each random setting under which it is trained."""
    results = select_results(done, norm=arm)
    by_setting = {result["setting"]: final_fid(result) for result in results}
    return {name: by_setting[name] for name in plan.random_settings if name in by_setting}
