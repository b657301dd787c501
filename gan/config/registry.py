"""Names that a flag accepts, with the place of the code behind them, and references to a user's own code."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from gan.config import plugins
from gan.errors import UsageError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # of an entry point


@cache
def entry_points(group: str) -> dict[str, str]:
    """The names that installed packages offer in a group of entry points, and their references.

    Nothing is imported. Entries that are no references are left out, as broken packages must not break commands.
    """
    try:
        found = list(importlib.metadata.entry_points(group=group))
    except Exception:  # damaged metadata of any package raise almost anything
        return {}
    return {
        entry.name: entry.value for entry in found if _NAME.fullmatch(entry.name) and plugins.is_reference(entry.value)
    }


class Registry:
    """The names of one kind of object: built-in ones, those of installed packages, and references.

    Iterating gives the names; no code is imported for that. A reference, `file.py:name` or `package.module:name`,
    names a user's own code (`gan.config.plugins`).

    Args:
        flag: the flag that takes the names, for messages.
        names: built-in names.
        table: `module:attribute` of the dict with the objects of the built-in names.
        group: entry points of this group are further names.
        adapt: `module:attribute` of a function that turns a user's own object into one of the kind in the table; a
            TypeError says what it must be.
    """

    def __init__(self, flag: str, names: tuple[str, ...], table: str, group: str, adapt: str) -> None:
        self.flag = flag
        self.names = names
        self._table = table
        self._group = group
        self._adapt = adapt

    def __iter__(self) -> Iterator[str]:
        yield from self.names
        yield from (name for name in self._installed() if name not in self.names)

    def __contains__(self, value: object) -> bool:
        return isinstance(value, str) and self.problem(value) is None

    def canonical(self, value: str) -> str:
        """The one spelling of a value that is stored in files: an installed name becomes the reference behind it."""
        if value in self.names:
            return value
        if plugins.is_reference(value):
            return plugins.normalized(value)
        return self._installed().get(value, value)

    def problem(self, value: str) -> str | None:
        """The reason why a value is not valid, to follow the value in a message; None if it is valid."""
        if value in self.names or plugins.is_reference(value) or value in self._installed():
            return None
        return f"choose from {', '.join(self)}{plugins.SPELLING}"

    def references(self, value: str) -> list[str]:
        """The references in a value."""
        value = self.canonical(value)
        return [value] if plugins.is_reference(value) else []

    def load(self, value: str) -> Any:
        """The object of a name or reference; imports its code.

        Raises:
            UsageError: there is no such name or object.
            UserError: the code cannot be imported, or the user has not named it in this process.
        """
        if problem := self.problem(value):
            raise UsageError(f"{self.flag} {value}: {problem}")
        value = self.canonical(value)
        if value in self.names:
            return _attribute(self._table)[value]
        own = plugins.load(value, self.flag)
        with plugins.reported_errors(f"{self.flag} {value}"):
            return _attribute(self._adapt)(own)

    def _installed(self) -> dict[str, str]:
        """The references behind the names that installed packages offer."""
        return entry_points(self._group)


class FeatureRegistry(Registry):
    """The feature extractors: names, `auto`, `classifier:FILE`, and references.

    `dinov2` and `dinov2:l` are the same; the first is stored.
    """

    def __iter__(self) -> Iterator[str]:
        yield "auto"
        yield from (f"{name}:FILE" if name == "classifier" else name for name in super().__iter__())

    def canonical(self, value: str) -> str:
        """See `Registry.canonical`."""
        if value == "dinov2:l":
            return "dinov2"
        return value if _takes_no_code(value) else super().canonical(value)

    def problem(self, value: str) -> str | None:
        """See `Registry.problem`."""
        value = self.canonical(value)
        if _takes_no_code(value) or value in self.names:
            return None
        name, _, file = value.partition(":")
        return _part_problem(name, self.names) if file and name in self.names else super().problem(value)

    def references(self, value: str) -> list[str]:
        """See `Registry.references`."""
        value = self.canonical(value)
        return [] if _takes_no_code(value) or value in self.names else super().references(value)


def _attribute(place: str) -> Any:
    """The object at `module:attribute`."""
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _part_problem(name: str, names: tuple[str, ...]) -> str:
    """The reason why what follows the colon of a built-in name is not valid."""
    if parts := [other for other in names if other.startswith(f"{name}:")]:
        return f"choose from {', '.join((name, *parts))}"
    return "only classifier takes a file, as classifier:FILE"


def classifier_file(features: str) -> Path | None:
    """The file of `classifier:FILE`; None for other features."""
    name, colon, file = features.partition(":")
    return Path(file) if colon and name == "classifier" else None


def _takes_no_code(features: str) -> bool:
    return features == "auto" or classifier_file(features) is not None
