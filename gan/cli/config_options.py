"""A flag for every setting of a command that trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import click

from gan.cli.app import Names, Numbers
from gan.config.base import Config, flag_name

# What a setting's value is parsed as. Its choices and range are checked by the settings, all problems in one message.
_TYPES = {
    "int": click.INT,
    "float": click.FLOAT,
    "str": click.STRING,
    "tuple[int, ...]": Numbers(int, "4,6,7"),
    "tuple[float, ...]": Numbers(float, "0.1,0.01"),
    "tuple[str, ...]": Names(repeats=True),
}


def setting_options(
    settings: type[Config], without: tuple[str, ...] = (), told: Mapping[str, str] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A flag for every setting but `preset` and those `without`; its value is None where it is not given.

    `told` has help of its own for settings that mean something else to a command.
    """
    own = told or {}

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for item in reversed([item for item in fields(settings) if item.name not in ("preset", *without)]):
            kind = str(item.type).split(" |")[0]
            name = flag_name(item.name)
            choices, bare = item.metadata["choices"], item.metadata["bare"]
            alone: dict[str, Any] = {} if bare is None else {"is_flag": False, "flag_value": str(bare)}
            command = click.option(
                f"{name}/--no-{name[2:]}" if kind == "bool" else name,
                type=_TYPES.get(kind),
                default=None,
                metavar="[K]" if alone else _metavar(kind, choices),
                help=own.get(item.name) or f"{_sentence(item.metadata['help'])}{_default(item.default)}",
                **alone,
            )(command)
        return command

    return add


def _metavar(kind: str, choices: tuple[Any, ...]) -> str | None:
    shown = "|".join(map(str, choices))
    return f"{shown},..." if shown and kind.startswith("tuple") else shown or None


def _default(value: Any) -> str:
    if value is None:
        return ""
    return f"  [{','.join(map(str, value)) if isinstance(value, tuple) else value}]"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."
