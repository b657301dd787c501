"""The table of the spread of final FID over seeds and over draws of latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gan.experiments.compare.score_error import pooled_spread, score_error_table
from tests.helpers.comparisons import BOTH, RUN, compare


def test_the_table_of_a_comparison() -> None:
    def result(norm: str, seed: int, draws: list[float], diverged: Any = None) -> dict[str, Any]:
        return {"norm": norm, "setting": "", "seed": seed, "diverged": diverged, "fid_draws": draws}

    rows = [{"norm": "sn", "setting": ""}, {"norm": "msn", "setting": ""}]
    draws = [[10.0, 10.5, 9.0], [12.0, 12.5, 13.0]]
    trainings = [result("sn", 0, draws[0]), result("sn", 1, draws[1]), result("msn", 0, [7.0, 8.0, 9.0])]
    trainings += [result("sn", 2, [99.0, 0.0, 1.0], {"step": 3})]
    (table,) = score_error_table(rows, trainings)
    pooled = np.sqrt(np.mean(np.var(draws, axis=1, ddof=1)))
    assert pooled_spread(draws) == pytest.approx(pooled, rel=1e-12)
    assert table.rows[0] == ("sn", f"{np.std([10.0, 12.0], ddof=1):.2f}", f"{pooled:.2f}", "2", "3")
    assert table.rows[1] == ("msn", "-", "1.00", "1", "3")
    assert score_error_table(rows, [{**one, "fid_draws": None} for one in trainings]) == []


def test_a_comparison_with_repeats(tmp_path: Path) -> None:
    record = compare(tmp_path, **{**BOTH, "report_repeats": 2})
    for result in record["trainings"]:
        assert len(result["fid_draws"]) == 2 and result["fid_draws"][0] == result["final"]["fid"]
    assert "## Error of the final FID" in (tmp_path / RUN / "report.md").read_text()
    assert "--report-repeats 2" in record["command"]
