"""Targets with different numbers of images: equal numbers are scored, and the report says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gan.errors import UserError
from gan.evaluation.comparable import check_listings, images_to_score
from gan.evaluation.report import evaluation_report
from gan.evaluation.targets import ImageListing, Target
from tests.helpers.reports import ask, trained


def target(name: str, count: int | None) -> Target:
    stream: Any = None
    return Target(name, name, Path(name), "images" if count else "checkpoint", 32, 3, count, stream)


@pytest.mark.parametrize(
    "counts, real, num, equal, expected",
    [
        ([100, 40], [500, 500], None, True, [40, 40]),
        ([None, 40], [500, 500], None, True, [40, 40]),
        ([None, 900], [500, 500], None, True, [500, 500]),
        ([None, None], [500, 70_000], None, True, [500, 500]),
        ([None], [70_000], None, True, [50_000]),
        ([100, 40], [500, 500], 30, True, [30, 30]),
        ([100, 40], [500, 500], None, False, [100, 40]),
        ([None, 40], [None, None], 20, True, [20, 20]),
    ],
)
def test_equal_numbers_are_scored(
    counts: list[int | None], real: list[int | None], num: int | None, equal: bool, expected: list[int]
) -> None:
    entries = [target(f"set-{number}", count) for number, count in enumerate(counts)]
    assert images_to_score(entries, real, num, equal=equal)[0] == expected


def test_the_smallest_set_is_named() -> None:
    counts, note = images_to_score([target("large", 1000), target("small", 40)], [500, 500], None, equal=True)
    assert counts == [40, 40]
    assert note == "40 images of each target are scored, as small has no more (the largest has 1,000)"
    assert images_to_score([target("a", 40), target("b", 40)], [500, 500], None, equal=True)[1] is None


def test_a_set_with_fewer_images_than_asked_for() -> None:
    with pytest.raises(UserError, match="small: has 40 images, fewer than --num 50"):
        check_listings([ImageListing(Path("small"), 40)], 50, ("fid",))
    with pytest.raises(UserError, match="small: 5 images; the Inception score needs at least 10"):
        check_listings([ImageListing(Path("small"), 5)], None, ("is",))
    with pytest.raises(UserError, match="small: has 40 readable images, fewer than --num 50"):
        images_to_score([target("small", 40)], [500], 50, equal=True)


def test_a_checkpoint_and_a_smaller_set(tmp_path: Path, image_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = trained(tmp_path, channels=1, report_every=0) / "step-00000004.pt"
    flags: dict[str, Any] = {"num": None, "data": "digits", "metrics": ("fid",)}
    record = ask(tmp_path / "out", run, image_folder, **flags)
    line = "24 images of each target are scored, as images has no more (the largest has 1,797)"
    assert [row["protocol"]["generated_count"] for row in record["results"]] == [24, 24]
    assert f"{line}; --num N chooses the number, --mixed-protocols scores all of each" in capsys.readouterr().err
    assert f"{line}." in evaluation_report(record, tmp_path / "out").first.notes
    mixed = ask(tmp_path / "mixed", run, image_folder, mixed_protocols=True, **flags)
    assert [row["protocol"]["generated_count"] for row in mixed["results"]] == [1797, 24]
    alone = ask(tmp_path / "alone", run, **{**flags, "num": 24})["results"][0]
    assert record["results"][0]["fid"] == alone["fid"] and not mixed["notes"]
