"""A CUDA device that is not there, to find tensors on the wrong device without a GPU.

torch's fake tensors have a shape, a dtype and a device, but no values. An operation on tensors of two devices raises as
it would on a GPU, so a tensor that was made on the CPU by mistake is found on any machine.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._guards import detect_fake_mode
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_leaves

from gan.data.image_set import ImageSet, InMemory
from tests.helpers import python_autograd

CUDA = torch.device("cuda", 0)
READ = 1.0
"""Every number that is read from a tensor."""

_aten = torch.ops.aten
_READS = (_aten._local_scalar_dense.default, _aten.item.default)  # the latter in inference mode
# Steps of optimizers, in place. They have no implementation for fake tensors.
_FUSED = (_aten._fused_adam_.default, _aten._fused_adam_.tensor_lr, _aten._fused_sgd_.default)


class HostTensorError(AssertionError):
    """A tensor was made on the CPU, or read, where everything must stay on the device."""


class _FakeMode(FakeTensorMode):
    """torch's mode, and what it cannot do for want of values: a number that is read is 1, every position is nonzero.

    Operations of the CPU and reads are errors within `device_only`.
    """

    device_only = False
    _depth = 0  # above 0, an operation is a part of another one

    def dispatch(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _READS:
            if self.device_only:
                raise HostTensorError(f"a number is read from a tensor {tuple(args[0].shape)}")
            return READ if args[0].is_floating_point() else args[0].dtype == torch.bool or int(READ)
        if func is _aten.nonzero.default:
            return args[0].new_empty((args[0].numel(), args[0].dim()), dtype=torch.int64)
        if func is _aten.index.Tensor:
            args = (args[0], [part for index in args[1] for part in _positions(index)])
        if func is _aten._pin_memory.default:  # which needs a driver
            return args[0].clone()
        if func in _FUSED:
            devices = {value.device for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)}
            if len(devices) > 1:
                raise RuntimeError(f"{func}: tensors on {devices}")
            return None
        self._depth += 1
        try:
            result = super().dispatch(func, types, args, kwargs)
        finally:
            self._depth -= 1
        if self.device_only and not self._depth:
            for value in (*args, *(kwargs or {}).values(), result):
                for tensor in value if isinstance(value, (list, tuple)) else (value,):
                    if isinstance(tensor, Tensor) and tensor.device.type == "cpu":
                        raise HostTensorError(f"{func} on {tensor.device}: {tensor.dtype} {tuple(tensor.shape)}")
        return result

    def __deepcopy__(self, memo: object) -> _FakeMode:
        return self  # copies of its tensors are its own, too


def _positions(index: Tensor | None) -> Sequence[Tensor | None]:
    """An index as integers: a mask selects every position."""
    is_mask = index is not None and index.dtype == torch.bool
    return index.nonzero().unbind(1) if is_mask else (index,)


@contextmanager
def device_only() -> Iterator[None]:
    """Raise a HostTensorError if an operation has a tensor on the CPU as argument or result, or reads a number.

    A CUDA graph cannot capture such operations, and each waits for the device.
    """
    mode = detect_fake_mode()
    assert isinstance(mode, _FakeMode), "device_only works within fake_cuda alone"
    mode.device_only = True
    try:
        yield
    finally:
        mode.device_only = False


def _move(network: nn.Module, convert: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """Replace `nn.Module._apply`, which swaps the tensors of parameters in place and cannot for fake ones."""
    moved: dict[Tensor, nn.Parameter] = {}  # by the parameter, which several modules may share
    with torch.no_grad():
        for module in network.modules() if recurse else [network]:
            for name, weight in module._parameters.items():
                if weight is not None:
                    if weight not in moved:
                        moved[weight] = nn.Parameter(convert(weight.detach()), weight.requires_grad)
                    module._parameters[name] = moved[weight]
            for name, buffer in module._buffers.items():
                module._buffers[name] = None if buffer is None else convert(buffer)
    return network


@contextmanager
def fake_cuda() -> Iterator[torch.device]:
    """Within the block all new tensors are fake, and the device in its value works as a GPU with 64 GB of memory."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), _FakeMode(allow_fallback_kernels=False):
        warnings.filterwarnings("ignore", "Accessing the data pointer of FakeTensor")  # by copy.deepcopy
        patch.setattr(torch.autograd, "backward", python_autograd.backward)
        patch.setattr(torch.autograd, "grad", python_autograd.grad)
        patch.setattr(nn.Module, "_apply", _move)
        patch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
        patch.setattr(torch.cuda, "synchronize", lambda device=None: None)
        patch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)  # autocast asks it
        patch.setattr(torch.cuda, "mem_get_info", lambda device=None: (64 * 10**9, 64 * 10**9))
        yield CUDA


def fake_images(count: int = 24, channels: int = 3, resolution: int = 32) -> ImageSet:
    """A labelled set of images in memory, of three classes, whose pixels are fake."""
    pixels = torch.zeros(count, channels, resolution, resolution, dtype=torch.uint8)
    store = InMemory(pixels)
    return ImageSet("fake", torch.zeros(count, dtype=torch.int64), ("a", "b", "c"), "", resolution, channels, store)
