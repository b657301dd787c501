"""Table rows, paired tests and warnings over all trainings of a comparison, for report.json."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gan.experiments.compare.paired_test import describe_test, paired_test
from gan.experiments.compare.plan import ComparePlan
from gan.experiments.provenance import provenance_warnings
from gan.experiments.summary import Result, count_fields, mean_and_half_width, median_of, select_results
from gan.metrics.score_table import SCORES, measured_scores

_INITIAL_STATE = {
    "generator": "generator weights",
    "discriminator": "raw discriminator weights",
    "inputs": "images and latents of the first step",
}


def summarize_trainings(
    done: Sequence[dict[str, Any]], plan: ComparePlan, plain_parameters: int
) -> list[dict[str, Any]]:
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


def paired_tests(done: Sequence[dict[str, Any]], plan: ComparePlan) -> list[dict[str, Any]]:
    """Return tests of the first two norms, under each setting, for each final score and for the best FID.

    A seed counts if both norms were trained to their end; `left_out` lists the other seeds with a result. The tests are
    not corrected for their number, so only that of the final FID is `primary` and has its outcome in `words`.
    """
    if len(plan.compare.norms) < 2:
        return []
    norms = plan.compare.norms[0], plan.compare.norms[1]
    groups = {setting: select_results(done, setting=setting) for setting in plan.settings}
    return [test for setting, results in groups.items() for test in _paired_tests(results, setting, norms)]


def _paired_tests(results: Sequence[Result], setting: str, norms: tuple[str, str]) -> Iterator[dict[str, Any]]:
    complete: list[dict[int, Mapping[str, Any]]] = [
        {result["seed"]: result for result in select_results(results, norm=norm) if result["final"]} for norm in norms
    ]
    seeds = sorted(complete[0].keys() & complete[1].keys())
    if not seeds:
        return
    finished = {result["seed"] for result in results if result["norm"] in norms}
    for kind, score in (*(("final", score) for score in measured_scores(results)), ("best", SCORES[0])):
        first, second = ([by_seed[seed][kind][score.key] for seed in seeds] for by_seed in complete)
        test = paired_test(first, second)
        primary = (kind, score) == ("final", SCORES[0])
        yield {
            "setting": setting,
            "norms": list(norms),
            "score": score.key,
            "kind": kind,
            "primary": primary,
            **test,
            "seeds_used": seeds,
            "left_out": sorted(finished - set(seeds)),
            "words": describe_test(test, score.title, norms, score.digits, score.factor) if primary else None,
        }


def comparison_warnings(done: Sequence[dict[str, Any]]) -> list[str]:
    """Return warnings about unequal conditions, and about what the report leaves out; not those about scores."""
    lines = []
    for seed in sorted({result["seed"] for result in done}):
        results = select_results(done, seed=seed)
        for part, description in _INITIAL_STATE.items():
            for setting in dict.fromkeys(result["setting"] for result in results):
                if len({result["start"][part] for result in select_results(results, setting=setting)}) > 1:
                    lines.append(f"Unequal start: the norms of seed {seed} did not start from the same {description}.")
    lines += provenance_warnings(done)
    for result in done:
        if result["missing"]:
            steps = ", ".join(f"{step:,}" for step in result["missing"])
            lines.append(f"{result['folder']} has no score at step {steps}; the curves omit it.")
        if result["grid"] is None:
            lines.append(f"{result['folder']} has no sample grid, so none is shown.")
    return lines
