"""Shell completion of values whose click type has none: names, lists of names, and paths."""

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

Completion = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def complete_names(names: Iterable[object]) -> Completion:
    """Complete a name, the last one of a list with commas."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        before, comma, start = incomplete.rpartition(",")
        return [CompletionItem(f"{before}{comma}{name}") for name in map(str, names) if name.startswith(start)]

    return complete


def complete_path(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a path, for values that may also be something else, such as a dataset's name."""
    return [CompletionItem(incomplete, type="file")]
