"""A command-line flag for every config field of a training command."""

import copy
from collections.abc import Callable, Collection, Mapping
from dataclasses import Field, fields
from typing import Any

import click

from gan.cli.app import Names, Numbers
from gan.cli.completion import complete_names, complete_path
from gan.config.base import NONE, Config, field_types, flag_name
from gan.config.registry import Registry

# Types that parse the values. Choices and ranges are checked by the config, which reports all problems in one message.
_CLICK_TYPES: dict[Any, click.ParamType] = {
    int: click.INT,
    float: click.FLOAT,
    str: click.STRING,
    tuple[int, ...]: Numbers(int, "4,6,7"),
    tuple[float, ...]: Numbers(float, "0.1,0.01"),
    tuple[str, ...]: Names(repeats=True),
}


class _OrNone(click.ParamType):
    """Values of another type, or the word `none`."""

    def __init__(self, other: click.ParamType) -> None:
        self.name = other.name
        self._other = other

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return NONE if value == NONE else self._other.convert(value, param, ctx)


class _Option(click.Option):
    """An option whose help shows only its current name, not the former one that is accepted too.

    Args:
        choices: names shown as the metavar; they are read when help is shown, as installed packages may add some.
    """

    def __init__(self, *args: Any, choices: Collection[Any] = (), **options: Any) -> None:
        super().__init__(*args, **options)
        self._choices = choices

    def make_metavar(self, *args: Any, **options: Any) -> str:
        if self.metavar is not None or not self._choices:
            return super().make_metavar(*args, **options)
        names = "|".join(map(str, self._choices))
        return f"{names},..." if isinstance(self.type, Names) else names

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        shown = copy.copy(self)
        shown.opts = self.opts[:1]
        return click.Option.get_help_record(shown, ctx)


def config_options(
    config: type[Config], without: tuple[str, ...] = (), help_texts: Mapping[str, str] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator: add a flag for every config field but `preset` and those in `without`; None if it is not given.

    Args:
        help_texts: for fields whose meaning in the command differs from that in the config.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        types = field_types(config)
        for item in reversed([item for item in fields(config) if item.name not in ("preset", *without)]):
            kind, name = types[item.name].kind, flag_name(item.name)
            click_type = _CLICK_TYPES.get(kind)
            if click_type and kind != tuple[str, ...] and types[item.name].takes_none:
                click_type = _OrNone(click_type)
            choices, bare = item.metadata["choices"], item.metadata["bare"]
            optional_value: dict[str, Any] = {} if bare is None else {"is_flag": False, "flag_value": str(bare)}
            former = [flag_name(item.metadata["key"])] if item.metadata["key"] else []
            command = click.option(
                f"{name}/--no-{name[2:]}" if kind is bool else name,
                *former,
                item.name,
                cls=_Option,
                type=click_type,
                default=None,
                metavar="[K]" if optional_value else None,
                choices=choices,
                help=(help_texts or {}).get(item.name) or f"{_sentence(item)}{_default(item.default)}",
                shell_complete=complete_names(choices) if choices != () else complete_path if kind is str else None,
                **optional_value,
            )(command)
        return command

    return decorate


def _default(value: Any) -> str:
    if value is None:
        return ""
    return f"  [{','.join(map(str, value)) if isinstance(value, tuple) else value}]"


def _sentence(item: Field) -> str:
    text = item.metadata["help"]
    own = " Or your own code, as file.py:name or package.module:name."
    return text[0].upper() + text[1:] + "." + (own if isinstance(item.metadata["choices"], Registry) else "")
