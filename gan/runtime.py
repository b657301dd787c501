"""Device and precision of a run, resolved once and passed on."""

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

import torch

from gan.distributed import collectives, process_group
from gan.errors import UsageError
from gan.utils import memory
from gan.utils.counted import counted

M = TypeVar("M", bound=torch.nn.Module)


@dataclass(frozen=True)
class Runtime:
    """Device, precision and number of ranks of a run."""

    device: torch.device
    bf16: bool
    ranks: int = 1

    @property
    def precision(self) -> str:
        """`bf16` or `fp32`."""
        return "bf16" if self.bf16 else "fp32"

    def autocast(self) -> AbstractContextManager[None]:
        """The context of forward passes. Weights, losses and optimizer states stay in fp32."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16)

    def send(self, tensor: torch.Tensor) -> torch.Tensor:
        """Copy a tensor to the device; on CUDA without waiting for the copy."""
        if self.device.type != "cuda" or tensor.device.type == "cuda":
            return tensor.to(self.device)
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def place(self, module: M) -> M:
        """Move a network to the device, with convolution weights in channels-last memory format."""
        return module.to(self.device).to(memory_format=torch.channels_last)


def resolve_runtime(device: str = "auto", precision: str = "auto", *, deterministic: bool = False) -> Runtime:
    """Turn the flags `--device`, `--precision` and `--deterministic` into a `Runtime`.

    With several ranks, the precision `auto` is that of rank 0.

    Raises:
        UsageError: this machine does not have the device.
    """
    resolved = resolve_device(device)
    if resolved.type == "cuda":
        torch.backends.cudnn.benchmark = not deterministic
        # TF32 is usual for training; scoring turns it off.
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it at its first product
        torch.use_deterministic_algorithms(True)
    bf16 = precision == "bf16" or (precision == "auto" and collectives.on_rank0(lambda: bf16_is_fast(resolved)))
    return Runtime(resolved, bf16, process_group.world_size())


def resolve_device(name: str) -> torch.device:
    """The device for `auto`, `cpu`, `cuda` or `mps`; `auto` is the fastest one available.

    Each rank of a machine gets its own CUDA device. On a CPU, the C library keeps freed memory from now on.

    Raises:
        UsageError: this machine does not have the device, or not enough of them.
    """
    # Apple GPUs have no collectives.
    mps = torch.backends.mps.is_available() and process_group.world_size() == 1
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: torch finds no CUDA device on this machine; use --device cpu or auto")
    if name == "mps" and not mps:
        raise UsageError(
            "--device mps: torch finds no Apple GPU on this machine, or several ranks would share it; "
            "use --device cpu or auto"
        )
    if name == "cuda" and process_group.world_size() > 1:
        devices = torch.cuda.device_count()
        if process_group.local_world_size() > devices:
            raise UsageError(
                f"--device cuda: {counted(process_group.local_world_size(), 'rank')}, but torch finds "
                f"{counted(devices, 'CUDA device')} "
                f"on this machine; use --nproc-per-node {devices} or --device cpu"
            )
        torch.cuda.set_device(process_group.local_rank())  # the default device, also for NCCL
        return torch.device("cuda", process_group.local_rank())
    if name == "cpu":
        memory.keep_freed_memory()
    return torch.device(name)


def bf16_is_fast(device: torch.device) -> bool:
    """True if the device computes matrix products faster in bf16 than in fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        # torch.cpu.get_capabilities(), which is public, is newer than 2.9, the oldest supported release.
        flags = (torch.cpu._is_avx512_bf16_supported, torch.cpu._is_amx_tile_supported)
        return any(flag() for flag in flags)
    return False
