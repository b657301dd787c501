"""Properties of a new layer: its raw weight, its output, the gradients that reach it, its dtype and device."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from gan.models.blocks import DiscriminatorNorm
from gan.norm import Norm, compose, power_iterate
from gan.norm_check.subject import (
    BATCH,
    LATENT_DIM,
    LAYERS,
    NETWORKS,
    NOT_APPLICABLE,
    OK,
    REQUIRED,
    RESOLUTION,
    Case,
    Failure,
    Finding,
    Subject,
    require_finite,
    stored_weight,
    weighted,
)
from gan.utils.counted import counted

_HUGE = 100.0  # inputs this much larger than usual
_BUILD_WIDTH = 8  # of the generators, and of their hidden maps


def raw_weights(subject: Subject) -> Finding:
    """Raw weights of D, and all weights of G, are those under `none` for the same seed."""
    count = 0
    for name in NETWORKS:
        plain, _, plain_generator = _initial_weights(name, subject.width, compose())
        initial, network, generator = _initial_weights(name, subject.width, subject.norm)
        if len(plain) != len(initial):
            raise Failure(f"{name}: {len(initial)} layers were normalized, {len(plain)} under none")
        parts = set(network.modules())
        for number, (expected, layer) in enumerate(zip(plain, initial, strict=True), 1):
            where = f"layer {number} of {name}"
            if not torch.equal(layer.weight, expected.weight):
                raise Failure(
                    f"{where} starts from other weights than under none: the norm of an earlier layer draws from "
                    "torch's global random numbers; draw from a torch.Generator of its own"
                )
            if layer.layer in parts:
                stored = stored_weight(layer.layer)
                unchanged = stored is not None and torch.equal(stored, layer.weight)
            else:  # replaced by another layer
                unchanged = any(torch.equal(p, layer.weight) for p in layer.result.parameters())
            if not unchanged:
                raise Failure(f"{where}: its raw weight is not the weight that it had before the norm")
            count += 1
        for one, other in zip(generator.parameters(), plain_generator.parameters(), strict=True):
            if not torch.equal(one, other):
                raise Failure(
                    f"{name}: a generator built after D has other weights than under none: the norm draws from "
                    "torch's global random numbers; draw from a torch.Generator of its own"
                )
    return Finding(OK, f"{counted(count, 'layer')} of two networks", {"layers": count})


class _Initial(NamedTuple):
    """A layer as it was given to the norm."""

    layer: nn.Module
    weight: Tensor
    result: nn.Module
    """What the norm made of it."""


def _initial_weights(name: str, width: int, norm: Norm) -> tuple[list[_Initial], nn.Module, nn.Module]:
    """Build a discriminator and then a generator from one seed; return D's layers, D and G."""
    layers: list[_Initial] = []

    def recorded(layer: nn.Module, *, hidden: bool) -> nn.Module:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        before = weight.detach().clone()
        result = norm.hidden(layer) if hidden else norm.output(layer)
        layers.append(_Initial(layer, before, result))
        return result

    recording = norm._replace(
        hidden=lambda layer: recorded(layer, hidden=True), output=lambda layer: recorded(layer, hidden=False)
    )
    torch.manual_seed(0)
    discriminator = NETWORKS[name].discriminator(RESOLUTION, width=width, normalize=DiscriminatorNorm(recording))
    generator = NETWORKS[name].generator(RESOLUTION, latent_dim=LATENT_DIM, width=_BUILD_WIDTH)
    return layers, discriminator, generator


def shapes(subject: Subject) -> Finding:
    """Outputs have the shapes that they have under `none`, for every kind of layer and several batch sizes.

    Linear layers and 2-d convolutions are required. If the norm raises an error for another kind, it does not apply.
    """
    done, refused = [], []
    for case in (*(Case(kind, subject) for kind in LAYERS), Case("linear", subject, is_output=True)):
        try:
            _compare_shapes(case)
        except Failure:
            raise
        except Exception:
            if case.kind in REQUIRED:
                raise
            refused.append(str(case))
        else:
            done.append(str(case))
    text = f"{counted(len(done), 'kind')} of layers, batches of 1 and {BATCH}{_refusals(refused)}"
    return Finding(OK, text, {"kinds": done, "refused": refused})


def _refusals(kinds: list[str]) -> str:
    return f"; {NOT_APPLICABLE} to {', '.join(kinds)}" if kinds else ""


def _compare_shapes(case: Case) -> None:
    layer, plain = case.build(), case.plain()
    for batch, training in ((BATCH, True), (BATCH, False), (1, False)):
        inputs = case.inputs(batch=batch)
        expected, outputs = plain(inputs), layer.train(training)(inputs)
        if not isinstance(outputs, Tensor):
            raise Failure(f"{case}: the output is {type(outputs).__name__}, not a tensor")
        if outputs.shape != expected.shape:
            raise Failure(
                f"{case}, batch of {batch}: the output is {tuple(outputs.shape)}, under none {tuple(expected.shape)}"
            )


def finite(subject: Subject) -> Finding:
    """Outputs are finite in training and in evaluation, also for large inputs and for zeros."""
    for case in subject.required_cases():
        layer, inputs = case.build(), case.inputs()
        for training in (True, False):
            mode = "training" if training else "evaluation"
            power_iterate(layer)
            for name, values in (("usual", inputs), ("large", _HUGE * inputs), ("zero", 0 * inputs)):
                require_finite(layer.train(training)(values), f"{case}, {name} inputs in {mode}")
    return Finding(OK, f"usual inputs, {_HUGE:.0f} times larger ones, and zeros")


def critic_logits(subject: Subject) -> Finding:
    """The critic, if there is one, gives a finite logit for each image."""
    if subject.norm.critic is None:
        return Finding(NOT_APPLICABLE, "no critic")
    images = subject.images()
    logits = subject.norm.logits(subject.discriminator(), images)
    if logits.shape != (len(images),):
        raise Failure(f"the critic returns {tuple(logits.shape)} for {len(images)} images, not ({len(images)},)")
    require_finite(logits, "the critic")
    return Finding(OK, f"a logit for each of {len(images)} images")


def gradients_reach(subject: Subject) -> Finding:
    """Gradients reach the raw weight and the input, and are finite."""
    for case in subject.required_cases():
        plain = case.plain()
        layer, inputs = case.normalized(plain), case.inputs().requires_grad_()
        stored = stored_weight(plain)
        if stored is None or not any(stored is parameter for parameter in layer.parameters()):
            expected = plain.weight  # replaced: the parameter with as many values takes its place
            assert isinstance(expected, Tensor)
            stored = next((p for p in layer.parameters() if p.numel() == expected.numel()), None)
        power_iterate(layer)
        outputs = layer.train()(inputs)
        if not outputs.requires_grad:
            raise Failure(f"{case}: the output has no gradient")
        weighted(outputs).backward()
        for name, tensor in (("raw weight", stored), ("input", inputs)):
            if tensor is None or tensor.grad is None or not tensor.grad.any():
                raise Failure(f"{case}: no gradient reaches the {name}")
            if not tensor.grad.isfinite().all():
                raise Failure(f"{case}: the gradient of the {name} is not finite")
    return Finding(OK, "raw weight and input of every layer")


def dtype_and_device(subject: Subject) -> Finding:
    """A float64 layer gets float64 parameters, statistics and outputs; a norm moves with its layer; `meta` works."""
    subject = subject.with_float64()
    for case in subject.required_cases():
        wide, moved = case.build(dtype=torch.float64), case.build().double()
        for layer, how in ((wide, "a float64 layer"), (moved, "a layer moved to float64")):
            _require_dtype(layer, f"{case}: in {how},")
            for training in (True, False):
                outputs = layer.train(training)(case.inputs(dtype=torch.float64))
                if outputs.dtype != torch.float64:
                    raise Failure(f"{case}: the output of {how} is {_name(outputs.dtype)}")
        device = subject.device.type
        for name, tensor in _state(wide):
            if tensor.device.type != device:
                raise Failure(f"{case}: {name} is on {tensor.device.type}, the layer on {device}")
        _require_meta(case)
    return Finding(OK, "float64, moved to float64, meta")


def _require_dtype(layer: nn.Module, where: str) -> None:
    for name, tensor in _state(layer):
        if tensor.is_floating_point() and tensor.dtype != torch.float64:
            raise Failure(f"{where} {name} is {_name(tensor.dtype)}")


def _require_meta(case: Case) -> None:
    layer = case.build(device="meta")
    for name, tensor in _state(layer):
        if tensor.device.type != "meta":
            raise Failure(f"{case}: in a layer on the device meta, {name} is on {tensor.device.type}")
    outputs = layer(case.inputs().to("meta"))
    if outputs.device.type != "meta":
        raise Failure(f"{case}: the output of a layer on the device meta is on {outputs.device.type}")


def _state(layer: nn.Module) -> list[tuple[str, Tensor]]:
    return [*layer.named_parameters(), *layer.named_buffers()]


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
