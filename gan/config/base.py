"""Base class of the configs of all training commands: validation, JSON form, diff, and command-line flags.

A config is a frozen dataclass. The help text of a field is its documentation, which `--help` shows.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from types import NoneType
from typing import Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from gan.config import plugins
from gan.config.registry import Registry
from gan.errors import UsageError

S = TypeVar("S", bound="Config")

NONE = "none"  # as a value of a flag or in a file: None, or an empty tuple
_INT_BOUND = 2**63  # torch stores integers in 64 bits
DYNAMICS_EVERY = 100  # steps between samples for --dynamics without a number


def config_field(
    default: Any,
    help: str,
    *,
    choices: tuple[Any, ...] | Registry = (),
    low: float | None = None,
    high: float | None = None,
    free: bool = False,
    bare: Any = None,
    key: str = "",
) -> Any:
    """A config field with its help text and constraints.

    Args:
        choices: the allowed values, of each part if the field is a tuple; empty: all.
        low, high: the smallest and the largest allowed value, of each part if the field is a tuple.
        free: a resumed run may change the field, as it does not affect the result.
        bare: the value of the flag when it is given without one; None: the flag requires a value.
        key: the key in files, if it differs from the field's name; also accepted as a flag.
    """
    limits = {"low": low, "high": high}
    metadata = {"help": help, "choices": choices, **limits, "free": free, "bare": bare, "key": key}
    return field(default=default, metadata=metadata)


def dynamics_field() -> Any:
    """The field `dynamics`, which samples training dynamics, of every training command."""
    return config_field(
        0,
        "steps between samples of gradients, layer means and singular values (dynamics.jsonl); 0: never; "
        f"without a number: {DYNAMICS_EVERY}",
        low=0,
        free=True,
        bare=DYNAMICS_EVERY,
    )


def flag_name(name: str) -> str:
    """The command-line flag of a field."""
    return "--" + name.replace("_", "-")


class FieldType(NamedTuple):
    """The type of a config field: int, float, bool, str or a tuple of one of them, and whether None is allowed."""

    kind: Any
    part: type
    """`kind`, or the type of its parts if it is a tuple."""
    optional: bool
    takes_none: bool
    """The word `none` leaves the field without a value: an optional number, or a tuple for which it is no choice."""

    @property
    def is_tuple(self) -> bool:
        """True for a tuple."""
        return self.kind is not self.part


def field_types(config: type[Config]) -> dict[str, FieldType]:
    """The type of each field of a config."""
    types, choices = {}, {item.name: item.metadata["choices"] for item in fields(config)}
    for name, hint in get_type_hints(config).items():
        optional = NoneType in get_args(hint)  # of `int | None`
        kind = next(kind for kind in get_args(hint) if kind is not NoneType) if optional else hint
        if get_origin(kind) is tuple:
            types[name] = FieldType(kind, get_args(kind)[0], optional, NONE not in choices[name])
        else:
            types[name] = FieldType(kind, kind, optional, optional and kind is not str)
    return types


@dataclass(frozen=True)
class Config:
    """A config that validates its fields when it is created.

    Raises:
        UsageError: one message with a line for each problem, which names the flag, the value and the choices.
    """

    def __post_init__(self) -> None:
        types = field_types(type(self))
        for item in fields(self):  # one spelling of each name, so that equal settings compare equal
            if isinstance(item.metadata["choices"], Registry):
                object.__setattr__(self, item.name, _canonical(item.metadata["choices"], getattr(self, item.name)))
        problems = [line for item in fields(self) if (line := self._problem(item, types[item.name]))]
        if not problems:
            problems = self._contradictions()
        if problems:
            raise UsageError("\n".join(problems))

    def _contradictions(self) -> list[str]:
        """Problems of fields that are valid each by itself, a line each."""
        return []

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values by their keys, for JSON."""
        values = {item.metadata["key"] or item.name: getattr(self, item.name) for item in fields(self)}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}

    @classmethod
    def from_dict(cls: type[S], values: Mapping[str, Any]) -> S:
        """The inverse of `to_dict`; absent fields get their defaults.

        Raises:
            UsageError: unknown names, or values of the wrong type or range.
        """
        return cls().replace(values)

    @classmethod
    def by_field_name(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values with keys replaced by field names, where the two differ.

        Raises:
            UsageError: a field is given twice, by its name and by its key.
        """
        names = {item.metadata["key"]: item.name for item in fields(cls) if item.metadata["key"]}
        if twice := [f"{names[key]} and {key}" for key in values if names.get(key) in values]:
            raise UsageError(f"two names of one config field: {', '.join(twice)}; give only the first")
        return {names.get(key, key): value for key, value in values.items()}

    def replace(self: S, values: Mapping[str, Any]) -> S:
        """A validated copy with some fields changed, by name or key.

        Lists become tuples, integers floats for float fields, and `none` no value where the field takes it.
        """
        known, values = field_types(type(self)), self.by_field_name(values)
        if unknown := [name for name in values if name not in known]:
            raise UsageError(f"unknown config fields: {', '.join(unknown)}; choose from: {', '.join(known)}")
        return dataclasses.replace(self, **{name: _field_value(value, known[name]) for name, value in values.items()})

    def differences(self: S, other: S) -> list[str]:
        """Fields that affect the result and differ, as lines `--flag: old -> new`."""
        fixed = set(self._fixed_fields(other))
        values = [
            (item, getattr(self, item.name), getattr(other, item.name)) for item in fields(self) if item.name in fixed
        ]
        changed = [(item, old, new) for item, old, new in values if old != new]
        lines = [f"{flag_name(item.name)}: {old} -> {new}" for item, old, new in changed]
        if any(_references(item, old) or _references(item, new) for item, old, new in changed):
            lines.append("a file of your own code must have the same path as at the start")
        return lines

    def flags(self: S, base: S) -> list[str]:
        """Command-line words that turn `base` into this config. A text that is None is left out."""
        return self.flags_of(item.name for item in fields(self) if getattr(self, item.name) != getattr(base, item.name))

    def flags_of(self, names: Iterable[str]) -> list[str]:
        """Command-line words with the values of some fields; texts that are None are left out."""
        types = field_types(type(self))
        words = []
        for field_name in names:
            name, value = flag_name(field_name), getattr(self, field_name)
            if value is None or value == ():
                words += [name, NONE] if types[field_name].takes_none else []
            elif isinstance(value, bool):
                words.append(name if value else f"--no-{name[2:]}")
            else:
                words += [name, ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
        return words

    def own_code(self) -> list[plugins.OwnCode]:
        """The flags of this config that name the user's own code."""
        found = []
        for item in fields(self):
            value = getattr(self, item.name)
            if references := _references(item, value):
                text = ",".join(value) if isinstance(value, tuple) else value
                found.append(plugins.OwnCode(flag_name(item.name), text, references))
        return found

    def plugin_records(self) -> plugins.Records:
        """Import and try the user's own code that this config names, and describe its sources; see `plugins.record`.

        Raises:
            UserError: the user has not named the code, or it cannot be used.
        """
        records = {}
        choices = {flag_name(item.name): item.metadata["choices"] for item in fields(self)}
        plugins.require_allowed(*self.own_code())
        for flag, value, references in self.own_code():
            records.update(plugins.record(references, flag))
            for part in value.split(","):
                choices[flag].load(part)
        return records

    def _fixed_fields(self, other: Any) -> list[str]:
        """Names of the fields that must not differ from those of `other` within one run."""
        return [item.name for item in fields(self) if not item.metadata["free"]]

    def _problem(self, item: dataclasses.Field, field_type: FieldType) -> str | None:
        """The first problem of one field by itself, or None."""
        value, kind, part_type = getattr(self, item.name), field_type.kind, field_type.part
        if value is None and field_type.optional:
            return None
        name, choices = flag_name(item.name), item.metadata["choices"]
        low, high = item.metadata["low"], item.metadata["high"]
        if field_type.is_tuple and not isinstance(value, tuple):
            return f"{name} {value!r}: is not of type {kind}"
        for part in value if field_type.is_tuple else (value,):
            if not _is_of_type(part, part_type):
                return f"{name} {value!r}: is not of type {kind if field_type.is_tuple else kind.__name__}"
            if isinstance(choices, Registry):
                if problem := choices.problem(part):
                    return f"{name} {part}: {problem}"
            elif choices and part not in choices:
                return f"{name} {part}: choose from {', '.join(map(str, choices))}"
            if low is not None and part < low:
                return f"{name} {part}: must be at least {low}"
            if high is not None and part > high:
                return f"{name} {part}: must be at most {high:,}"
            if part_type is int and part >= _INT_BOUND:
                return f"{name} {part}: must be less than 2^63"
        return None


def user_values(config: type[Config], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that the user gave, by flags or arguments; references among them may be imported from now on.

    Args:
        values: by field name; None for what was not given.
    """
    given = {name: value for name, value in values.items() if value is not None}
    for item in fields(config):
        if item.name in given:
            plugins.allow(_references(item, given[item.name]))
    return given


def _references(item: dataclasses.Field, value: Any) -> list[str]:
    """References to the user's own code in the value of a field."""
    choices = item.metadata["choices"]
    if not isinstance(choices, Registry) or value is None:
        return []
    parts = value if isinstance(value, (list, tuple)) else (value,)
    valid = [part for part in parts if isinstance(part, str) and choices.problem(part) is None]
    return [reference for part in valid for reference in choices.references(part)]


def _canonical(choices: Registry, value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_canonical(choices, part) for part in value)
    return choices.canonical(value) if isinstance(value, str) else value


def _is_of_type(value: Any, kind: Any) -> bool:
    """True if the value has the type. A bool does not count as an int, nor NaN or infinity as a float."""
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, kind) and (kind is not float or math.isfinite(value))


def _field_value(value: Any, field_type: FieldType) -> Any:
    if field_type.takes_none and value in (NONE, (NONE,), [NONE]):
        return None if field_type.optional else ()
    return _coerce(value, field_type.part)


def _coerce(value: Any, part_type: type) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(_coerce(part, part_type) for part in value)
    if part_type is float and isinstance(value, int) and not isinstance(value, bool):
        with suppress(OverflowError):  # too large: the int is kept, and rejected by its type
            return float(value)
    return value
