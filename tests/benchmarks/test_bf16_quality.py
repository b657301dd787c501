"""FID in bf16 and fp32: seeds that diverged are left out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import bf16_quality
import pytest


def test_a_seed_that_diverged_at_once_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    curve = {"step": [500, 1000], "fid": [30.0, 20.0]}
    trainings: dict[str, Any] = {"bf16": [curve, None], "fp32": [{**curve, "fid": [31.0, 22.0]}, curve]}
    curves = {}
    for precision, found in trainings.items():
        (tmp_path / precision).mkdir()
        record = {"trainings": [{"seed": seed, "curve": each} for seed, each in enumerate(found)]}
        (tmp_path / precision / "report.json").write_text(json.dumps(record))
        curves[precision] = bf16_quality.fid_curves(tmp_path / precision)
    args = argparse.Namespace(preset="dcgan", norm="msn", width=4, num=20, features="inception", json=None)
    bf16_quality.print_results(curves, args)
    printed = capsys.readouterr().out
    assert "1 of 2 seeds are left out" in printed and "| 1000 | 20.00 | 22.00 | -2.00" in printed
    bf16_quality.print_results({"bf16": [{}], "fp32": [{}]}, args)
