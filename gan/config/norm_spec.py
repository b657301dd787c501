"""The values of --norm: a weight map, a feature norm and a critic joined by `+`, such as `sn(gain=2)+mean`.

Pure text: `gan.models.norms` makes the functions.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from gan.config import plugins
from gan.config.registry import Registry, entry_points
from gan.errors import UsageError

LEARNED = "learned"
# Names with their options.
WEIGHT_MAPS: dict[str, tuple[str, ...]] = {
    "none": (),
    "wn": (),
    "sn": ("gain",),
    "bssn": ("gain",),
    "sn-conv": ("gain",),
    "orth": (),
}
FEATURE_NORMS: dict[str, tuple[str, ...]] = {
    "mean": (),
    "affine-mean": (),
    "bn": (),
    "ln": (),
    "in": (),
    "group": ("groups",),
}
CRITICS: dict[str, tuple[str, ...]] = {"gradnorm": ()}
ALIASES = {"msn": "sn+mean", "msn-affine": "sn+affine-mean"}
BATCH_STATISTICS = ("mean", "affine-mean", "bn")
"""Feature norms under which the output for one image depends on the others of its batch."""

_ROLES: dict[str, Mapping[str, tuple[str, ...]]] = {
    "weight map": WEIGHT_MAPS,
    "feature norm": FEATURE_NORMS,
    "critic": CRITICS,
}
_PLUS = re.compile(r"\+(?![^()]*\))")  # not within brackets, as in gain=1e+2
_PART = re.compile(r"(?P<name>[^()]*)(?:\((?P<options>[^()]*)\))?")


class Part(NamedTuple):
    """One part of a norm."""

    name: str
    """A name in the tables above, or a reference."""
    options: tuple[tuple[str, str | float | int], ...] = ()

    def __str__(self) -> str:
        options = ",".join(f"{key}={str(value).removesuffix('.0')}" for key, value in self.options)
        return f"{self.name}({options})" if options else self.name


@dataclass(frozen=True)
class NormSpec:
    """The parts of a norm. `own` are references; what each of them is, its code decides (`gan.models.norms`)."""

    weight_map: Part = Part("none")
    feature_norm: Part | None = None
    critic: Part | None = None
    own: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [self.weight_map, *self.own, self.feature_norm, self.critic]
        text = "+".join(str(part) for part in parts if part not in (None, Part("none")))
        return next((alias for alias, full in ALIASES.items() if full == text), text) or "none"


def parse_norm(text: str) -> NormSpec:
    """Parse a value of --norm.

    Raises:
        UsageError: it is no norm; the message says why and what would be.
    """
    roles: dict[str, Part] = {}
    own: list[str] = []
    for word in _words(text):
        if plugins.is_reference(word):
            own.append(plugins.normalized(word))
            continue
        part, role = _parse_part(word, text)
        if role in roles and roles[role] != Part("none"):
            raise UsageError(f"has two {role}s, {roles[role]} and {part}; give one, as in {_join(roles, own)}")
        roles[role] = part
    spec = _join(roles, own)
    if spec.critic and spec.feature_norm and spec.feature_norm.name in BATCH_STATISTICS:
        statistics = f"{spec.feature_norm.name} takes statistics over the batch"
        raise UsageError(
            f"{spec.critic} needs the gradient of each image by itself, and {statistics}; use ln, in, group or no "
            f"feature norm, as in {spec.weight_map}+{spec.critic}"
        )
    return spec


def norm_folder_name(norm: str) -> str:
    """A norm as part of a folder's name: `sn(gain=2)+mean` is `sn-gain=2+mean`, `norms/my.py:f` is `my-f`."""
    name = norm.replace("(", "-").replace(")", "").replace(",", "-")
    return re.sub(r"(?:[^+]*/)?([^+/]*?)(?:\.py)?:", r"\1-", name)


def folder_name_clashes(norms: Sequence[str]) -> list[str]:
    """A line for each two norms that would have one folder."""
    first: dict[str, str] = {}
    clashes = []
    for norm in dict.fromkeys(norms):
        other = first.setdefault(norm_folder_name(norm), norm)
        if other != norm:
            clashes.append(f"--norms: {other} and {norm} would share the folder {norm_folder_name(norm)}; rename one")
    return clashes


def _words(text: str) -> list[str]:
    """The parts of a norm as text, with aliases replaced and installed names as references."""
    words = []
    for word in map(str.strip, _PLUS.split(text)):
        known = word in ALIASES or any(word in table for table in _ROLES.values())
        installed = {} if known else entry_points(NormRegistry.GROUP)
        words += ALIASES[word].split("+") if word in ALIASES else [installed.get(word, word)]
    return words


def _parse_part(word: str, text: str) -> tuple[Part, str]:
    """A part and its role."""
    match = _PART.fullmatch(word)
    name = match["name"].strip() if match else ""
    role = next((role for role, table in _ROLES.items() if name in table), None)
    if match is None or role is None:
        raise UsageError(f"{f'{word!r} is unknown; ' if word != text else ''}choose from {_choices()}")
    options: dict[str, str | float | int] = {}
    for assignment in (match["options"] or "").split(",") if match["options"] is not None else ():
        key, _, value = (piece.strip() for piece in assignment.partition("="))
        if key in options:
            raise UsageError(f"{word}: {key} is given twice")
        if key not in _ROLES[role][name]:
            allowed = ", ".join(_ROLES[role][name])
            raise UsageError(f"{word}: {name} has {f'the option {allowed}' if allowed else 'no options'}, not {key!r}")
        options[key] = _option(word, key, value)
    if options.get("gain") == 1.0:
        del options["gain"]
    return Part(name, tuple(options.items())), role


def _option(word: str, key: str, value: str) -> str | float | int:
    """The value of an option: `gain` is a number above 0 or `learned`, `groups` a number from 1."""
    if key == "gain" and value == LEARNED:
        return value
    try:
        number = float(value) if key == "gain" else int(value)
    except ValueError:
        number = 0
    if not 0 < number < float("inf"):
        wanted = f"a number above 0, or {LEARNED}" if key == "gain" else "a number from 1"
        raise UsageError(f"{word}: {key} must be {wanted}")
    return number


def _join(roles: Mapping[str, Part], own: Sequence[str]) -> NormSpec:
    """The norm of these parts."""
    return NormSpec(roles.get("weight map", Part("none")), roles.get("feature norm"), roles.get("critic"), tuple(own))


def _choices() -> str:
    kinds = (f"{', '.join(table)} ({role}s)" for role, table in _ROLES.items())
    installed = entry_points(NormRegistry.GROUP)
    names = f"; installed: {', '.join(installed)}" if installed else ""
    return f"{'; '.join(kinds)}; {', '.join(ALIASES)}{names}; joined by +, as sn+mean{plugins.SPELLING}"


class NormRegistry(Registry):
    """The norms: names, what `+` joins them to, and references."""

    GROUP = "msn_gan.norms"

    def __init__(self, flag: str) -> None:
        super().__init__(flag, (*WEIGHT_MAPS, *FEATURE_NORMS, *ALIASES, *CRITICS), "", self.GROUP, "")

    def canonical(self, value: str) -> str:
        """See `Registry.canonical`: `sn+mean` is `msn`. A value that is no norm is returned unchanged."""
        try:
            return str(parse_norm(value))
        except UsageError:
            return value

    def problem(self, value: str) -> str | None:
        """See `Registry.problem`."""
        try:
            parse_norm(value)
        except UsageError as error:
            return str(error)
        return None

    def references(self, value: str) -> list[str]:
        """See `Registry.references`."""
        return list(parse_norm(value).own)

    def load(self, value: str) -> Any:
        """The `gan.norm.Norm` of a value; see `Registry.load`."""
        return importlib.import_module("gan.models.norms").create_norm(value, self.flag)
