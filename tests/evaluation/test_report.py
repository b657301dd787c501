"""Pages of an evaluation: one complete file with the content of report.json; different protocols are marked."""

from __future__ import annotations

import dataclasses
import json
import re
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gan.evaluation import report
from gan.metrics.protocol import Protocol
from gan.report.terminal import print_report
from gan.sampling.grids import save_grid
from tests.helpers.pages import Page

Make = Callable[..., dict[str, Any]]
PROTOCOL = Protocol(
    "digits", "0" * 64, "hidden", "grey", "fp32", reference="real | set", reference_count=90, generated_count=50
)


def result(name: str = "r, step 2", **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "target": "checkpoints/r",
        "path": "checkpoints/r/step-00000002.pt",
        "kind": "checkpoint",
        "grid": "report-images/001.png",
        "log": None,
        "fid": 12.3456,
        "inception_score": 3.25,
        "inception_score_std": 0.125,
        "kid": 0.0015,
        "kid_std": 0.0002,
        "precision": 0.5,
        "recall": 0.25,
        "seconds": 1.0,
        "images_per_second": 50.0,
        "warnings": ["FID misleads"],
        "protocol": PROTOCOL.to_json(),
        "step": 2,
        "images_seen": 16,
        "sha256": "f" * 64,
        **changes,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "report-images").mkdir()
    for name in ("001", "real"):
        save_grid(tmp_path / "report-images" / f"{name}.png", torch.zeros(4, 3, 8, 8, dtype=torch.uint8), 2)
    return tmp_path


@pytest.fixture
def make(folder: Path) -> Make:
    """Write a report.json of some results into the folder."""

    def write(*results: dict[str, Any], **changes: Any) -> dict[str, Any]:
        record = {
            "schema": 1,
            "made": "2026-01-02 03:04:05 +0000",
            "command": "msn-gan report 'a <b>' --num 50",
            "settings": {},
            "reference": {"name": "real | set", "images": 90, "conversions": {"resized": 90}},
            "planned": len(results),
            "stopped": None,
            "real_grid": "report-images/real.png",
            "results": list(results),
            "versions": {"torch": "2.15.0"},
            **changes,
        }
        (folder / "report.json").write_text(json.dumps(record))
        return record

    return write


def log_of(folder: Path) -> Path:
    path = folder / "checkpoints" / "r" / "log.jsonl"
    path.parent.mkdir(parents=True)
    lines = [{"step": step, "loss_d": 1 / step, "loss_g": step} for step in range(1, 1001)]
    lines += [
        {"step": step, "scores": {"fid": 9.0 - step / 1000}, "protocol": PROTOCOL.to_json()} for step in (500, 1000)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_the_page_is_one_whole_file(folder: Path, make: Make) -> None:
    log = str(log_of(folder))
    make(result(log=log), result("r, step 4", step=4, images_seen=32, fid=10.5, log=log))
    report.write_evaluation_report(folder)
    text = (folder / "report.html").read_text()
    page = Page(text)
    assert page.open == []
    assert all(link.startswith(("data:", "#")) for link in page.links), page.links
    assert not {"script", "link", "iframe"} & page.tags and "@import" not in text and "url(http" not in text
    assert 'name="viewport"' in text and "prefers-color-scheme: dark" in text
    # two grids and the real one; five scores, losses and the logged FID
    assert len(page.alts) == 3 + 7 and all(alt and len(alt) > 10 for alt in page.alts)
    assert "FID over generator steps: r from 12.35 at 2 to 10.5 at 4" in page.alts
    assert "msn-gan report &#39;a &lt;b&gt;&#39; --num 50" in text
    assert "12.35" in text and "3.25 ± 0.12" in text and "1.50 ± 0.20" in text and "0.500" in text
    assert "f" * 64 in text and "0" * 64 in text and "torch 2.15.0" in text
    referred = {link[1:] for link in page.links if link.startswith("#")}
    assert referred <= set(page.ids)


def test_markdown_and_charts(folder: Path, make: Make) -> None:
    make(result("a | b"), result("r, step 4", step=4, fid=10.5))
    written = report.write_evaluation_report(folder)
    text = (folder / "report.md").read_text()
    assert "| a \\| b | 12.35 | 3.25 ± 0.12 |" in text and "| **10.50** |" in text
    assert "FID misleads" in text and "Of the 90 real images: 90 resized." in text
    linked = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert len(linked) == 3 + 5 and all((folder / name).exists() for name in linked)
    assert len(list((folder / "report-images").glob("chart-*.svg"))) == 5 == len(written.charts)
    svg = (folder / "report-images" / "chart-1.svg").read_text()
    assert "currentColor" not in svg and "background: white" in svg
    assert written == report.write_evaluation_report(folder)  # the same again


def test_the_table_names_the_best(folder: Path, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    make(result(fid=3.0, recall=0.1), result("other [b]", target="x", fid=0.01234, recall=0.9))
    written = report.write_evaluation_report(folder)
    assert written.first.header == (
        "Target",
        "FID ↓",
        "Inception score ↑",
        "KID × 10³ ↓",
        "Precision ↑",
        "Recall ↑",
        "Images",
    )
    assert {cell for cell in written.first.best if cell[1] in (1, 5)} == {(1, 1), (1, 5)}  # less FID, more recall
    print_report(written)
    out = capsys.readouterr().out
    assert "other [b]" in out and "0.0123" in out and "3.00" in out and "FID misleads" in out


def test_one_score_of_one_target(folder: Path, make: Make) -> None:
    row = {key: value for key, value in result().items() if key not in ("inception_score", "kid", "precision")}
    make(row, real_grid=None, reference=None)
    written = report.write_evaluation_report(folder)
    assert (
        written.first.header[:2] == ("Target", "FID ↓")
        and not written.first.best
        and not written.charts
        and len(written.grids) == 1
    )


def test_what_was_left_out_of_the_images_is_noted(folder: Path, make: Make) -> None:
    facts = {"conversions": {"converted to RGB": 3}, "notes": ["using its folder train; ignoring test"]}
    real = {"name": "real", "images": 90, "conversions": {}, "notes": ["ignoring 2 files (not images: 2 .txt)"]}
    make({**result(), **facts}, reference=real)
    assert report.write_evaluation_report(folder).first.notes[-3:] == (
        "real: ignoring 2 files (not images: 2 .txt)",
        f"{result()['name']}: 3 images converted to RGB",
        f"{result()['name']}: using its folder train; ignoring test",
    )


def test_conversions_of_each_size_of_the_real_images(folder: Path, make: Make) -> None:
    sizes = {"64x64": {"converted to RGB": 3}, "32x32": {"converted to RGB": 3, "resized": 90}, "16x16": {}}
    make(
        result(), reference={"name": "real", "images": 90, "conversions": sizes["64x64"], "conversions_by_size": sizes}
    )
    assert report.write_evaluation_report(folder).first.notes[-2:] == (
        "Of the 90 real images at 64x64: 3 converted to RGB.",
        "Of the 90 real images at 32x32: 3 converted to RGB, 90 resized.",
    )


def test_unlike_protocols_are_told_apart(folder: Path, make: Make) -> None:
    other = dataclasses.replace(PROTOCOL, generated_count=60, ema=True)
    make(result(), result("b", target="b", protocol=other.to_json()), result("c", target="c"))
    written = report.write_evaluation_report(folder)
    assert [row[-1] for row in written.first.rows] == ["A", "B", "A"] and written.first.header[-1] == "Protocol"
    assert not written.first.best and "compare only rows with the same letter" in written.first.notes[0]
    assert ("generated count", "A: 50; B: 60") in written.facts


def test_a_stopped_report_says_so(folder: Path, make: Make) -> None:
    make(result(), planned=3, stopped="interrupted")
    report.write_evaluation_report(folder)
    for name in ("report.md", "report.html"):
        assert "Stopped after 1 of 3: interrupted" in (folder / name).read_text()


def test_long_runs_show_some_grids(folder: Path, make: Make) -> None:
    make(*(result(f"step {step}", step=step, images_seen=8 * step) for step in range(1, 41)))
    written = report.write_evaluation_report(folder)
    names = [figure.caption.split(":")[0] for figure in written.grids[1:]]
    assert len(names) == 6 and names[0] == "step 1" and names[-1] == "step 40"


def test_runs_of_unlike_batches_are_drawn_over_images(folder: Path, make: Make) -> None:
    rows = [result(step=step, images_seen=8 * step) for step in (1, 2)]
    rows += [result(target="b", step=step, images_seen=64 * step) for step in (1, 2)]
    make(*rows)
    assert "FID over real images seen: r from 12.35 at 8" in report.write_evaluation_report(folder).charts[0].alt


def test_runs_of_one_name_are_told_apart(folder: Path, make: Make) -> None:
    rows = [result(target=f"{of}/checkpoints/r", step=step, images_seen=8 * step) for of in "ab" for step in (1, 2)]
    make(*rows)
    assert (
        "a/checkpoints/r from" in (chart := report.write_evaluation_report(folder).charts[0].alt)
        and "b/checkpoints/r from" in chart
    )


def test_scores_logged_under_unlike_protocols_are_not_joined(folder: Path, make: Make) -> None:
    log = log_of(folder)
    other = dataclasses.replace(PROTOCOL, generated_count=1500).to_json()
    more = [{"step": step, "scores": {"fid": 5.0}, "protocol": other} for step in (1500, 2000)]
    log.write_text(log.read_text() + "".join(json.dumps(line) + "\n" for line in more))
    make(result(log=str(log)))
    logged = [chart.alt for chart in report.write_evaluation_report(folder).charts if "logged" in chart.alt]
    assert [alt.split(" over ")[0] for alt in logged] == [
        f"FID logged in training, {count} images, digits features" for count in ("50", "1,500")
    ]


def test_one_subset_has_no_spread(folder: Path, make: Make) -> None:
    protocol = {**PROTOCOL.to_json(), "kid_subsets": 1}
    make(result(kid_std=0.0, protocol=protocol))
    assert report.write_evaluation_report(folder).first.rows[0][3] == "1.50"


def test_grids_say_what_they_show(folder: Path, make: Make) -> None:
    make(result(), result("cats", target="cats", kind="images"), passed_over=["r/step-3.pt: its generator gives NaN"])
    written = report.write_evaluation_report(folder)
    assert [figure.alt.split(" of ")[0] for figure in written.grids] == ["Real images", "The first images", "Images"]
    assert "Skipped: r/step-3.pt: its generator gives NaN" in written.first.notes


def test_more_protocols_than_letters(folder: Path, make: Make) -> None:
    protocols = [dataclasses.replace(PROTOCOL, generated_count=count).to_json() for count in range(50, 78)]
    make(*(result(f"{n}", target=f"{n}", protocol=protocol) for n, protocol in enumerate(protocols)))
    rows = report.write_evaluation_report(folder).first.rows
    assert [row[-1] for row in rows] == [*string.ascii_uppercase, "AA", "AB"]
