"""`msn-gan bench --onnx`: latency, size and memory of a file, measured in separate processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gan.bench import onnx_latency
from gan.cli import main
from gan.errors import UserError
from gan.utils.process_memory import peak_process_memory

onnx = pytest.importorskip("onnx", reason="needs the extra: pip install msn-gan[onnx]")
pytest.importorskip("onnxruntime", reason="needs the extra: pip install msn-gan[onnx]")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A matrix product, and the same with 16 MB of weights and labels as a second input."""
    made = []
    for name, size in (("small", 8), ("large", 2000)):
        weight = onnx.numpy_helper.from_array(np.ones((size, size), np.float32), "w")
        inputs = [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", size])]
        nodes = [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])]
        if name == "large":
            inputs.append(onnx.helper.make_tensor_value_info("labels", onnx.TensorProto.INT64, ["batch"]))
            nodes = [
                onnx.helper.make_node("Gather", ["w", "labels"], ["row"]),
                onnx.helper.make_node("MatMul", ["x", "w"], ["h"]),
                onnx.helper.make_node("Add", ["h", "row"], ["y"]),
            ]
        output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", size])
        graph = onnx.helper.make_graph(nodes, name, inputs, [output], [weight])
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
        made.append(tmp_path_factory.mktemp("files") / f"{name}.onnx")
        onnx.save(model, made[-1])
    return made


def test_measures(files: list[Path]) -> None:
    held = np.ones(60_000_000)  # 480 MB in this process, which must not count
    small, large = onnx_latency.measure_onnx(files, 10)
    assert held[0] == 1 and peak_process_memory() > 480e6
    for result, file in zip((small, large), files, strict=True):
        assert result["file"] == str(file) and result["bytes"] == file.stat().st_size and result["runs"] == 10
        assert list(result["threads"]) == ["1", "2"]
        for timed in result["threads"].values():
            assert 0 < timed["median_ms"] <= timed["p99_ms"] < 10_000
            assert 10 < timed["runtime_memory_mb"] < 150  # torch would take more
            assert timed["runtime_memory_mb"] <= timed["peak_memory_mb"] < 480
    assert large["threads"]["1"]["peak_memory_mb"] > small["threads"]["1"]["peak_memory_mb"] + 12
    assert large["threads"]["1"]["median_ms"] > small["threads"]["1"]["median_ms"]


def test_figures_of_all_rounds() -> None:
    rounds = [
        {
            "ms": [float(time) for time in range(start, 300, 3)],
            "peak_memory_mb": 70.0 + start,
            "runtime_memory_mb": 50.0,
        }
        for start in (2, 0, 1)
    ]
    assert onnx_latency._summary(rounds) == {
        "median_ms": 149.5,
        "p99_ms": 296.0,
        "peak_memory_mb": 72.0,
        "runtime_memory_mb": 50.0,
    }


def test_table() -> None:
    timed = {"median_ms": 1.5, "p99_ms": 2.25, "peak_memory_mb": 70.0, "runtime_memory_mb": 50.0}
    more = {**timed, "median_ms": 0.75, "peak_memory_mb": 71.0}
    result = {"file": "a/g.onnx", "bytes": 1_234_567, "runs": 10, "threads": {"1": timed, "2": more}}
    head, rule, row = onnx_latency.onnx_table([result]).splitlines()
    assert set(rule) == {"|", "-", " "} and len(head) == len(rule) == len(row)
    assert [cell.strip() for cell in head.split("|")[1:4]] == ["file", "kB", "median ms, 1 thread"]
    assert [cell.strip() for cell in row.split("|")[1:-1]] == [
        "g.onnx",
        "1,235",
        "1.500",
        "2.250",
        "0.750",
        "2.250",
        "71.0",
        "50.0",
    ]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main(["bench", *arguments])
    printed = capsys.readouterr()
    return int(stopped.value.code or 0), printed.out, printed.err


def test_command(files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--onnx", str(files[0]), "--runs", "10", "--json", str(tmp_path / "times.json"))
    assert code == 0 and files[0].name in out
    assert json.loads((tmp_path / "times.json").read_text())[0]["threads"]["2"]["median_ms"] > 0


def test_bad_input(files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.onnx").write_text("no graph")
    for arguments, expected, part in (
        ([str(files[0])], 2, "bench: --onnx FILE... measures the .onnx files"),
        (["--onnx"], 2, "bench: --onnx FILE... measures the .onnx files"),
        (["--onnx", str(files[0]), "absent.onnx"], 1, "--onnx absent.onnx: no such file"),
        (["--onnx", str(tmp_path / "bad.onnx")], 1, "bad.onnx: ONNX Runtime cannot run it ("),
        (["--onnx", str(files[0]), "--runs", "0"], 2, "--runs"),
        (
            ["--onnx", str(files[0]), "--rounds", "9", "--models", "cnn3"],
            2,
            "--models, --rounds: cannot be combined with --onnx",
        ),
        (["--models", "cnn3", "--runs", "10"], 2, "--runs: needs --onnx FILE..."),
    ):
        code, out, err = run(capsys, *arguments)
        err = "".join(line for line in err.splitlines(True) if not line.startswith("timing"))  # of a slow machine
        assert (code, out, err.count("\n")) == (expected, "", 1) and part in err, err


def test_without_the_runtime(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan.utils.optional_packages.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"--onnx: needs onnxruntime, .* pip install onnxruntime"):
        onnx_latency.measure_onnx(files, 10)


@pytest.mark.parametrize("runs", [1, 10, 500])
def test_as_many_runs_as_asked_for(runs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[int] = []

    def run(file: Path, threads: int, count: int) -> dict[str, Any]:
        timed.append(count)
        return {"ms": count * [1.0], "peak_memory_mb": 1.0, "runtime_memory_mb": 1.0}

    monkeypatch.setattr(onnx_latency, "_run_process", run)
    (tmp_path / "a.onnx").touch()
    (result,) = onnx_latency.measure_onnx([tmp_path / "a.onnx"], runs)
    assert result["runs"] == runs and sum(timed) == runs * len(onnx_latency.THREADS)
