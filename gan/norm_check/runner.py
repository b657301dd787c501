"""Check the properties of a norm: all of them for `norm check`, a quick subset before a training."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import torch

from gan.config import plugins
from gan.config.choices import NORMS
from gan.errors import UsageError, UserError
from gan.models.norms import create_norm
from gan.norm_check import derivatives, initial, network, state
from gan.norm_check.subject import FAILS, MEASURED, Failure, Finding, Subject
from gan.utils.progress import working

Property = Callable[[Subject], Finding]

QUICK: dict[str, Property] = {
    "raw weights as under none": initial.raw_weights,
    "output shapes as under none": initial.shapes,
    "finite outputs": initial.finite,
    "gradients reach weights and inputs": initial.gradients_reach,
    "critic returns logits": initial.critic_logits,
}
"""Properties checked before a training under a user's own norm."""

PROPERTIES: dict[str, Property] = {
    **QUICK,
    "state moves in training only": state.state_moves,
    "gradients equal finite differences": derivatives.gradients,
    "second derivatives equal finite differences": derivatives.second_gradients,
    "bf16 near fp32": state.bf16,
    "state_dict restores the layer": state.saving,
    "deepcopy copies the layer": state.copying,
    "folding": state.folding,
    "images independent in evaluation": state.single_images,
    "dtype and device of the layer": initial.dtype_and_device,
    "critic": derivatives.critic,
    "training step": network.training_step,
    "operator norms": network.bounds,
    "time of a step": network.step_time,
}

_INFORMATION = ("operator norms", "time of a step")
"""Properties that cannot fail."""


class Checked(NamedTuple):
    """A property and the result of its check."""

    name: str
    finding: Finding
    seconds: float


def check_norm(
    text: str, device: torch.device, properties: Mapping[str, Property] = PROPERTIES, flag: str = "SPEC"
) -> list[Checked]:
    """Check properties of a norm.

    An exception in a user's own code is the failure of the property that is checked, with file and line.

    Args:
        text: a value of --norm.
        flag: for messages.

    Raises:
        UsageError: it is no norm.
        UserError: a user's own code cannot be loaded.
    """
    if problem := NORMS.problem(text):
        raise UsageError(f"{flag} {text}: {problem}")
    with torch.random.fork_rng(), plugins.reported_errors(f"{flag} {text}"):
        subject = Subject(text, create_norm(text, flag), device)
    results = []
    for name, check in properties.items():
        began = time.perf_counter()
        with torch.random.fork_rng(), working(f"checking: {name}"):
            finding = _checked(check, subject)
        if finding.verdict == FAILS and name in _INFORMATION:
            finding = finding._replace(verdict=MEASURED, text=f"not measured: {finding.text}")
        results.append(Checked(name, finding, time.perf_counter() - began))
    return results


def _checked(check: Property, subject: Subject) -> Finding:
    try:
        return check(subject)
    except Failure as failure:
        return Finding(FAILS, str(failure))
    except UserError as error:
        return Finding(FAILS, str(error))
    except Exception as error:
        message = plugins.error_message(error) or f"{type(error).__name__}: {' '.join(str(error).split())}"
        return Finding(FAILS, message)


def require_sound_norms(norms: Iterable[str], flag: str = "--norm") -> None:
    """Check that gradient descent can train under each of a user's own norms; other norms are known to be sound.

    It takes less than a second for each norm: weights, shapes, finite values and gradients of small layers.

    Args:
        flag: for messages.

    Raises:
        UsageError: names the property that does not hold.
    """
    for text in norms:
        if not NORMS.references(text):
            continue
        for name, finding, _ in check_norm(text, torch.device("cpu"), QUICK, flag):
            if finding.verdict == FAILS:
                raise UsageError(
                    f"{flag} {text}: {name}: {finding.text}; all properties: msn-gan norm check {shlex.quote(text)}"
                )
