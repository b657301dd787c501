"""What exported networks cost in ONNX Runtime: latency, file size, peak memory.

Each file is run in processes of its own, which load ONNX Runtime and numpy and nothing else of this program: what they
take is what a device would need. The files take turns in several rounds, so that a machine that slows down slows all.
"""

from __future__ import annotations

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
from gan.utils import optional_packages

THREADS = (1, 2)
_ROUNDS = 3
_WARM_UP = 10  # runs that are not counted, or a tenth of those that are, where that is more


def measure_onnx(files: Sequence[Path], runs: int) -> list[dict[str, Any]]:
    """Time each file, a batch of one item at a time.

    Args:
        runs: how often, for each number of threads; in three rounds.

    Returns:
        for each file a dict fit for JSON: `file`, `bytes`, `runs`, and `threads`, by whose number (as text) there are
        `median_ms`, `p99_ms`, `peak_memory_mb` of the whole process, and `runtime_memory_mb`, which Python, numpy and
        ONNX Runtime took of it before the network was loaded.

    Raises:
        UserError: ONNX Runtime is not installed, or cannot run a file.
    """
    from gan.utils.progress import progress  # here: the processes that are measured need no progress bar

    optional_packages.require_packages("--onnx", ("onnxruntime",))
    for file in files:
        if not file.is_file():
            raise UserError(f"--onnx {file}: no such file; `msn-gan export` writes them")
    seen: dict[tuple[Path, int], list[dict[str, Any]]] = {(file, count): [] for file in files for count in THREADS}
    with progress("timing", _ROUNDS * len(seen), "processes") as advance:
        for _ in range(_ROUNDS):
            for (file, threads), rounds in seen.items():
                rounds.append(_in_own_process(file, threads, -(-runs // _ROUNDS)))
                advance()
    return [
        {
            "file": str(file),
            "bytes": file.stat().st_size,
            "runs": runs,
            "threads": {str(threads): _summary(seen[file, threads]) for threads in THREADS},
        }
        for file in files
    ]


def _summary(rounds: list[dict[str, Any]]) -> dict[str, float]:
    """The figures of all rounds of a file and number of threads."""
    times = sorted(time for found in rounds for time in found["ms"])
    return {
        "median_ms": statistics.median(times),
        "p99_ms": times[math.ceil(0.99 * len(times)) - 1],
        **{name: max(found[name] for found in rounds) for name in ("peak_memory_mb", "runtime_memory_mb")},
    }


def onnx_table(results: list[dict[str, Any]]) -> str:
    """The results as a Markdown table, a row for each file."""
    rows = [
        ["file", "kB"]
        + [f"{name}, {count} thread{'s' * (count > 1)}" for count in THREADS for name in ("median ms", "p99 ms")]
        + ["peak MB", "of which runtime"]
    ]
    for result in results:
        timed = [result["threads"][str(count)] for count in THREADS]
        largest = max(timed, key=lambda one: one["peak_memory_mb"])
        rows.append(
            [Path(result["file"]).name, f"{result['bytes'] / 1000:,.0f}"]
            + [f"{one[name]:.3f}" for one in timed for name in ("median_ms", "p99_ms")]
            + [f"{largest['peak_memory_mb']:.1f}", f"{largest['runtime_memory_mb']:.1f}"]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in padded)


def _in_own_process(file: Path, threads: int, runs: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "gan.bench.onnx_latency", str(file), str(threads), str(runs)]
    # The modules of this process, also where its search path was changed or the program is not installed.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        reason = lines[-1] if lines else f"it ended with code {done.returncode}"
        raise UserError(f"--onnx {file}: ONNX Runtime cannot run it ({reason})")
    return json.loads(done.stdout)


def time_onnx_file(file: str, threads: int, runs: int) -> dict[str, Any]:
    """Latencies (`ms`, a list) and memory of one file in this process."""
    import numpy as np
    import onnxruntime

    runtime_memory = process_peak_memory()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    inputs: dict[str, Any] = {}
    for port in session.get_inputs():
        shape = [size if isinstance(size, int) else 1 for size in port.shape]  # a free dimension is the batch
        whole = port.type == "tensor(int64)"
        inputs[port.name] = np.zeros(shape, np.int64) if whole else rng.standard_normal(shape, np.float32)
    times = []
    for run in range(-max(_WARM_UP, runs // 10), runs):
        began = time.perf_counter()
        session.run(None, inputs)
        if run >= 0:
            times.append((time.perf_counter() - began) * 1000)
    return {"ms": times, "peak_memory_mb": process_peak_memory(), "runtime_memory_mb": runtime_memory}


def process_peak_memory() -> float:
    """The most memory that this process has held, in MB (10^6 bytes)."""
    status = Path("/proc/self/status")
    if status.exists():
        # getrusage would do, but on Linux a new program inherits the number of the process that started it.
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        if "VmHWM" in lines:
            return int(lines["VmHWM"].split()[0]) * 1024 / 1e6
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


if __name__ == "__main__":
    print(json.dumps(time_onnx_file(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
