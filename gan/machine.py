"""What a measurement of speed has to say: the machine and the versions that it ran on, and how work is timed."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that some work takes, to the end of what it started on a GPU."""
    wait(device)
    began = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - began


def wait(device: torch.device) -> None:
    """Until a GPU has done all that was asked of it; a CPU has already."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()


def hardware(device: torch.device) -> dict[str, Any]:
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


def versions() -> dict[str, str]:
    """Of what speed depends on."""
    return {"python": platform.python_version()} | {
        package: metadata.version(package) for package in ("torch", "torchvision", "pillow")
    }
