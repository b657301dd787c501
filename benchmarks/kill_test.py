"""Kill a training run at random times, resume it, and compare its last checkpoint with that of an uninterrupted run.

    python benchmarks/kill_test.py --kills 20

Prints the time of each kill and the step at which each resume starts. Exits with 1 if the tensors of the last
checkpoints are not equal bytes.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

PROGRAM = [sys.executable, str(Path(__file__).parent.parent / "msn_gan.py")]
RUN = "--norm msn --loss logistic --flip --conditional --g-width 16 --d-width 16 --batch 16".split()


def train_command(root: Path, steps: int, *, resume: bool, extra: list[str]) -> list[str]:
    """Return the command that starts or resumes the run."""
    flags = ["--resume"] if resume else [*RUN, "--steps", str(steps), "--checkpoint-every", "10", *extra]
    return [*PROGRAM, "train", "kill", "--out", str(root), "--device", "cpu", *flags]


def train_to_end(root: Path, steps: int, *, resume: bool, extra: list[str]) -> float:
    """Train to the end without a kill; returns the time in seconds."""
    start = time.monotonic()
    done = subprocess.run(train_command(root, steps, resume=resume, extra=extra), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"training failed: {done.stderr}")
    return time.monotonic() - start


def resumed_step(stderr: str) -> str:
    """Describe where a run resumed, from its messages."""
    match = re.search(r"resuming kill at step (\d+)", stderr)
    return f"resumed at step {match.group(1)}" if match else "not yet training, or from the start"


def same(a: object, b: object) -> bool:
    """True if two nested states are equal, tensors by their bytes."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.contiguous().numpy().tobytes() == b.contiguous().numpy().tobytes()
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng, extra = random.Random(arguments.seed), ["--data", arguments.data]
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "whole")
        seconds = train_to_end(whole, arguments.steps, resume=False, extra=extra)
        print(f"uninterrupted: {arguments.steps} steps in {seconds:.1f} s", flush=True)
        log = (whole / "checkpoints" / "kill" / "log.jsonl").read_text().splitlines()
        training = max(json.loads(line).get("seconds", 0) for line in log)
        # Kills happen between the first import and a share of the steps, so that many fit into one run.
        longest = seconds - training + 0.35 * training / arguments.kills
        kills, equal, round_ = 0, True, 0
        while kills < arguments.kills:  # a run that ends before the last kill is followed by another
            round_ += 1
            killed = Path(folder, f"killed-{round_}")
            done = False
            while kills < arguments.kills and not done:
                resume = (killed / "checkpoints" / "kill" / "config.json").exists()
                command = train_command(killed, arguments.steps, resume=resume, extra=extra)
                process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
                delay = rng.uniform(0, longest)
                try:
                    _, stderr = process.communicate(timeout=delay)
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    _, stderr = process.communicate()
                    kills += 1
                    print(f"kill {kills:2} after {delay:5.1f} s: {resumed_step(stderr)}", flush=True)
                else:
                    if process.returncode:
                        sys.exit(f"training failed: {stderr}")
                    done = True
            resume = (killed / "checkpoints" / "kill" / "config.json").exists()
            train_to_end(killed, arguments.steps, resume=resume, extra=extra)
            equal = equal and same_ends(whole, killed, arguments.steps)
        print(f"{kills} kills in {round_} runs: " + ("all bytes are equal" if equal else "THE BYTES DIFFER"))
        sys.exit(not equal)


def same_ends(whole: Path, killed: Path, steps: int) -> bool:
    """True if the last checkpoints of two runs are equal in all but training time."""
    name = f"step-{steps:08d}.pt"
    states = [torch.load(root / "checkpoints" / "kill" / name, weights_only=True) for root in (whole, killed)]
    for state in states:
        del state["seconds"]
    return same(*states)


if __name__ == "__main__":
    main()
