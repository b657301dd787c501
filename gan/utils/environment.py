"""What a measurement of speed has to say: the machine and the versions that it ran on, and how work is timed."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch


def time_work(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that some work takes, to the end of what it started on a GPU."""
    synchronize(device)
    began = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - began


def synchronize(device: torch.device) -> None:
    """Until a GPU has done all that was asked of it; a CPU has already."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()


def hardware_info(device: torch.device) -> dict[str, Any]:
    """What it ran on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else []:
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    found: dict[str, Any] = {"cpu": model, "instructions": torch.backends.cpu.get_cpu_capability()}
    found |= {"cores": os.cpu_count(), "threads": torch.get_num_threads()}
    return found | ({"gpu": torch.cuda.get_device_name()} if device.type == "cuda" else {})


def package_versions(*packages: str) -> dict[str, str]:
    """Versions of Python and of packages, `not installed` for those that are absent."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def program_versions() -> dict[str, str]:
    """Versions of the program, of Python and of the packages that decide results, and the program's git commit."""
    found = package_versions("msn-gan", "torch", "torchvision", "numpy", "pillow")
    found["platform"] = platform.platform()
    source = Path(__file__).parents[2]
    if (source / ".git").exists():
        command = ["git", "-C", str(source), "rev-parse", "HEAD"]
        try:
            commit = subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
        except (OSError, subprocess.TimeoutExpired):
            commit = ""
        found["git"] = commit or "unknown"
    return found
