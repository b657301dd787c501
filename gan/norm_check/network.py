"""Measurements of whole layers and networks under a norm: operator norms, parameters, a training step, its time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gan.bench.report import Spread
from gan.bench.turns import take_turns
from gan.bench.workload import Workload
from gan.models import count_parameters
from gan.nn.losses import LOSSES
from gan.norm import power_iterate
from gan.norm_check.subject import (
    LATENT_DIM,
    MEASURED,
    NETWORKS,
    OK,
    RESOLUTION,
    Case,
    Failure,
    Finding,
    Subject,
)
from gan.runtime import Runtime

_ITERATIONS = 100  # of power iteration, before operator norms are measured
_SETTLING = 30  # calls in training that settle the running statistics
_GENERATOR_WIDTH = 8
_STEPS = 2
_RATE = 2e-4  # of Adam
_MODEL, _BATCH = "msn-dcgan", 8  # whose step is timed
_ROUNDS = 7


def bounds(subject: Subject) -> Finding:
    """Operator norms of layers in evaluation, and the largest ‖∇D(x)‖ of random images, after power iteration."""
    norms = {}
    for name, kind in (("conv stride 1", "conv2d"), ("stride 2", "conv2d of stride 2"), ("linear", "linear")):
        case = Case(kind, subject)
        layer = case.build()
        _settle(layer, case.inputs())
        norms[name] = _operator_norm(layer, case.inputs(batch=1))
    discriminator, images = subject.discriminator(), subject.images(16)
    _settle(discriminator, images)
    images.requires_grad_()
    logits = subject.norm.logits(discriminator, images)
    (gradient,) = torch.autograd.grad(logits.sum(), images)
    steepest = gradient.flatten(1).norm(dim=1).max().item()
    text = ", ".join(f"{name} {value:.3g}" for name, value in norms.items())
    return Finding(MEASURED, f"‖layer‖: {text}; largest ‖∇D(x)‖ {steepest:.2g}", {**norms, "gradient": steepest})


def _settle(network: nn.Module, inputs: Tensor) -> None:
    """Settle running statistics and the vectors of power iteration, then switch to evaluation."""
    with torch.no_grad():
        for _ in range(_SETTLING):
            network.train()(inputs)
        power_iterate(network, _ITERATIONS)
    network.eval()


def _operator_norm(layer: nn.Module, x: Tensor) -> float:
    """The largest singular value of a layer's Jacobian at x (1, ...), all of whose entries are computed.

    If the layer is affine in evaluation, it is the norm of the linear map of whole inputs.
    """
    rows = layer(x).numel()
    copies = x.expand(rows, *x.shape[1:]).clone().requires_grad_()  # a copy of x for each output value
    outputs = layer(copies).flatten(1).diagonal()  # value i of the output for copy i
    (jacobian,) = torch.autograd.grad(outputs.sum(), copies)
    return torch.linalg.matrix_norm(jacobian.flatten(1).cpu().double(), 2).item()


def training_step(subject: Subject) -> Finding:
    """Updates of a small D and G give finite losses, gradients and parameters; counts the parameters that are added."""
    plain = count_parameters(subject.plain_discriminator())
    discriminator = subject.discriminator()
    torch.manual_seed(0)
    generator = NETWORKS["DCGAN"].generator(RESOLUTION, latent_dim=LATENT_DIM, width=_GENERATOR_WIDTH)
    generator = subject.placed(generator)
    loss = LOSSES["hinge"]
    optimizers = [torch.optim.Adam(network.parameters(), _RATE) for network in (discriminator, generator)]
    added = count_parameters(discriminator) - plain
    for step in range(_STEPS):
        real = subject.images(seed=step)
        latents = torch.randn(len(real), LATENT_DIM, generator=torch.Generator().manual_seed(step))
        latents = latents.to(subject.device)
        power_iterate(discriminator)
        fake = generator(latents)
        logits = [subject.norm.logits(discriminator, images) for images in (real, fake.detach())]
        _update("D", discriminator, optimizers[0], loss.discriminator(*logits))
        fake_logits = subject.norm.logits(discriminator, fake)
        _update("G", generator, optimizers[1], loss.generator(fake_logits, fake_logits))
    text = f"{added:+,} parameters of {plain:,}; losses, gradients and weights are finite"
    return Finding(OK, text, {"added": added, "plain": plain})


def _update(name: str, network: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    if not loss.isfinite():
        raise Failure(f"the loss of {name} is not finite")
    optimizer.zero_grad()
    loss.backward()
    for key, parameter in network.named_parameters():
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            raise Failure(f"the gradient of {key} in {name} is not finite")
    optimizer.step()
    for key, parameter in network.named_parameters():
        if not parameter.isfinite().all():
            raise Failure(f"{key} of {name} is not finite after a step")


def step_time(subject: Subject) -> Finding:
    """Time of an update of the published DCGAN's D, relative to `none`, measured in turn."""
    runtime = Runtime(subject.device, bf16=False)
    workloads = [Workload(_MODEL, norm, _BATCH, runtime) for norm in ("none", subject.text)]
    turns = take_turns(
        workloads, _ROUNDS, lambda workload: workload.seconds("train", 1, warm=True), label="timing steps"
    )
    ratios = [ours / plain for plain, ours in turns]
    spread = Spread.of(ratios)
    text = f"{spread.median:.2f} times that of none ({spread.low:.2f} to {spread.high:.2f})"
    return Finding(MEASURED, text, {"ratio": spread._asdict(), "rounds": _ROUNDS, "batch": _BATCH})
