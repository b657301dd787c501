"""torchrun itself: that it starts the ranks, hands signals on, and lets the last word be said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gan.runs import checkpoint

ROOT = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--"]
FLAGS = (
    "--channels 1 --g-width 4 --d-width 4 --latent-dim 8 --batch 8 --checkpoint-every 5 --precision fp32 "
    "--report-every 0 --device cpu"
).split()


def torchrun(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [*TORCHRUN, str(ROOT / "msn_gan.py"), *arguments]
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def saved(folder: Path, least: int) -> None:
    """Wait until a run has a checkpoint of this step or a later one."""
    deadline = time.monotonic() + 120
    while not any(int(path.stem[5:]) >= least for path in checkpoint.list_checkpoints(folder / "checkpoints" / "r")):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def children(process: subprocess.Popen[str]) -> list[int]:
    """The ranks that a torchrun has started, rank 0 first."""
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return sorted(int(child) for child in listed)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the ranks in /proc")
def test_torchrun_trains_stops_resumes_and_loses_a_rank(tmp_path: Path) -> None:
    stopped = torchrun(tmp_path, "train", "r", *FLAGS, "--steps", "5000")
    saved(tmp_path, 5)
    stopped.send_signal(signal.SIGINT)
    _, told = stopped.communicate(timeout=60)
    (line,) = [line for line in told.splitlines() if line.startswith("stopped at step")]
    newest = checkpoint.newest_checkpoint(tmp_path / "checkpoints" / "r")
    assert newest is not None and line.startswith(
        f"stopped at step {newest[1]['step']}, checkpoint saved; resume with: torchrun …"
    )
    assert "msn-gan: " not in told

    killed = torchrun(tmp_path, "train", "r", "--resume", "--device", "cpu")
    saved(tmp_path, newest[1]["step"] + 5)
    os.kill(children(killed)[1], signal.SIGKILL)
    _, told = killed.communicate(timeout=60)
    (line,) = [line for line in told.splitlines() if line.startswith("msn-gan: ")]
    kept = checkpoint.newest_checkpoint(tmp_path / "checkpoints" / "r")
    assert kept is not None and killed.returncode == 1
    assert line.startswith("msn-gan: rank 1 is gone (of 2; on ")
    assert line.endswith(
        f"the last good checkpoint is {kept[0].relative_to(tmp_path)}; start the job again with --resume"
    )

    sampled = torchrun(tmp_path, "sample", "checkpoints/r", "--num", "70", "--out", "images.zip", "--device", "cpu")
    _, told = sampled.communicate(timeout=60)
    assert sampled.returncode == 0 and told.count("wrote images.zip") == 1


@pytest.mark.slow
def test_an_error_in_own_code_on_one_rank_ends_the_job(tmp_path: Path) -> None:
    fails = "import os\nif os.environ['RANK'] == '1': raise RuntimeError('no')\ndef norm(layer): return layer\n"
    later = (
        "import os\nclass norm:\n    calls = 0\n    def discriminator(self, real, fake):\n        self.calls += 1\n"
        "        if os.environ['RANK'] == '1' and self.calls > 4: raise RuntimeError('no')\n"
        "        return fake.mean() - real.mean()\n    def generator(self, real, fake): return -fake.mean()\n"
    )
    for flag, text, line in (("--norm", fails, "rank 1: own.py:2: "), ("--loss", later, "own.py:6: ")):
        (tmp_path / "own.py").write_text(text)
        _, told = torchrun(tmp_path, "train", "r", *FLAGS, flag, "own.py:norm").communicate(timeout=120)
        reported = [line for line in told.splitlines() if line.startswith("msn-gan: ")]
        assert reported == [f"msn-gan: {line}RuntimeError: no ({flag} own.py:norm)"]
