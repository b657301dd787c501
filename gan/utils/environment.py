"""Hardware and software versions that results depend on, and timing of work on a device."""

import os
import platform
import subprocess
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from gan import __version__


def time_work(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that `work` takes, including the kernels that it starts on a GPU."""
    synchronize(device)
    began = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - began


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has finished all of its kernels; does nothing for a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()


def hardware_info(device: torch.device) -> dict[str, Any]:
    """CPU model, instruction set, cores, threads, and the GPU of a CUDA device."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else []:
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    cpu = {"cpu": model, "instructions": torch.backends.cpu.get_cpu_capability()}
    counts = {"cores": os.cpu_count(), "threads": torch.get_num_threads()}
    return {**cpu, **counts, **({"gpu": torch.cuda.get_device_name()} if device.type == "cuda" else {})}


def package_versions(*packages: str) -> dict[str, str]:
    """Versions of Python and of packages, `not installed` for missing ones."""
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def program_versions() -> dict[str, str]:
    """Versions of the program, Python and the packages that affect results, and the git commit of a clone."""
    packages = package_versions("torch", "torchvision", "numpy", "pillow")
    versions = {"msn-gan": __version__, **packages, "platform": platform.platform()}
    source = Path(__file__).parents[2]
    if (source / ".git").exists():
        command = ["git", "-C", str(source), "rev-parse", "HEAD"]
        try:
            commit = subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
        except (OSError, subprocess.TimeoutExpired):
            commit = ""
        versions["git"] = commit or "unknown"
    return versions
