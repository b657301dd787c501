"""The numbers of all trainings together: a row for each norm and setting, and the paired tests; for report.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

from gan.experiments import provenance
from gan.experiments.compare.paired_test import describe_test, paired_test
from gan.experiments.compare.plan import ComparePlan
from gan.experiments.compare.results import SCORES
from gan.utils.confidence import confidence_interval


def summarize_trainings(
    done: Sequence[dict[str, Any]], plan: ComparePlan, plain_parameters: int
) -> list[dict[str, Any]]:
    """A row for each setting and norm: means over the seeds that did not diverge, and how many did.

    `survival` is what the seeds that are done came to: `diverged`, `collapsed` (flagged at the end) or `ok`, counted.

    Args:
        done: what `results.read` gave.
        plain_parameters: of the discriminator without any norm.
    """
    rows = []
    for setting in plan.settings:
        for norm in plan.which.norms:
            own = [result for result in done if (result["norm"], result["setting"]) == (norm, setting)]
            if own:
                rows.append({"setting": setting, "norm": norm, **_row(own, plain_parameters)})
    return rows


def _row(own: Sequence[dict[str, Any]], plain_parameters: int) -> dict[str, Any]:
    whole = [result for result in own if result["final"]]
    parameters = own[0]["parameters"]["discriminator"]
    raised = Counter(name for result in own for name in result["health"]["first"])
    at_end = Counter(name for result in own if not result["diverged"] for name in result["health"]["end"])
    return {
        "seeds": len(own),
        "diverged": sum(result["diverged"] is not None for result in own),
        "survival": dict(Counter(map(_survival, own))),
        "health": {name: {"raised": count, "at_end": at_end[name]} for name, count in sorted(raised.items())},
        "parameters": parameters,
        "added_parameters": parameters - plain_parameters,
        "images_per_second": _median(own, "images_per_second"),
        "seconds": _median(whole, "seconds"),
        "peak_memory": max((result["peak_memory"] for result in own if result["peak_memory"]), default=None),
        "best_step": _median([result["best"] for result in whole], "step"),
        **{
            kind: {score.key: _interval([result[kind][score.key] for result in whole]) for score in SCORES}
            for kind in ("final", "best")
        },
    }


def _survival(result: dict[str, Any]) -> str:
    if result["diverged"]:
        return "diverged"
    return "collapsed" if "g-collapsed" in result["health"]["end"] else "ok"


def _median(rows: Sequence[dict[str, Any]], key: str) -> float | None:
    values = [row[key] for row in rows if row[key] is not None]
    return median(values) if values else None


def _interval(values: Sequence[float]) -> dict[str, Any]:
    found = confidence_interval(values) if values else None
    return {
        "mean": found.mean if found else None,
        "half_width": found.half if found else None,
        "values": list(values),
    }


def paired_tests(done: Sequence[dict[str, Any]], plan: ComparePlan) -> list[dict[str, Any]]:
    """Tests of the first two norms, under each setting, for each score at the end and for the best FID.

    Only seeds with both norms at their end count; `left_out` are the others that have begun. Nothing corrects for how
    many tests there are, so one alone is `primary`, that of FID at the end, and has its outcome in `words`.
    """
    if len(plan.which.norms) < 2:
        return []
    names = (plan.which.norms[0], plan.which.norms[1])
    tests = []
    for setting in plan.settings:
        ends = [
            {
                result["seed"]: result
                for result in done
                if (result["norm"], result["setting"]) == (norm, setting) and result["final"]
            }
            for norm in names
        ]
        begun = {result["seed"] for result in done if result["setting"] == setting and result["norm"] in names}
        seeds = sorted(ends[0].keys() & ends[1].keys())
        if not seeds:
            continue
        for kind, scores in (("final", SCORES), ("best", SCORES[:1])):
            for score in scores:
                first, second = ([end[seed][kind][score.key] for seed in seeds] for end in ends)
                test = paired_test(first, second)
                primary = (kind, score) == ("final", SCORES[0])
                tests.append(
                    {
                        "setting": setting,
                        "norms": list(names),
                        "score": score.key,
                        "kind": kind,
                        "primary": primary,
                        **test,
                        "seeds_used": seeds,
                        "left_out": sorted(begun - set(seeds)),
                        "words": describe_test(test, score.title, names, score.digits, score.factor)
                        if primary
                        else None,
                    }
                )
    return tests


def comparison_warnings(done: Sequence[dict[str, Any]]) -> list[str]:
    """What would make the comparison less than fair, or leaves something out of it."""
    lines = []
    for seed in sorted({result["seed"] for result in done}):
        own = [result for result in done if result["seed"] == seed]
        for part, what in (
            ("generator", "generator weights"),
            ("discriminator", "raw discriminator weights"),
            ("inputs", "images and latents of the first step"),
        ):
            for setting in dict.fromkeys(result["setting"] for result in own):
                starts = {result["start"][part] for result in own if result["setting"] == setting}
                if len(starts) > 1:
                    lines.append(f"Not fair: the norms of seed {seed} did not start from the same {what}.")
    lines += provenance.provenance_warnings(done)
    for result in done:
        if result["missing"]:
            steps = ", ".join(f"{step:,}" for step in result["missing"])
            lines.append(f"{result['folder']} has no score at step {steps}; the curves leave that out.")
        if result["grid"] is None:
            lines.append(f"{result['folder']} has no sample grid, so none is shown.")
    return lines
