"""Convolutions merged with resampling, and convolutions with faster gradients on a CPU.

A nearest-neighbour upsampling and the 3×3 convolution after it are one 4×4 transposed convolution of stride 2; a 3×3
convolution and the 2×2 mean after it are one 4×4 convolution of stride 2. Both need 4/9 of the multiplications.

oneDNN's weight gradient of a wide convolution is slow on small maps. As one matrix product over unfolded patches it
runs at the speed of any matrix product; `benchmarks/convolution_speed.py` measures it. Everything else, and everything
on other devices, is torch's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_MAX_POSITIONS = 16  # of a map, up to which the matrix product is faster

_separate: ContextVar[bool] = ContextVar("separate", default=False)

_backward = torch.ops.aten.convolution_backward


class Conv2d(nn.Conv2d):
    """torch's layer; x (N, C_in, H, W) to (N, C_out, H', W')."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not _has_faster_gradients(self, input):
            return super()._conv_forward(input, weight, bias)
        return _convolve(*_autocast(input, weight, bias), self.stride, self.padding, False)


class ConvTranspose2d(nn.ConvTranspose2d):
    """torch's layer; x (N, C_in, H, W) to (N, C_out, H', W')."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        if output_size is not None or any(self.output_padding) or not _has_faster_gradients(self, input):
            return super().forward(input, output_size)
        x, weight, bias = _autocast(input, self.weight, self.bias)
        if x.shape[2:] != (1, 1) or any(self.padding):
            return _convolve(x, weight, bias, self.stride, self.padding, True)
        rows = weight.permute(0, 2, 3, 1).flatten(1)  # (C_in, C_out, k_h, k_w) -> (C_in, k_h * k_w * C_out)
        h = (x.flatten(1) @ rows).unflatten(1, (*self.kernel_size, -1)).permute(0, 3, 1, 2)
        return h if bias is None else h + bias.view(-1, 1, 1)


class UpsampledConv2d(Conv2d):
    """Nearest-neighbour upsampling by two, then a 3×3 convolution: x (N, C_in, H, W) to (N, C_out, 2H, 2W)."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 3, padding=1, bias=bias)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        kernel = self.merged(weight)
        if _has_faster_gradients(self, input):
            return _convolve(*_autocast(input, kernel, bias), (2, 2), (1, 1), True)
        return F.conv_transpose2d(input, kernel, bias, stride=2, padding=1)

    @staticmethod
    def merged(weight: Tensor) -> Tensor:
        """Return the kernel of the transposed convolution: (C_out, C_in, 3, 3) -> (C_in, C_out, 4, 4)."""
        # Each output pixel has two input neighbours per axis; the weights of the same neighbour are added.
        return 4 * _average(weight.flip(2, 3)).transpose(0, 1)


class PooledConv2d(Conv2d):
    """A 3×3 convolution, then the mean of 2×2 pixels: x (N, C_in, H, W), even sizes, to (N, C_out, H/2, W/2)."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 3, padding=1, bias=bias)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        kernel = self.merged(weight)
        if _has_faster_gradients(self, input):
            return _convolve(*_autocast(input, kernel, bias), (2, 2), (1, 1), False)
        return F.conv2d(input, kernel, bias, stride=2, padding=1)

    @staticmethod
    def merged(weight: Tensor) -> Tensor:
        """Return the kernel of the convolution with stride 2: (C_out, C_in, 3, 3) -> (C_out, C_in, 4, 4)."""
        return _average(weight)


def _average(kernel: Tensor) -> Tensor:
    """Average a kernel (A, B, 3, 3) over 2×2 neighbouring positions: (A, B, 4, 4), in fp32 at least."""
    kernel = kernel if kernel.dtype == torch.float64 else kernel.float()
    return F.avg_pool2d(kernel, 2, stride=1, padding=1)


def _has_faster_gradients(layer: nn.Conv2d | nn.ConvTranspose2d, x: Tensor) -> bool:
    """True if `_convolve` computes the gradients of this call of a layer, faster than torch."""
    return (
        x.device.type == "cpu"
        and torch.is_grad_enabled()
        and (x.requires_grad or any(parameter.requires_grad for parameter in layer.parameters()))
        and x.dtype in (torch.float32, torch.bfloat16)
        and x.dim() == 4
        and layer.groups == 1
        and layer.dilation == (1, 1)
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


def _autocast(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Cast to the dtype of autocast if it is enabled, else to that of x."""
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    return x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)


def _convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, ...],
    padding: tuple[int, ...] | str,
    transposed: bool,
) -> Tensor:
    """A convolution or transposed convolution, with each of its gradients computed the faster way."""
    arguments = (stride, padding, transposed)
    if not (x.requires_grad and _separate.get()):
        return _Convolution.apply(x, weight, bias, arguments)
    h = _ParameterGradients.apply(weight, bias, (x,), arguments)
    return _InputGradient.apply(h, x, (weight,), arguments)


@contextmanager
def separate_input_gradients(separate: bool = True) -> Iterator[None]:
    """Make the gradient of a convolution's input a node of its own in the graphs of the block.

    For a gradient with respect to images alone, as in a penalty, autograd then leaves out those of the parameters.
    Otherwise the second node only costs time.
    """
    token = _separate.set(separate)
    try:
        yield
    finally:
        _separate.reset(token)


class _Convolution(torch.autograd.Function):
    """The convolution, with the gradients of x, weight and bias."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, arguments: tuple[Any, ...]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.arguments = stride, padding, transposed = arguments
        convolve = F.conv_transpose2d if transposed else F.conv2d
        return convolve(x, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x, _, _ = _torch_gradients(gradient, x, weight, ctx.arguments, (True, False, False))
        needed = ctx.needs_input_grad[1], ctx.needs_input_grad[2]
        return grad_x, *_parameter_gradients(gradient, x, weight, ctx.arguments, needed), None


class _ParameterGradients(torch.autograd.Function):
    """The convolution; its backward pass is that of weight and bias. x is in a tuple, so that it is a constant here."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, bias: Tensor | None, inputs: tuple[Tensor], arguments: tuple[Any, ...]
    ) -> Tensor:
        ctx.save_for_backward(weight, *inputs)
        ctx.arguments = stride, padding, transposed = arguments
        convolve = F.conv_transpose2d if transposed else F.conv2d
        return convolve(*inputs, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight, x = ctx.saved_tensors
        needed = ctx.needs_input_grad[0], ctx.needs_input_grad[1]
        return *_parameter_gradients(gradient, x, weight, ctx.arguments, needed), None, None


class _InputGradient(torch.autograd.Function):
    """A convolution's output h as it is; the backward pass adds the gradient of x. The weight is a constant here."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, x: Tensor, weights: tuple[Tensor], arguments: tuple[Any, ...]) -> Tensor:
        ctx.save_for_backward(*weights, x)
        ctx.arguments = arguments
        ctx.mark_dirty(h)
        return h

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight, x = ctx.saved_tensors
        grad_x, _, _ = _torch_gradients(gradient, x, weight, ctx.arguments, (True, False, False))
        return gradient, grad_x, None, None


def _parameter_gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, arguments: tuple[Any, ...], needed: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of weight and bias, where they are needed."""
    stride, padding, transposed = arguments
    small, large = (x, gradient) if transposed else (gradient, x)
    grad_weight = grad_bias = None
    if needed[0] and small.shape[2] * small.shape[3] <= _MAX_POSITIONS:
        grad_weight = _weight_gradient(small, large, weight, stride, padding)
    elif needed[0]:
        _, grad_weight, grad_bias = _torch_gradients(gradient, x, weight, arguments, (False, True, needed[1]))
    if needed[1] and grad_bias is None:
        summed = (gradient.float() if gradient.dtype == torch.bfloat16 else gradient).sum((0, 2, 3))
        grad_bias = summed.to(gradient.dtype)
    return grad_weight, grad_bias


def _torch_gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, arguments: tuple[Any, ...], mask: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """torch's gradients of x, weight and bias. One call for the first two takes longer than two calls."""
    stride, padding, transposed = arguments
    sizes = [gradient.shape[1]]
    return _backward(gradient, x, weight, sizes, stride, padding, (1, 1), transposed, (0, 0), 1, mask)


def _weight_gradient(
    small: Tensor, large: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """Gradient of a weight (A, B, k_h, k_w) from maps (N, A, h, w) and (N, B, H, W), by unfolding the latter."""
    (rows, columns), (height, width) = weight.shape[2:], small.shape[2:]
    padded = F.pad(large, (padding[1], padding[1], padding[0], padding[0])).permute(0, 2, 3, 1)  # (N, H, W, B)
    patches = padded.unfold(1, rows, stride[0]).unfold(2, columns, stride[1])[:, :height, :width]  # (N, h, w, B, k, k)
    unfolded = patches.permute(0, 1, 2, 4, 5, 3).reshape(-1, rows * columns * large.shape[1])  # (N*h*w, k*k*B)
    product = small.permute(0, 2, 3, 1).reshape(-1, small.shape[1]).T @ unfolded  # (A, k*k*B)
    return product.unflatten(1, (rows, columns, -1)).permute(0, 3, 1, 2)
