"""Tables of the paired tests of a comparison."""

from collections.abc import Mapping, Sequence
from typing import Any

from gan.experiments import report_parts as parts
from gan.experiments.compare.conclusion import (
    Test,
    cannot_be_significant,
    correction,
    least_p_text,
    p_value,
    reference_arm,
)
from gan.experiments.compare.paired_test import LEVEL, MOST_EXACT, SAMPLED, differences_from, least_seeds
from gan.experiments.compare.power import MOST_NEEDED, POWER
from gan.experiments.summary import select_results
from gan.metrics.score_table import SCORES
from gan.report.document import Table
from gan.utils.confidence import LEAST_RUNS, mean_text
from gan.utils.counted import counted

_FID = SCORES[0]


def paired_tables(record: parts.Record) -> list[Table]:
    """Return the tests of final FID against the reference arm, the matrices of all pairs, and the other scores.

    The reference is the baseline, or the arm with the lowest mean final FID under the setting. There is a matrix for
    each setting with three arms or more, unless there is a baseline.
    """
    primary = [test for test in record["paired"] if test["primary"]]
    if not primary:
        return []
    baseline = record["config"].get("baseline")
    settings = parts.unique(record["rows"], "setting")
    references = {
        setting: reference_arm(select_results(record["rows"], setting=setting), baseline) for setting in settings
    }
    against = [
        test
        for setting, arm in references.items()
        if arm is not None
        for test in differences_from(select_results(record["paired"], setting=setting), arm)
    ]
    tables = [_test_table(against, primary, baseline), _other_scores(against)]
    if baseline is None:
        matrices = (_matrix(record, setting, len(primary)) for setting in settings)
        tables[1:1] = [matrix for matrix in matrices if matrix]
    return tables


def difference_name(test: Test) -> str:
    """Return the name of a difference, as `sn − msn` or `A: sn − msn`."""
    first, second = test["norms"]
    return f"{test['setting']}{': ' if test['setting'] else ''}{second} − {first}"


def _test_table(against: Sequence[Test], primary: Sequence[Test], baseline: str | None) -> Table:
    tests = [test for test in against if test["primary"]]
    columns = {
        "Difference": [difference_name(test) for test in tests],
        "FID": [mean_text(test["differences"], _FID.digits) for test in tests],
        "Effect size": [parts.number_cell(test["effect_size"], "{:.2f}") for test in tests],
        "p": [f"{test['p']:.3g}" for test in tests],
    }
    if len(primary) > 1:
        columns["Corrected p"] = [f"{test['p_holm']:.3g}" for test in tests]
    best = {(row, len(columns) - 1) for row, test in enumerate(tests) if test["significant"]}
    columns["Seeds"] = [str(test["seeds"]) for test in tests]
    sizes: Mapping[str, int | None] = next((test["seeds_needed"] for test in primary if test["seeds_needed"]), {})
    if sizes:
        columns[f"Seeds to show {', '.join(sizes)} FID"] = [_seeds_cell(test["seeds_needed"]) for test in tests]
    notes = [
        f"Difference of final FID, paired by seed: the mean, with its 95 % confidence interval (Student's t, of this "
        f"difference alone), or with the range in brackets if there are fewer than {LEAST_RUNS} seeds. Effect size: "
        "Cohen's d_z, the mean difference divided by its standard deviation.",
        _p_note(tests),
        *([_correction_note(primary, baseline)] if len(primary) > 1 else ()),
        _least_p_note(primary),
        *([_power_note(list(sizes), len(primary))] if sizes else ()),
    ]
    left_out: dict[tuple[int, ...], list[str]] = {}
    for test in tests:
        if test["left_out"]:
            left_out.setdefault(tuple(test["left_out"]), []).append(difference_name(test))
    for seeds, names in left_out.items():
        notes.append(
            f"Seeds left out of {', '.join(names)}, because one of the two arms was not trained to the end: "
            f"{', '.join(map(str, seeds))}."
        )
    return parts.table_of("Paired tests of final FID", columns, notes, best)


def _p_note(tests: Sequence[Test]) -> str:
    text = "p: exact two-sided sign-flip test over all 2ⁿ sign assignments of n seeds"
    if all(test["seeds"] <= MOST_EXACT for test in tests):
        return f"{text}."
    return f"{text}; with more than {MOST_EXACT} seeds, over the observed and {SAMPLED:,} random ones."


def _seeds_cell(needed: Mapping[str, int | None] | None) -> str:
    if needed is None:
        return "-"
    return "; ".join(f"over {MOST_NEEDED:,}" if seeds is None else f"{seeds:,}" for seeds in needed.values())


def _correction_note(primary: Sequence[Test], baseline: str | None) -> str:
    several = len({test["setting"] for test in primary}) > 1
    family = f"{'all pairs of arms' if baseline is None else f'each arm against {baseline}'}" + (
        ", under all settings" if several else ""
    )
    text = (
        f"Corrected p: by Holm's method for the {len(primary)} tests of final FID ({family}). A difference is "
        f"significant, and highlighted, if it is below {LEVEL}; the chance of any false one among them is then at most "
        "5 %."
    )
    if baseline is None:
        text += (
            " The arm with the lowest mean is chosen from the same seeds, so the sizes of the differences from it are "
            "optimistic."
        )
    return text


def _least_p_note(primary: Sequence[Test]) -> str:
    if all(test["least_p_holm"] >= LEVEL for test in primary):
        return cannot_be_significant(primary, len(primary))
    return (
        f"The smallest possible p with {counted(max(test['seeds'] for test in primary), 'seed')} is "
        f"{least_p_text(primary, len(primary))}; p < {LEVEL} needs at least "
        f"{counted(least_seeds(len(primary)), 'seed')}."
    )


def _power_note(sizes: Sequence[str], tests: int) -> str:
    at = f"p < {LEVEL}{correction(tests)}"
    return (
        f"Seeds to show {', '.join(sizes)} FID: with so many, a true difference of this size gives {at} with a "
        f"probability of {POWER * 100:.0f} %, if differences are normal with the standard deviation seen for this "
        "pair. That is uncertain itself: the true one is 0.52 to 6.3 times as large with three seeds, and 0.62 to 2.5 "
        "times with six (95 % confidence)."
    )


def _other_scores(against: Sequence[Test]) -> Table:
    tests = [test for test in against if test["primary"]]
    columns = {"Difference": [difference_name(test) for test in tests]}
    for kind, score in (*(("final", score) for score in SCORES[1:]), ("best", _FID)):
        of_score = {
            difference_name(test): parts.mean_cell(test["differences"], digits=score.digits, factor=score.factor)
            for test in select_results(against, kind=kind, score=score.key)
        }
        if not of_score:
            continue
        columns[f"Best {score.title}" if kind == "best" else score.title] = [
            of_score.get(name, "-") for name in columns["Difference"]
        ]
    note = (
        "Mean difference with its 95 % confidence interval or range, as above. No conclusion is drawn from these "
        "scores, and they are not corrected for multiple testing: some intervals may exclude 0 by chance, so take them "
        "as hints."
    )
    return parts.table_of("Differences of the other scores", columns, [note])


def _matrix(record: parts.Record, setting: str, count: int) -> Table | None:
    """Return the differences of all pairs as a triangle: row minus column, in order of mean final FID."""
    rows = [row for row in select_results(record["rows"], setting=setting) if row["final"]["fid"]["values"]]
    arms = [row["norm"] for row in sorted(rows, key=lambda row: row["final"]["fid"]["mean"])]
    if len(arms) < 3:
        return None
    primary = select_results(record["paired"], setting=setting, primary=True)
    cells: dict[tuple[str, str], Mapping[str, Any]] = {
        (test["norms"][1], arm): test for arm in arms for test in differences_from(primary, arm)
    }
    columns, best = {"Row minus column": arms[1:]}, set()
    for column, arm in enumerate(arms[:-1]):
        below = [cells.get((other, arm)) for other in arms[1:]]
        columns[arm] = ["" if row < column else _matrix_cell(test, count) for row, test in enumerate(below)]
        best |= {(row, column + 1) for row, test in enumerate(below) if row >= column and test and test["significant"]}
    where = f", setting {setting}" if setting else ""
    note = (
        f"Arms in order of their mean final FID, the lowest first. The mean difference with its interval or range, and "
        f"p{correction(count)}; highlighted where p < {LEVEL}."
    )
    return parts.table_of(f"Differences of final FID between all arms{where}", columns, [note], best)


def _matrix_cell(test: Test | None, count: int) -> str:
    """Return a cell such as `1.20 ± 0.30 (p = 0.03)` or `1.20 (0.90 to 1.40) (p = 1)`."""
    return "-" if test is None else f"{mean_text(test['differences'], _FID.digits)} ({p_value(test, count)})"
