"""Latency, file size and peak memory of exported networks in ONNX Runtime.

Each file is run in processes of its own, which load ONNX Runtime and numpy but neither torch nor rich, so that their
memory is what a deployment would need. Files take turns in several rounds, so that changes in the machine's speed
affect all of them.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gan.errors import UserError
from gan.utils.counted import counted
from gan.utils.markdown_table import markdown_table
from gan.utils.optional_packages import require_packages
from gan.utils.process_memory import peak_process_memory

THREADS = (1, 2)
_ROUNDS = 3
_WARM_UP = 10  # untimed runs, or a tenth of the timed ones if that is more


def measure_onnx(files: Sequence[Path], runs: int) -> list[dict[str, Any]]:
    """Time each file on batches of one item.

    Args:
        runs: timed runs of each file with each number of threads, over all rounds.

    Returns:
        for each file a dict fit for JSON: `file`, `bytes`, `runs`, and `threads`, which maps the number of threads (as
        text) to `median_ms`, `p99_ms`, `peak_memory_mb` of the whole process, and `runtime_memory_mb`, the memory
        before the network was loaded: Python, numpy and ONNX Runtime.

    Raises:
        UserError: ONNX Runtime is not installed or cannot run a file.
    """
    from gan.bench.turns import take_turns  # imports rich, which the measured processes do not load

    require_packages("--onnx", ("onnxruntime",))
    for file in files:
        if not file.is_file():
            raise UserError(f"--onnx {file}: no such file; `msn-gan export` writes them")
    cases = [(file, threads) for file in files for threads in THREADS]
    runs_of_rounds = [runs * number // _ROUNDS - runs * (number - 1) // _ROUNDS for number in range(1, _ROUNDS + 1)]
    left = {case: iter(runs_of_rounds) for case in cases}
    rounds = list(take_turns(cases, _ROUNDS, lambda case: _run_process(*case, next(left[case])), label="timing"))
    summaries = {case: _summary([results[number] for results in rounds]) for number, case in enumerate(cases)}
    return [
        {
            "file": str(file),
            "bytes": file.stat().st_size,
            "runs": runs,
            "threads": {str(threads): summaries[file, threads] for threads in THREADS},
        }
        for file in files
    ]


def _summary(rounds: list[dict[str, Any]]) -> dict[str, float]:
    """Latency over all rounds, and the largest memory of any round."""
    times = sorted(time for result in rounds for time in result["ms"])
    return {
        "median_ms": statistics.median(times),
        "p99_ms": times[math.ceil(0.99 * len(times)) - 1],
        **{name: max(result[name] for result in rounds) for name in ("peak_memory_mb", "runtime_memory_mb")},
    }


def onnx_table(results: list[dict[str, Any]]) -> str:
    """Format the results as a Markdown table, one row for each file."""
    header = ["file", "kB"]
    header += [f"{name}, {counted(count, 'thread')}" for count in THREADS for name in ("median ms", "p99 ms")]
    rows = []
    for result in results:
        timings = [result["threads"][str(count)] for count in THREADS]
        largest = max(timings, key=lambda timing: timing["peak_memory_mb"])
        rows.append(
            [Path(result["file"]).name, f"{result['bytes'] / 1000:,.0f}"]
            + [f"{timing[name]:.3f}" for timing in timings for name in ("median_ms", "p99_ms")]
            + [f"{largest['peak_memory_mb']:.1f}", f"{largest['runtime_memory_mb']:.1f}"]
        )
    return markdown_table([*header, "peak MB", "of which runtime"], rows, pad=True)


def _run_process(file: Path, threads: int, runs: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "gan.bench.onnx_latency", str(file), str(threads), str(runs)]
    # The same modules as in this process, even if its search path was changed or the program is not installed.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        reason = lines[-1] if lines else f"exit code {done.returncode}"
        raise UserError(f"--onnx {file}: ONNX Runtime cannot run it ({reason})")
    return json.loads(done.stdout)


def time_onnx_file(file: str, threads: int, runs: int) -> dict[str, Any]:
    """Time a file in this process; returns latencies (`ms`, a list) and memory in MB (10^6 bytes)."""
    import numpy as np
    import onnxruntime

    runtime_memory = _peak_memory_mb()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    inputs: dict[str, Any] = {}
    for port in session.get_inputs():
        shape = [size if isinstance(size, int) else 1 for size in port.shape]  # a dynamic dimension is the batch
        labels = port.type == "tensor(int64)"
        inputs[port.name] = np.zeros(shape, np.int64) if labels else rng.standard_normal(shape, np.float32)
    times = []
    for run in range(-max(_WARM_UP, runs // 10), runs):
        start = time.perf_counter()
        session.run(None, inputs)
        if run >= 0:
            times.append((time.perf_counter() - start) * 1000)
    return {"ms": times, "peak_memory_mb": _peak_memory_mb(), "runtime_memory_mb": runtime_memory}


def _peak_memory_mb() -> float:
    return peak_process_memory() / 1e6 or math.nan


if __name__ == "__main__":
    print(json.dumps(time_onnx_file(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
