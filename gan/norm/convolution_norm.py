"""Spectral normalization of a convolution as a linear map of whole inputs, by its operator norm."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

from .layer_types import TRANSPOSED
from .precision import at_least_fp32, full_precision
from .spectral import DividedBySigma, Gain

_INITIAL_ITERATIONS = 50  # σ of many positions converges slowly

_CONVOLVE = (F.conv1d, F.conv2d, F.conv3d)
_TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


class ConvolutionSpectralNorm(DividedBySigma):
    """Parametrization of a convolution's weight: W̄ = c W / σ, σ the norm of x -> conv_W(x) on inputs of one size.

    The convolution has the layer's stride, padding, dilation and groups. If a subclass of torch's layers computes more
    than a convolution, such as a mean after it, σ is that of the convolution alone.

    σ = ⟨u, conv_W(v)⟩ is estimated by power iteration through the convolution and its transpose (Farnia et al. 2019,
    arXiv 1811.07457, algorithm 1). `u` and `v` have the shapes of one output and one input. They are None until the
    input size is known, from the first call of the layer (`settle_input_size`) or from a state dict. They change only
    in `iterate`; the gradient flows through σ with u and v constant. The estimate is a lower bound: for many channels
    and positions it is initially a few percent too small, and 1 % after a hundred updates.

    Args:
        layer: a convolution or transposed convolution.
        gain: c, or "learned": a scalar parameter, initially 1.
        eps: the smallest norm used as a divisor.
        autocast: return W̄ in the dtype of autocast, to which a convolution would cast it at each use.
    """

    u: Tensor | None  # (1, C_out, ...), unit norm
    v: Tensor | None  # (1, C_in, ...), unit norm
    template: Tensor  # (0,), device and dtype of u and v

    def __init__(self, layer: _ConvNd, gain: Gain = 1.0, eps: float = 1e-12, *, autocast: bool = False) -> None:
        super().__init__(layer.weight, gain, autocast=autocast)
        self.eps = eps
        self.transposed = isinstance(layer, TRANSPOSED)
        self.channels = layer.in_channels
        self.kernel_size = layer.kernel_size
        self.stride, self.dilation, self.groups = layer.stride, layer.dilation, layer.groups
        self.padding = _symmetric_padding(layer)
        self.output_padding = layer.output_padding
        self.register_buffer("u", None)
        self.register_buffer("v", None)
        self.register_buffer("template", at_least_fp32(layer.weight.detach()).new_empty(0), persistent=False)

    @property
    def input_size(self) -> tuple[int, ...] | None:
        """Size of the input without batch and channels; None before it is known."""
        return None if self.v is None else tuple(self.v.shape[2:])

    def settle(self, weight: Tensor, size: tuple[int, ...]) -> None:
        """Create u and v for inputs of a size, the same ones for every seed, and iterate them."""
        # Leaving inference mode, whose tensors could not be updated later, enables gradients.
        with torch.inference_mode(False), torch.no_grad(), full_precision(weight):
            weight = at_least_fp32(weight)
            shape = (1, self.channels, *size)
            count = torch.Size(shape).numel()
            start = torch.randn(shape, generator=torch.Generator().manual_seed(count), dtype=torch.float64)
            self.v = _normalize(start.to(weight), self.eps)
            outputs = [self._upsampled(i, n) + self.output_padding[i] for i, n in enumerate(size)]
            output = self._up(self.v, weight, outputs) if self.transposed else self._down(self.v, weight)
            self.u = _normalize(output, self.eps)
            self.iterate(weight, _INITIAL_ITERATIONS)

    @torch.no_grad()
    def iterate(self, weight: Tensor, iterations: int = 1) -> None:
        """Update u and v in place, `iterations` times: v <- normalize(convᵀ(u)), u <- normalize(conv(v))."""
        if self.u is None or self.v is None:
            return
        with full_precision(weight):
            weight = at_least_fp32(weight)
            u, v = self.u.to(weight), self.v.to(weight)
            for _ in range(iterations):
                if self.transposed:
                    v = _normalize(self._down(u, weight), self.eps)
                    u = _normalize(self._up(v, weight, u.shape[2:]), self.eps)
                else:
                    v = _normalize(self._up(u, weight, v.shape[2:]), self.eps)
                    u = _normalize(self._down(v, weight), self.eps)
            self.u.copy_(u)
            self.v.copy_(v)

    def estimate(self, weight: Tensor) -> Tensor:
        """Return σ = ⟨u, conv(v)⟩, a scalar with a gradient."""
        if self.u is None or self.v is None:
            raise RuntimeError(
                "the input size of a convolution under convolution_spectral_norm is unknown: call the network once"
            )
        # Copies, because `iterate` may change u and v between a forward pass and its backward pass.
        u, v = self.u.to(weight, copy=True), self.v.to(weight, copy=True)
        # ⟨u, convᵀ(v)⟩ = ⟨conv(u), v⟩
        large, small = (u, v) if self.transposed else (v, u)
        return torch.dot(small.reshape(-1), self._down(large, weight).reshape(-1))

    def _down(self, large: Tensor, weight: Tensor) -> Tensor:
        """The convolution: (1, B, ...) -> (1, A, ...), with a weight (A, B / groups, ...)."""
        convolve = _CONVOLVE[len(self.stride) - 1]
        return convolve(large, weight, None, self.stride, self.padding, self.dilation, self.groups)

    def _up(self, small: Tensor, weight: Tensor, size: list[int] | torch.Size) -> Tensor:
        """Its transpose, to inputs of a size: (1, A, ...) -> (1, B, *size)."""
        transposed = _TRANSPOSED[len(self.stride) - 1]
        rest = [whole - self._upsampled(i, n) for i, (whole, n) in enumerate(zip(size, small.shape[2:], strict=True))]
        return transposed(small, weight, None, self.stride, self.padding, rest, self.groups, self.dilation)

    def _upsampled(self, i: int, n: int) -> int:
        """Smallest input of the convolution, in dimension i, for which its output has size n."""
        return (n - 1) * self.stride[i] - 2 * self.padding[i] + self.dilation[i] * (self.kernel_size[i] - 1) + 1

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        u, v = (state_dict.get(f"{prefix}{name}") for name in ("u", "v"))
        if self.v is None and isinstance(u, Tensor) and isinstance(v, Tensor):
            self.u, self.v = self.template.new_zeros(u.shape), self.template.new_zeros(v.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)


def settle_input_size(layer: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    """Forward pre-hook of a layer under `convolution_spectral_norm`: set its input size, or check it.

    Raises:
        ValueError: the input size differs from that of the first call, or an output size is given.
    """
    if any(value is not None for value in (*inputs[1:], keywords.get("output_size"))):
        raise ValueError("convolution_spectral_norm does not support the argument output_size")
    x = inputs[0] if inputs else keywords["input"]
    norm, weight = _convolution_norm(layer)
    size = tuple(x.shape[2 - weight.dim() :])  # without batch and channels
    if norm.input_size is None:
        norm.settle(weight, size)
    elif size != norm.input_size:
        known, given = ("×".join(map(str, values)) for values in (norm.input_size, size))
        raise ValueError(
            f"convolution_spectral_norm: the layer was first called with inputs of {known}, now of {given}"
        )


def settle_input_sizes(network: nn.Module, *inputs: Any) -> None:
    """Call a network once, so that each layer under `convolution_spectral_norm` knows its input size.

    Nothing else changes: it runs in evaluation mode without gradients, and restores the random state and the mode of
    each module. Without such layers, or if all of them know their size, the network is not called.

    Args:
        inputs: of the network; only their shapes matter, and a batch of one is enough.
    """
    layers = [layer for layer in network.modules() if settle_input_size in layer._forward_pre_hooks.values()]
    if all(_convolution_norm(layer)[0].input_size is not None for layer in layers):
        return
    training = {module: module.training for module in network.modules()}
    devices = {p.device for p in network.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(list(devices)), torch.no_grad():
        try:
            network.eval()(*inputs)
        finally:
            for module, mode in training.items():
                module.training = mode


def forget_input_size(layer: nn.Module) -> None:
    """Remove the hook of `convolution_spectral_norm`, for a layer that becomes a plain one."""
    for key, hook in list(layer._forward_pre_hooks.items()):
        if hook is settle_input_size:
            del layer._forward_pre_hooks[key]
            layer._forward_pre_hooks_with_kwargs.pop(key, None)


def _convolution_norm(layer: nn.Module) -> tuple[ConvolutionSpectralNorm, Tensor]:
    """The norm of a layer under `convolution_spectral_norm`, and its raw weight."""
    assert parametrize.is_parametrized(layer, "weight")
    stored: Any = layer.parametrizations["weight"]  # type: ignore[index]
    return next(norm for norm in stored if isinstance(norm, ConvolutionSpectralNorm)), stored.original


def _symmetric_padding(layer: _ConvNd) -> tuple[int, ...]:
    """The layer's padding by zeros in numbers, equal on both sides."""
    if layer.padding_mode != "zeros":
        raise ValueError(f"convolution_spectral_norm needs padding_mode='zeros', not {layer.padding_mode!r}")
    if not isinstance(layer.padding, str):
        return layer.padding
    if layer.padding == "valid":
        return (0,) * len(layer.kernel_size)
    total = [dilation * (size - 1) for dilation, size in zip(layer.dilation, layer.kernel_size, strict=True)]
    if any(value % 2 for value in total):
        raise ValueError(f"convolution_spectral_norm: padding='same' of kernel {layer.kernel_size} is not symmetric")
    return tuple(value // 2 for value in total)


def _normalize(x: Tensor, eps: float) -> Tensor:
    return x / torch.linalg.vector_norm(x).clamp_min(eps)
