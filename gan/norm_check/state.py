"""Properties of a layer in use: its state, bf16, saving and copying, folding, and the images of a batch."""

from __future__ import annotations

import copy
import io

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gan.norm import fold, power_iterate
from gan.norm.layer_types import LAYERS
from gan.norm_check.subject import (
    NOT_APPLICABLE,
    OK,
    Case,
    Failure,
    Finding,
    Subject,
    exercise,
    relative_difference,
    require_finite,
    weighted,
)

BF16_TOLERANCE = 0.05  # relative; a bf16 number has a relative precision of 1/256
FOLD_TOLERANCE = 1e-5  # relative, in fp32
IMAGE_TOLERANCE = 1e-5  # relative


def state_moves(subject: Subject) -> Finding:
    """State moves in training or by `power_iterate` only: two evaluations of the same inputs are equal."""
    moved_by: dict[str, None] = {}
    for case in subject.required_cases():
        layer, inputs = case.build(), case.inputs()
        layer.train()(inputs)  # layers may create their state at the first call
        before = _tensors(layer)
        layer(inputs)
        if _changed(layer, before):
            moved_by["calls in training"] = None
        before = _tensors(layer)
        power_iterate(layer)
        if _changed(layer, before):
            moved_by["power_iterate"] = None
        layer.eval()
        before = _tensors(layer)
        first = layer(inputs)
        layer(case.inputs(1) + 1)
        if changed := _changed(layer, before):
            raise Failure(f"{case}: {changed} changes in evaluation")
        if not torch.equal(first, layer(inputs)):
            raise Failure(f"{case}: the same inputs give another output at the next evaluation")
    return Finding(OK, f"moved by {' and '.join(moved_by)}" if moved_by else "no state", {"moved_by": list(moved_by)})


def _tensors(layer: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in (*layer.named_parameters(), *layer.named_buffers())}


def _changed(layer: nn.Module, before: dict[str, Tensor]) -> str | None:
    """Name of the first parameter or buffer that has changed."""
    return next((name for name, tensor in _tensors(layer).items() if not torch.equal(tensor, before[name])), None)


def bf16(subject: Subject) -> Finding:
    """Outputs and gradients under bf16 autocast are finite, and outputs are near those in fp32."""
    largest = 0.0
    for case in subject.required_cases():
        inputs = case.inputs()
        expected = case.build().train()(inputs)
        layer = case.build().train()
        with torch.autocast(subject.device.type, dtype=torch.bfloat16):
            outputs = layer(inputs)
        require_finite(outputs, f"{case} under autocast")
        weighted(outputs.float()).backward()
        for name, parameter in layer.named_parameters():
            if parameter.grad is not None and not parameter.grad.isfinite().all():
                raise Failure(f"{case} under autocast: the gradient of {name} is not finite")
        difference = relative_difference(outputs, expected)
        if difference > BF16_TOLERANCE:
            raise Failure(f"{case}: differs from fp32 by {difference:.1%}, more than {BF16_TOLERANCE:.0%}")
        largest = max(largest, difference)
    text = f"differs from fp32 by {largest:.2%}, at most {BF16_TOLERANCE:.0%}"
    return Finding(OK, text, {"difference": largest, "tolerance": BF16_TOLERANCE})


def saving(subject: Subject) -> Finding:
    """A layer that loads the state dict of another computes the same, bit for bit, now and after further training."""
    for case in subject.required_cases():
        first, second = case.build(0), case.build(1)
        exercise(first, case.inputs())
        file = io.BytesIO()
        torch.save(first.state_dict(), file)
        file.seek(0)
        second.load_state_dict(torch.load(file, weights_only=True, map_location=subject.device))
        _require_equal(first, second, case, "after load_state_dict")
    return Finding(OK, "equal bit for bit, also after further training")


def copying(subject: Subject) -> Finding:
    """`copy.deepcopy` gives a layer that computes the same and shares nothing with the original."""
    for case in subject.required_cases():
        layer, inputs = case.build(), case.inputs()
        exercise(layer, inputs)
        duplicate = copy.deepcopy(layer)
        expected = layer.eval()(inputs)
        exercise(copy.deepcopy(layer), case.inputs(1))
        if not torch.equal(layer.eval()(inputs), expected):
            raise Failure(f"{case}: training a deepcopy changes the original")
        _require_equal(layer, duplicate, case, "of a deepcopy")
    return Finding(OK, "equal bit for bit, independent of the original")


def _require_equal(first: nn.Module, second: nn.Module, case: Case, where: str) -> None:
    """Raise a Failure unless two layers have equal outputs, now and after further training."""
    for when in ("", " and further training"):
        inputs = case.inputs(1)
        if not torch.equal(first.eval()(inputs), second.eval()(inputs)):
            raise Failure(f"{case}: the output {where}{when} is another: part of the state is missing")
        for layer in (first, second):
            exercise(layer, inputs)


def folding(subject: Subject) -> Finding:
    """`gan.norm.fold` gives a layer with the same outputs in evaluation; a norm that it cannot fold does not fail."""
    largest, folds = 0.0, True
    for case in subject.required_cases():
        layer, inputs = case.build(), case.inputs()
        exercise(layer, inputs)
        folded = fold(layer, strict=False)
        difference = relative_difference(folded(inputs), layer.eval()(inputs))
        if not difference <= FOLD_TOLERANCE:
            raise Failure(f"{case}: the folded layer differs by {difference:.2g}, more than {FOLD_TOLERANCE:g}")
        largest = max(largest, difference)
        folds &= isinstance(folded, LAYERS) and not parametrize.is_parametrized(folded) and not _hooks(folded)
    values = {"folds": folds, "difference": largest}
    if not folds:
        return Finding(NOT_APPLICABLE, "does not fold into a plain layer", values)
    return Finding(OK, f"differs by {largest:.1g}, at most {FOLD_TOLERANCE:g}", values)


def _hooks(layer: nn.Module) -> bool:
    return bool(layer._forward_pre_hooks or layer._forward_hooks)


def single_images(subject: Subject) -> Finding:
    """The output for an image does not depend on the other images of its batch, in evaluation; in training it may."""
    depends = {True: False, False: False}
    for case in subject.required_cases():
        inputs, others = case.inputs(), case.inputs(1)
        mixed = torch.cat([inputs[:1], others[1:]])
        for training in depends:
            layers = [case.build(), case.build()]  # new ones, because a call may move their state
            if not training:
                for layer in layers:
                    exercise(layer, inputs)
            outputs = [layer.train(training)(x)[0] for layer, x in zip(layers, (inputs, mixed), strict=True)]
            difference = relative_difference(*outputs)
            if not difference <= IMAGE_TOLERANCE:
                depends[training] = True
                if not training:
                    raise Failure(f"{case}: the output for an image depends on the others of its batch in evaluation")
    text = "depends on the batch in training" if depends[True] else "independent of the batch, also in training"
    return Finding(OK, text, {"depends_in_training": depends[True]})
