"""The log of a run that goes on."""

from __future__ import annotations

from pathlib import Path

from gan.runs import log as runlog


def test_log_is_cut_back_to_the_checkpoint(tmp_path: Path) -> None:
    log = runlog.RunLogger(tmp_path, 0)
    for step in (1, 2, 3):
        log.write({"step": step, "loss_d": float("nan")})
    log.close()
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"step": 4, "los')
    runlog.RunLogger(tmp_path, 2).close()
    assert [entry["step"] for entry in runlog.read_log(tmp_path / "log.jsonl")] == [1, 2]
    assert runlog.read_log(tmp_path / "log.jsonl")[0]["loss_d"] is None
