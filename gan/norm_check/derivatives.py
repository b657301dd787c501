"""Gradients, and gradients of gradients, against finite differences in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.gradcheck import GradcheckError
from torch.func import functional_call
from torch.nn.utils.parametrize import ParametrizationList

from gan.norm import Norm, power_iterate
from gan.norm.layer_types import LAYERS
from gan.norm_check.subject import NOT_APPLICABLE, OK, Failure, Finding, Subject, require_finite

_LARGE_BATCH = 8  # from which the centering of a convolution is computed from its input
_STEPS = 30  # of power iteration, before gradients are compared
_NOISE = 1e-9  # by which two computations of a gradient may differ
_TINY = (3, 6, 6)  # images of the network for a critic


def gradients(subject: Subject) -> Finding:
    """Gradients of weights and inputs equal finite differences in float64, in training and in evaluation."""
    return _compare(subject, torch.autograd.gradcheck)


def second_gradients(subject: Subject) -> Finding:
    """Gradients of gradients, as gradient penalties need them, equal finite differences in float64."""
    return _compare(subject, torch.autograd.gradgradcheck)


def _compare(subject: Subject, check: Callable[..., Any]) -> Finding:
    subject = subject.with_float64()
    for case in subject.required_cases():
        for training in (True, False):
            layer = case.build(dtype=torch.float64)
            inputs = case.inputs(batch=_LARGE_BATCH, dtype=torch.float64)
            layer.train()(inputs)
            power_iterate(layer, _STEPS)
            _set_mode(layer, training=training)
            mode = "training" if training else "evaluation"
            _against_differences(check, layer, inputs, f"{case} in {mode}")
    return Finding(OK, "weights and inputs, in training and in evaluation")


def _set_mode(layer: nn.Module, *, training: bool) -> None:
    """Training or evaluation mode; weight maps stay in evaluation mode.

    A weight map that iterates in each forward pass in training holds the result constant in the gradient.
    """
    layer.train(training)
    for module in layer.modules():
        if isinstance(module, (ParametrizationList, *LAYERS)):
            module.eval()


def _against_differences(check: Callable[..., Any], network: nn.Module, inputs: Tensor, where: str) -> None:
    """Check the gradients of all parameters and of the inputs, by random projections of the Jacobian.

    Args:
        check: `gradcheck` or `gradgradcheck` of torch.
        network: called with its own parameters replaced, and with copies of its buffers.
    """
    parameters = {name: value.detach().clone().requires_grad_() for name, value in network.named_parameters()}
    buffers = {name: value for name, value in network.named_buffers() if value is not None}

    def call(x: Tensor, *values: Tensor) -> Tensor:
        torch.manual_seed(0)  # for norms that draw noise
        copies = {name: value.clone() for name, value in buffers.items()}
        return functional_call(network, {**dict(zip(parameters, values, strict=True)), **copies}, (x,))

    arguments = (inputs.detach().clone().requires_grad_(), *parameters.values())
    outputs = call(*arguments)
    require_finite(outputs, where)
    if not outputs.requires_grad:
        raise Failure(f"{where}: the output has no gradient")
    try:
        check(call, arguments, fast_mode=True, nondet_tol=_NOISE, check_undefined_grad=False)
    except GradcheckError as error:
        second = check is torch.autograd.gradgradcheck
        what = "a second derivative" if second else "a gradient"
        raise Failure(f"{where}: {what} differs from finite differences in float64") from error


class _Criticized(nn.Module):
    """A discriminator under the critic of a norm."""

    def __init__(self, discriminator: nn.Module, norm: Norm) -> None:
        super().__init__()
        self.discriminator = discriminator
        self.norm = norm

    def forward(self, images: Tensor) -> Tensor:
        return self.norm.logits(self.discriminator, images)


def critic(subject: Subject) -> Finding:
    """The critic gives a logit (N,) for each image, with gradients that equal finite differences in float64."""
    norm = subject.norm
    if norm.critic is None:
        return Finding(NOT_APPLICABLE, "no critic")
    images = subject.images()
    discriminator = subject.discriminator()
    logits = norm.logits(discriminator, images)
    require_finite(logits, "the critic")
    if logits.shape != (len(images),):
        raise Failure(f"the critic returns {tuple(logits.shape)} for {len(images)} images, not ({len(images)},)")
    largest = logits.abs().max().item()
    subject = subject.with_float64()
    tiny = _tiny_discriminator(subject)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(3, *_TINY, generator=generator, dtype=torch.float64).to(subject.device)
    tiny(inputs)
    power_iterate(tiny, _STEPS)
    _set_mode(tiny, training=True)
    for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
        _against_differences(check, _Criticized(tiny, norm), inputs, "through the critic")
    return Finding(OK, f"gradients equal finite differences; largest logit {largest:.3g}", {"largest_logit": largest})


def _tiny_discriminator(subject: Subject) -> nn.Module:
    """A smooth discriminator in float64: two layers, tanh between them."""
    torch.manual_seed(0)
    channels, height, width = _TINY
    like: dict[str, Any] = {"dtype": torch.float64, "device": subject.device}
    convolution = nn.Conv2d(channels, subject.channels, 3, stride=2, padding=1, **like)
    linear = nn.Linear(subject.channels * height * width // 4, 1, **like)
    layers = (subject.norm.hidden(convolution), nn.Tanh(), nn.Flatten(), subject.norm.output(linear))
    return nn.Sequential(*layers, nn.Flatten(0))  # (N, 1) -> (N,)
