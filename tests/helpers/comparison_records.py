"""Records of comparisons as in report.json, with given final FIDs and without training."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from gan.config.choices import NORMS
from gan.config.train_config import TrainConfig
from gan.experiments.compare.arms import Arm
from gan.experiments.compare.plan import CompareConfig, ComparePlan
from gan.experiments.compare.summary import paired_tests, summarize_trainings
from gan.metrics.score_table import SCORES

FinalFids = Mapping[str, Sequence[float | None]]
"""Of each arm, by seed; None: the training diverged."""


def comparison_record(fids: FinalFids | Mapping[str, FinalFids], baseline: str | None = None) -> dict[str, Any]:
    """Return a record of finished trainings.

    Args:
        fids: final FIDs, or those under each setting.
        baseline: arm that the others are tested against.
    """
    by_setting: Mapping[str, Any] = fids if isinstance(next(iter(fids.values())), Mapping) else {"": fids}
    arms = tuple(dict.fromkeys(arm for of_arms in by_setting.values() for arm in of_arms))
    seeds = max(len(values) for of_arms in by_setting.values() for values in of_arms.values())
    done = [
        _training(arm, seed, setting, of_arms[arm][seed])
        for seed in range(seeds)
        for setting, of_arms in by_setting.items()
        for arm in of_arms
        if seed < len(of_arms[arm])
    ]
    norms = tuple(arm for arm in arms if arm in NORMS)
    own_arms = tuple(Arm(arm, {"r1": 1.0 + number}) for number, arm in enumerate(arms) if arm not in NORMS)
    compare = CompareConfig(norms=norms, seeds=seeds, lr_grid="" not in by_setting, baseline=baseline)
    plan = ComparePlan(compare, TrainConfig(), own_arms)
    return {
        "made": time.strftime("%Y-%m-%d"),
        "config": plan.to_dict(),
        "data": {"name": "digits", "images": 1797, "fingerprint": "0123"},
        "planned": len(done),
        "command": "msn-gan compare r",
        "lr_grid": None if "" in by_setting else {"A": {}},
        "rows": summarize_trainings(done, plan, 1000),
        "paired": paired_tests(done, baseline),
        "warnings": [],
        "score_warnings": [],
        "protocol": None,
        "real_grid": None,
        "trainings": done,
    }


DEFAULT_SCORES = ("fid", "inception_score", "kid", "precision", "recall", "density", "coverage")
"""Keys of the scores of a comparison without --report-metrics."""


def _training(arm: str, seed: int, setting: str, fid: float | None) -> dict[str, Any]:
    steps = [100, 200]
    scores = {score.key: [0.5, 0.5 + 0.01 * seed] for score in SCORES[1:] if score.key in DEFAULT_SCORES}
    curve = {"step": steps, "images": steps, "seconds": steps, "fid": [2 * (fid or 50.0), fid or 50.0], **scores}
    final = {key: values[-1] for key, values in curve.items()}
    return {
        "norm": arm,
        "seed": seed,
        "setting": setting,
        "folder": f"{setting}{arm}-seed{seed}",
        "diverged": {"step": 200, "error": "not finite"} if fid is None else None,
        "final": None if fid is None else final,
        "best": final,
        "curve": curve,
        "missing": [],
        "health": {"first": {}, "end": []},
        "parameters": {"discriminator": 1000},
        "start": {"generator": "0" * 64, "discriminator": "1" * 64, "inputs": "2" * 64},
        "runtime": {"device": "cpu", "precision": "32"},
        "versions": {"python": "3.12"},
        "command": "msn-gan train x",
        "images_per_second": 100.0,
        "seconds": 20.0,
        "peak_memory": None,
        "logged": {"images": steps},
        "grid": None,
    }
