"""Conclusions of a comparison in sentences: which arm has the lowest final FID, and from which it differs."""

from collections.abc import Mapping, Sequence
from typing import Any

from gan.experiments.compare.paired_test import LEVEL, differences_from, least_seeds
from gan.experiments.summary import Result, select_results
from gan.metrics.score_table import SCORES
from gan.utils.confidence import mean_text
from gan.utils.counted import counted

Test = Mapping[str, Any]

_FID = SCORES[0]


def describe_test(test: Test, tests: int) -> str:
    """Return the outcome of a primary test in a sentence.

    Args:
        tests: number of primary tests.
    """
    first, second = test["norms"]
    text = (
        f"{second} minus {first} is {mean_text(test['differences'], _FID.digits)} over {counted(test['seeds'], 'seed')}"
    )
    if test["least_p_holm"] >= LEVEL:
        return f"Final FID: {text}. {cannot_be_significant([test], tests)}"
    p = f"{p_value(test, tests)}{correction(tests)}"
    if test["significant"]:
        return f"The final FID of {second} is significantly {_side(test)} than that of {first}: {text} ({p})."
    return f"No significant difference in final FID between {first} and {second}: {text} ({p})."


def cannot_be_significant(primary: Sequence[Test], tests: int) -> str:
    """Return the sentence on tests none of which can be significant, with the number of seeds that could.

    Args:
        primary: some of the primary tests.
        tests: number of all of them.
    """
    seeds = counted(max(test["seeds"] for test in primary), "seed")
    return (
        f"With {seeds} no difference can be significant: the smallest possible p is {least_p_text(primary, tests)}; "
        f"p < {LEVEL} needs at least {counted(least_seeds(tests), 'seed')}."
    )


def least_p_text(primary: Sequence[Test], tests: int) -> str:
    """Return the smallest possible p of the tests, and after correction, as `0.25, or 1 after Holm's correction`."""
    least = f"{min(test['least_p'] for test in primary):.3g}"
    corrected = f"{min(test['least_p_holm'] for test in primary):.3g}"
    return least if least == corrected else f"{least}, or {corrected}{correction(tests)}"


def p_value(test: Test, tests: int) -> str:
    """Return the p by which a primary test is judged, as `p = 0.031`."""
    return f"p = {test['p' if tests == 1 else 'p_holm']:.3g}"


def correction(tests: int) -> str:
    """Return what follows a corrected p; nothing after that of a single test."""
    return f" after Holm's correction for {tests} tests" if tests > 1 else ""


def conclusions(record: Mapping[str, Any]) -> list[str]:
    """Return the conclusion on final FID under each setting, in one to three sentences.

    Args:
        record: content of report.json.
    """
    primary = [test for test in record["paired"] if test["primary"]]
    baseline = record["config"].get("baseline")
    return [
        f"{f'Setting {setting}: ' if setting else ''}"
        + _conclusion(
            select_results(record["rows"], setting=setting), select_results(primary, setting=setting), primary, baseline
        )
        for setting in dict.fromkeys(row["setting"] for row in record["rows"])
    ]


def _conclusion(rows: Sequence[Result], tests: Sequence[Test], primary: Sequence[Test], baseline: str | None) -> str:
    if not tests and len(rows) == 1:
        text = f"There is only one arm, {rows[0]['norm']}, so nothing is compared."
    elif not tests:
        pair = "two arms" if baseline is None else f"both {baseline} and another arm"
        text = f"No seed has {pair} trained to the end, so no difference is tested."
    else:
        text = f"{_opening(rows, baseline)} {_verdict(rows, tests, len(primary), baseline)}"
    if diverged := [f"{row['norm']} {row['diverged']} of {row['seeds']}" for row in rows if row["diverged"]]:
        text += f" Diverged trainings, which are left out: {', '.join(diverged)}."
    return text


def best_arms(rows: Sequence[Result]) -> list[str]:
    """Return the arm with the lowest mean final FID, or several with equal means; none if no training has a score."""
    means = {row["norm"]: row["final"]["fid"]["mean"] for row in rows if row["final"]["fid"]["values"]}
    return [arm for arm, mean in means.items() if mean == min(means.values())]


def reference_arm(rows: Sequence[Result], baseline: str | None) -> str | None:
    """Return the arm that others are compared with: the baseline, or else that with the lowest mean final FID."""
    return baseline or next(iter(best_arms(rows)), None)


def _opening(rows: Sequence[Result], baseline: str | None) -> str:
    means = {row["norm"]: f"{row['final']['fid']['mean']:.2f}" for row in rows if row["final"]["fid"]["values"]}
    best = best_arms(rows)
    if baseline is None:
        lowest = "lower" if len(means) == 2 else "lowest"
        words = f"has the {lowest}" if len(best) == 1 else f"have the same{' lowest' if len(best) < len(means) else ''}"
        return f"{_listed(best)} {words} mean final FID, {means[best[0]]}."
    lowest = ", the lowest of all" if baseline in best else f"; the lowest is that of {_listed(best)}, {means[best[0]]}"
    return f"The mean final FID of the baseline {baseline} is {means[baseline]}{lowest}."


def _verdict(rows: Sequence[Result], tests: Sequence[Test], count: int, baseline: str | None) -> str:
    if all(test["least_p_holm"] >= LEVEL for test in tests):
        return cannot_be_significant(tests, count)
    reference = reference_arm(rows, baseline)
    assert reference is not None
    against = [test for test in differences_from(tests, reference) if test["least_p_holm"] < LEVEL]
    clauses, corrected = [], correction(count)
    for side in ("higher", "lower", None):
        group = [test for test in against if (_side(test) if test["significant"] else None) == side]
        if group:
            extreme = (max if side else min)(group, key=lambda test: test["p_holm"])
            which = (
                f"difference {mean_text(extreme['differences'], _FID.digits)}, "
                if len(group) == 1
                else ("largest " if side else "smallest ")
            )
            p = f"{which}{p_value(extreme, count)}{corrected}"
            words = _SIDES_OF_BEST[side] if baseline is None else _SIDES_OF_BASELINE[side]
            clauses.append(f"{words} {_listed([test['norms'][1] for test in group])} ({p})")
            corrected = ""
    tested = {reference, *(test["norms"][1] for test in against)}
    if untested := [row["norm"] for row in rows if row["final"]["fid"]["values"] and row["norm"] not in tested]:
        clauses.append(f"too few seeds to test against {_listed(untested)}")
    others = sum(test["significant"] for test in tests)
    if others and not any(test["significant"] for test in against):
        clauses.append(
            f"{counted(others, 'pair')} of other arms {'differs' if others == 1 else 'differ'} significantly"
        )
    text = "; ".join(clauses)
    if baseline is None and against:
        return f"{'It' if len(best_arms(rows)) == 1 else f'That of {reference}'} is {text}."
    return f"{text[0].upper()}{text[1:]}."


_SIDES_OF_BEST = {
    "higher": "significantly lower than that of",
    "lower": "significantly higher, on the seeds that both finished, than that of",
    None: "not significantly different from that of",
}
_SIDES_OF_BASELINE = {
    "higher": "significantly higher:",
    "lower": "significantly lower:",
    None: "not significantly different:",
}


def _side(test: Test) -> str:
    return "higher" if test["difference"] > 0 else "lower"


def _listed(names: Sequence[str]) -> str:
    """Join names, as `bn, sn and msn`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
