"""Hardware and software versions that results depend on, and timing of work on a device."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from gan import __version__
from gan.utils.cores import available_cores
from gan.utils.files import cache_folder
from gan.utils.memory import available_memory, format_bytes

REQUIRED_PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "pillow",
    "click",
    "rich",
    "jinja2",
    "filelock",
    "matplotlib",
    "pytorch-fid",
    "torchmetrics",
    "tensorboard",
    "scikit-learn",
    "scipy",
)
OPTIONAL_PACKAGES = ("onnx", "onnxruntime", "onnxscript", "safetensors", "torch-fidelity")
_CPU_FEATURES = ("avx2", "avx512_f", "avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16", "amx_int8")


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


def environment_lines() -> Iterator[tuple[str, str]]:
    """Yield the environment as (name, text): program, packages, CPU, devices, memory and cache folder."""
    program = program_versions()
    yield "Python", f"{program['python']} ({sys.executable})"
    yield "platform", program["platform"]
    if commit := program.get("git"):
        yield "git commit", commit
    versions = package_versions(*REQUIRED_PACKAGES, *OPTIONAL_PACKAGES)
    yield "packages", ", ".join(f"{name} {versions[name]}" for name in REQUIRED_PACKAGES)
    yield "optional", ", ".join(f"{name} {versions[name]}" for name in OPTIONAL_PACKAGES)
    hardware = hardware_info(torch.device("cpu"))
    yield "CPU", f"{hardware['cpu']}, {hardware['cores']} cores, {available_cores()} available to this process"
    yield "CPU features", f"{_cpu_features()}; torch uses {hardware['instructions']}"
    yield "threads", f"{hardware['threads']} (OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'not set')})"
    memory = available_memory()
    yield "memory", "unknown" if memory == sys.maxsize else f"{format_bytes(memory)} available"
    yield from _devices()
    yield "cache folder", str(cache_folder("") or "none (no home folder; set MSN_GAN_CACHE)")


def _cpu_features() -> str:
    """The features of the CPU that decide the speed of training and of 8-bit networks."""
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.9 lacks it
    if not capabilities:
        return "not reported by this version of torch"
    found = [name.upper().replace("_", "-") for name in _CPU_FEATURES if capabilities.get(name)]
    return ", ".join(found) or "none of AVX2, AVX512, AMX"


def _devices() -> Iterator[tuple[str, str]]:
    """Yield each GPU; else why there is none."""
    if torch.cuda.is_available():
        from torch.utils import collect_env  # runs nvidia-smi

        driver = collect_env.get_nvidia_driver_version(collect_env.run) or "unknown"
        cudnn = torch.backends.cudnn.version() or "none"
        yield "CUDA", f"{torch.version.cuda or torch.version.hip}, cuDNN {cudnn}, driver {', '.join(driver.split())}"
        for index in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(index)
            capability = f"capability {facts.major}.{facts.minor}"
            yield f"cuda:{index}", f"{facts.name}, {format_bytes(facts.total_memory)}, {capability}"
    elif torch.backends.mps.is_available():
        yield "GPU", "Apple, by Metal (mps)"
    elif torch.version.cuda:
        yield "GPU", f"none found by torch, which is built for CUDA {torch.version.cuda}"
    else:
        yield "GPU", "none: torch is built without CUDA"
