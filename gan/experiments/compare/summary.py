"""Table rows, paired tests and warnings over all trainings of a comparison, for report.json."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from gan.experiments.compare.arms import start_fields
from gan.experiments.compare.conclusion import describe_test
from gan.experiments.compare.paired_test import LEVEL, holm, paired_test
from gan.experiments.compare.plan import ComparePlan
from gan.experiments.compare.power import seeds_needed
from gan.experiments.provenance import provenance_warnings
from gan.experiments.summary import Result, count_fields, mean_and_half_width, median_of, select_results
from gan.metrics.score_table import SCORES, measured_scores

SHOWN_DIFFERENCES = (1, 2, 5)
"""Differences of FID for which the number of seeds needed is reported."""

_UNEQUAL_SECONDS = 1.1  # ratio of training times beyond which --budget seconds warns

START_WORDS = {
    "generator": "generator weights",
    "discriminator": "raw discriminator weights",
    "inputs": "images and latents of the first step",
}


def summarize_trainings(done: Sequence[Result], plan: ComparePlan, plain_parameters: int) -> list[dict[str, Any]]:
    """Return a row for each setting and arm: means over the seeds that did not diverge, and counts.

    `survival` counts the outcomes of the finished seeds: `diverged`, `collapsed` (flagged at the end) or `ok`.

    Args:
        done: what `read_training_result` returns.
        plain_parameters: parameter count of the discriminator without normalization.
    """
    return [
        {"setting": setting, "norm": arm.name, **_row(results, plain_parameters)}
        for setting in plan.settings
        for arm in plan.arms
        if (results := select_results(done, norm=arm.name, setting=setting))
    ]


def _row(results: Sequence[Result], plain_parameters: int) -> dict[str, Any]:
    complete = [result for result in results if result["final"]]
    raised = Counter(name for result in results for name in result["health"]["first"])
    at_end = Counter(name for result in results if not result["diverged"] for name in result["health"]["end"])
    return {
        **count_fields(results, results[0]["parameters"]["discriminator"], plain_parameters),
        "survival": dict(Counter(map(_outcome, results))),
        "health": {name: {"raised": count, "at_end": at_end[name]} for name, count in sorted(raised.items())},
        "images_per_second": median_of(results, "images_per_second"),
        "seconds": median_of(complete, "seconds"),
        "peak_memory": max((result["peak_memory"] for result in results if result["peak_memory"]), default=None),
        "best_step": median_of([result["best"] for result in complete], "step"),
        **{
            kind: {
                score.key: _interval([result[kind][score.key] for result in complete])
                for score in measured_scores(results)
            }
            for kind in ("final", "best")
        },
    }


def _outcome(result: Result) -> str:
    if result["diverged"]:
        return "diverged"
    return "collapsed" if "g-collapsed" in result["health"]["end"] else "ok"


def _interval(values: list[float]) -> dict[str, Any]:
    mean, half_width = mean_and_half_width(values)
    return {"mean": mean, "half_width": half_width, "values": values}


def paired_tests(done: Sequence[Result], baseline: str | None = None) -> list[dict[str, Any]]:
    """Return tests of all pairs of arms, under each setting, for each final score and for the best FID.

    A seed counts if both arms were trained to their end; `left_out` lists the other seeds with a result. Conclusions
    are drawn from the final FID only: its tests are `primary`. They have `p_holm`, corrected for the number of primary
    tests, `least_p_holm`, its smallest possible value for these numbers of seeds, `significant`, the outcome in
    `words`, and `seeds_needed` to show each of `SHOWN_DIFFERENCES`. In the others these and `p` are None.

    Args:
        done: what `read_training_result` returns.
        baseline: arm that each other arm is tested against; None to test all pairs.
    """
    arms = list(dict.fromkeys(result["norm"] for result in done))
    pairs = list(combinations(arms, 2)) if baseline is None else [(baseline, arm) for arm in arms if arm != baseline]
    tests = [
        test
        for setting in dict.fromkeys(result["setting"] for result in done)
        for pair in pairs
        for test in _tests_of_pair(select_results(done, setting=setting), setting, pair)
    ]
    primary = [test for test in tests if test["primary"]]
    corrected, least = (holm([test[key] for test in primary]) for key in ("p", "least_p"))
    for test, p, smallest in zip(primary, corrected, least, strict=True):
        test |= {"p_holm": p, "least_p_holm": smallest, "significant": p < LEVEL}
        test["words"] = describe_test(test, len(primary))
        if test["spread"] is not None:
            test["seeds_needed"] = {
                str(size): seeds_needed(size, test["spread"], len(primary)) for size in SHOWN_DIFFERENCES
            }
    return tests


def _tests_of_pair(results: Sequence[Result], setting: str, pair: tuple[str, str]) -> Iterator[dict[str, Any]]:
    complete: list[dict[int, Mapping[str, Any]]] = [
        {result["seed"]: result for result in select_results(results, norm=arm) if result["final"]} for arm in pair
    ]
    seeds = sorted(complete[0].keys() & complete[1].keys())
    if not seeds:
        return
    finished = {result["seed"] for result in results if result["norm"] in pair}
    for kind, score in (*(("final", score) for score in measured_scores(results)), ("best", SCORES[0])):
        first, second = ([by_seed[seed][kind][score.key] for seed in seeds] for by_seed in complete)
        primary = (kind, score) == ("final", SCORES[0])
        yield {
            "setting": setting,
            "norms": list(pair),
            "score": score.key,
            "kind": kind,
            "primary": primary,
            **paired_test(first, second, tested=primary),
            "seeds_used": seeds,
            "left_out": sorted(finished - set(seeds)),
            **dict.fromkeys(("p_holm", "least_p_holm", "significant", "seeds_needed", "words")),
        }


def _unequal_seconds(done: Sequence[Result]) -> list[str]:
    """Return a warning if the trainings of the arms took times that differ by more than a tenth."""
    arms = dict.fromkeys(result["norm"] for result in done)
    complete = {arm: [result for result in select_results(done, norm=arm) if result["final"]] for arm in arms}
    seconds = {arm: value for arm in arms if (value := median_of(complete[arm], "seconds"))}
    if not seconds or max(seconds.values()) <= _UNEQUAL_SECONDS * min(seconds.values()):
        return []
    text = ", ".join(f"{arm} {value:,.1f} s" for arm, value in seconds.items())
    return [f"Unequal time: trainings took {text} (medians), so the time of a step changed after it was measured."]


def comparison_warnings(done: Sequence[Result], plan: ComparePlan) -> list[str]:
    """Return warnings about unequal conditions, and about what the report leaves out; not those about scores."""
    lines = []
    arms = {arm.name: arm for arm in plan.arms}
    for seed, setting in sorted({(result["seed"], result["setting"]) for result in done}):
        results = select_results(done, seed=seed, setting=setting)
        for part, description in START_WORDS.items():
            starts: dict[Any, set[str]] = {}  # of arms that should start alike
            for result in results:
                config = plan.arm_config(arms[result["norm"]], setting)
                starts.setdefault(start_fields(part, config), set()).add(result["start"][part])
            if any(len(hashes) > 1 for hashes in starts.values()):
                lines.append(f"Unequal start: the arms of seed {seed} did not start from the same {description}.")
    if plan.compare.budget == "seconds":
        lines += _unequal_seconds(done)
    lines += provenance_warnings(done)
    curves = [result["curve"] for result in done if result["curve"]]
    if partial := [score.title for score in SCORES if len({score.key in curve for curve in curves}) > 1]:
        lines.append(f"Not all trainings have these scores, which are not shown: {', '.join(partial)}.")
    for result in done:
        if result["missing"]:
            steps = ", ".join(f"{step:,}" for step in result["missing"])
            lines.append(f"{result['folder']} has no score at step {steps}; the curves omit it.")
    if without := [result["folder"] for result in done if result["grid"] is None]:
        lines.append(f"No sample grid, so none is shown: {', '.join(without)}.")
    return lines
