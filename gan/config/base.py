"""What the settings of every command that trains have in common: checks, the JSON form, and the diff of two.

Settings are the fields of a frozen dataclass. The help text of a field is what `--help` shows and what documents it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from gan.errors import UsageError

S = TypeVar("S", bound="Config")

_MOST = 2**63  # of whole numbers, which torch holds in 64 bits
DYNAMICS_EVERY = 100  # steps; what --dynamics means without a number


def config_field(
    default: Any,
    help: str,
    *,
    choices: tuple[Any, ...] = (),
    low: float | None = None,
    free: bool = False,
    bare: Any = None,
) -> Any:
    """A field with its help text, its choices or lowest value, and whether a resumed run may change it freely.

    Args:
        bare: the value that its flag means without one; None: the flag needs a value.
    """
    metadata = {"help": help, "choices": choices, "low": low, "free": free, "bare": bare}
    return field(default=default, metadata=metadata)


def dynamics_field() -> Any:
    """The setting that samples training dynamics, in every command that trains."""
    return config_field(
        0,
        "steps between samples of gradients, layer means and singular values (dynamics.jsonl); 0 is never, "
        f"the flag alone {DYNAMICS_EVERY}",
        low=0,
        free=True,
        bare=DYNAMICS_EVERY,
    )


def flag_name(name: str) -> str:
    """The command-line flag of a setting."""
    return "--" + name.replace("_", "-")


@dataclass(frozen=True)
class Config:
    """Settings that check themselves when they are made. Choices and the lowest value hold for each part of a tuple.

    Raises:
        UsageError: one message with a line for each problem, by flag, value and choices.
    """

    def __post_init__(self) -> None:
        problems = [line for item in fields(self) if (line := _problem(item, getattr(self, item.name)))]
        if not problems:
            problems = self._contradictions()
        if problems:
            raise UsageError("\n".join(problems))

    def _contradictions(self) -> list[str]:
        """What is wrong with settings that are right each by itself."""
        return []

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}

    @classmethod
    def from_dict(cls: type[S], values: Mapping[str, Any]) -> S:
        """The inverse of `to_dict`; what is absent has its default.

        Raises:
            UsageError: unknown names, or values of the wrong type or range.
        """
        return cls().replace(values)

    def replace(self: S, values: Mapping[str, Any]) -> S:
        """A copy with some settings changed, checked again. Lists become tuples, whole numbers floats where due."""
        known = {item.name: item for item in fields(self)}
        if unknown := [name for name in values if name not in known]:
            raise UsageError(f"unknown settings: {', '.join(unknown)}; known are: {', '.join(known)}")
        return dataclasses.replace(self, **{name: _coerce(known[name], value) for name, value in values.items()})

    def differences(self: S, other: S) -> list[str]:
        """Settings that matter to the result and differ, as lines `--flag: mine -> other`."""
        pairs = ((name, getattr(self, name), getattr(other, name)) for name in self._decisive(other))
        return [f"{flag_name(name)}: {mine} -> {theirs}" for name, mine, theirs in pairs if mine != theirs]

    def flags(self: S, base: S) -> list[str]:
        """The words of a command line that turn `base` into these settings. None, which no flag says, is left out."""
        words = []
        for item in fields(self):
            name, value = flag_name(item.name), getattr(self, item.name)
            if value is None or value == getattr(base, item.name):
                continue
            if isinstance(value, bool):
                words.append(name if value else f"--no-{name[2:]}")
            else:
                words += [name, ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
        return words

    def _decisive(self, other: Any) -> list[str]:
        """Names of the settings that may not differ from those of `other` in one run."""
        return [item.name for item in fields(self) if not item.metadata["free"]]


def _problem(item: dataclasses.Field, value: Any) -> str | None:
    """What is wrong with one setting by itself."""
    name, choices, low = flag_name(item.name), item.metadata["choices"], item.metadata["low"]
    optional = "None" in str(item.type)
    if optional and value is None:
        return None
    kind = str(item.type).split(" |")[0]
    single = kind.removeprefix("tuple[").removesuffix(", ...]")
    if single != kind and not isinstance(value, tuple):
        return f"{name} {value!r}: is not of type {kind}"
    for part in value if single != kind else (value,):
        right_type = {
            "int": isinstance(part, int) and not isinstance(part, bool),
            "float": isinstance(part, float) and math.isfinite(part),
            "bool": isinstance(part, bool),
            "str": isinstance(part, str),
        }[single]
        if not right_type:
            return f"{name} {value!r}: is not of type {kind}"
        if choices and part not in choices:
            return f"{name} {part}: choose from {', '.join(map(str, choices))}"
        if low is not None and part < low:
            return f"{name} {part}: must be at least {low}"
        if single == "int" and part >= _MOST:
            return f"{name} {part}: must be less than 2^63"
    return None


def _coerce(item: dataclasses.Field, value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(_coerce(item, part) for part in value)
    if "float" in str(item.type) and isinstance(value, int) and not isinstance(value, bool):
        with suppress(OverflowError):  # it stays a whole number, which is refused
            return float(value)
    return value
