"""The conclusion on all arms: what a page says first."""

from __future__ import annotations

import pytest

from gan.experiments.compare.conclusion import conclusions
from tests.helpers.comparison_records import comparison_record

SEEDS = 10
SN = [40.0 + number % 3 for number in range(SEEDS)]
ARMS = {
    "none": [value + 20 + seed / 10 for seed, value in enumerate(SN)],
    "sn": SN,
    "msn": [value - 5 - seed / 10 for seed, value in enumerate(SN)],
    "mean": [value + (-1) ** seed * 0.5 for seed, value in enumerate(SN)],
    "bn": [value + 60 + seed / 10 for seed, value in enumerate(SN)],
}


def first(seeds: int, *arms: str) -> str:
    (text,) = conclusions(comparison_record({arm: ARMS[arm][:seeds] for arm in arms}))
    return text


def test_the_best_of_several_arms() -> None:
    assert first(SEEDS, *ARMS) == (
        "msn has the lowest mean final FID, 35.45. It is significantly lower than that of none, sn, mean and bn "
        "(largest p = 0.0195 after Holm's correction for 10 tests)."
    )
    text = first(SEEDS, "none", "sn", "mean")  # the first two have nothing to do with the answer
    assert text == (
        "sn and mean have the same lowest mean final FID, 40.90. That of sn is significantly lower than that of none "
        "(difference 20.45 ± 0.22, p = 0.00586 after Holm's correction for 3 tests); not significantly different from "
        "that of mean (difference 0.00 ± 0.38, p = 1)."
    )


@pytest.mark.parametrize(
    "seeds, arms, text",
    [
        (
            1,
            2,
            "With 1 seed no difference can be significant: the smallest possible p is 1; p < 0.05 needs at least 6 ",
        ),
        (3, 2, "With 3 seeds no difference can be significant: the smallest possible p is 0.25; p < 0.05 needs at lea"),
        (5, 2, "With 5 seeds no difference can be significant: the smallest possible p is 0.0625; p < 0.05 needs at l"),
        (
            1,
            5,
            "With 1 seed no difference can be significant: the smallest possible p is 1; p < 0.05 needs at least 9 ",
        ),
        (
            3,
            5,
            "With 3 seeds no difference can be significant: the smallest possible p is 0.25, or 1 after Holm's "
            "correction for 10 tests; p < 0.05 needs at least 9 seeds.",
        ),
        (
            6,
            5,
            "With 6 seeds no difference can be significant: the smallest possible p is 0.0312, or 0.312 after Holm's "
            "correction for 10 tests; p < 0.05 needs at least 9 seeds.",
        ),
    ],
)
def test_too_few_seeds(seeds: int, arms: int, text: str) -> None:
    """No order of two arms is claimed where p cannot be small."""
    found = first(seeds, *list(ARMS)[1 : 1 + arms] if arms < 5 else ARMS)
    opening, rest = found.split(". ", 1)
    assert opening.startswith(f"msn has the {'lower' if arms == 2 else 'lowest'} mean final FID, 3")
    assert rest.startswith(text) and "is significantly" not in found and " than " not in found


def test_two_arms() -> None:
    assert first(6, "sn", "msn") == (
        "msn has the lower mean final FID, 35.75. It is significantly lower than that of sn (difference 5.25 ± 0.20, "
        "p = 0.0312)."
    )
    assert first(6, "sn", "mean") == (
        "sn and mean have the same mean final FID, 41.00. That of sn is not significantly different from that of mean "
        "(difference 0.00 ± 0.57, p = 1)."
    )
    assert first(3, "sn") == "There is only one arm, sn, so nothing is compared."


def test_a_baseline() -> None:
    record = comparison_record(ARMS, baseline="sn")
    assert {tuple(test["norms"]) for test in record["paired"]} == {("sn", arm) for arm in ARMS if arm != "sn"}
    assert conclusions(record) == [
        "The mean final FID of the baseline sn is 40.90; the lowest is that of msn, 35.45. Significantly higher: none "
        "and bn (largest p = 0.00781 after Holm's correction for 4 tests); significantly lower: msn (difference "
        "-5.45 ± 0.22, p = 0.00781); not significantly different: mean (difference 0.00 ± 0.38, p = 1)."
    ]
    assert conclusions(comparison_record(ARMS, baseline="msn"))[0].startswith(
        "The mean final FID of the baseline msn is 35.45, the lowest of all. Significantly higher: none, sn, mean"
    )
    absent = comparison_record({"sn": [None] * 3, "msn": [3.0] * 3, "bn": [4.0] * 3}, baseline="sn")
    assert conclusions(absent) == [
        "No seed has both sn and another arm trained to the end, so no difference is tested. Diverged trainings, which "
        "are left out: sn 3 of 3."
    ]


def test_diverged_arms_are_named() -> None:
    bn: list[float | None] = [None] * (SEEDS - 1)
    text = conclusions(comparison_record({**ARMS, "bn": [*bn, 99.0], "mean": [*bn, None]}))[0]
    assert text.startswith("msn has the lowest mean final FID, 35.45. It is significantly lower than that of none and ")
    assert text.endswith(
        "; too few seeds to test against bn. Diverged trainings, which are left out: mean 10 of 10, bn 9 of 10."
    )
    apart = comparison_record({"sn": [1.0, None], "msn": [None, 2.0]})
    assert apart["paired"] == [] and conclusions(apart) == [
        "No seed has two arms trained to the end, so no difference is tested. Diverged trainings, which are left out: "
        "sn 1 of 2, msn 1 of 2."
    ]


def test_the_lowest_mean_may_come_from_other_seeds() -> None:
    """The mean of the arm that diverged in the hard seeds is lowest, but it loses on the seeds that both finished."""
    easy: list[float | None] = [20.0 + seed / 10 for seed in range(8)]
    other = [value - 5 - seed / 10 for seed, value in enumerate([20.0 + seed / 10 for seed in range(8)])]
    text = conclusions(comparison_record({"a": [*easy, None, None], "b": [*other, 90.0, 90.0]}))[0]
    assert text.startswith(
        "a has the lower mean final FID, 20.35. It is significantly higher, on the seeds that both finished, than "
        "that of b (difference -5.35 ± 0.20, p = 0.00781)."
    )


def test_pairs_of_other_arms_are_counted() -> None:
    wide = [30.0 + (-1) ** seed * 60 for seed in range(SEEDS)]
    text = conclusions(comparison_record({"wide": wide, "sn": ARMS["sn"], "none": ARMS["none"]}))[0]
    assert text.endswith("; 1 pair of other arms differs significantly.") and text.startswith("wide has the lowest")


def test_each_setting_has_its_conclusion() -> None:
    record = comparison_record({"A": {"sn": SN, "msn": ARMS["msn"]}, "B": {"sn": SN, "msn": ARMS["none"]}})
    first, second = conclusions(record)
    assert first.startswith("Setting A: msn has the lower") and second.startswith("Setting B: sn has the lower")
    assert "p = 0.00391 after Holm's correction for 2 tests" in first and "for 2 tests" in second


def test_sentences_of_the_tests() -> None:
    def words(seeds: int, *arms: str) -> list[str]:
        record = comparison_record({arm: ARMS[arm][:seeds] for arm in arms})
        return [test["words"] for test in record["paired"] if test["primary"]]

    assert words(3, "sn", "msn") == [
        "Final FID: msn minus sn is -5.10 (-5.20 to -5.00) over 3 seeds. With 3 seeds no difference can be "
        "significant: the smallest possible p is 0.25; p < 0.05 needs at least 6 seeds."
    ]
    assert words(SEEDS, "sn", "msn", "mean")[:2] == [
        "The final FID of msn is significantly lower than that of sn: msn minus sn is -5.45 ± 0.22 over 10 seeds "
        "(p = 0.00586 after Holm's correction for 3 tests).",
        "No significant difference in final FID between sn and mean: mean minus sn is 0.00 ± 0.38 over 10 seeds (p = 1 "
        "after Holm's correction for 3 tests).",
    ]
