"""The user's own code that runs and checkpoints need: imported before other work, and compared with the record."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from gan.config import plugins
from gan.config.registry import Registry
from gan.distributed import collectives
from gan.errors import UsageError


class _Config(Protocol):
    def plugin_records(self) -> plugins.Records: ...


def import_own_code(config: _Config, before: Mapping[str, Any] | None, where: object) -> plugins.Records:
    """Import the code that a config names, and check that its source is unchanged. Several ranks call it together.

    Args:
        before: entry `plugins` of the run's files; None if they have none.
        where: start of the message, such as `RUN cats`.

    Raises:
        UserError: the user has not named the code, it cannot be used, has changed, or is not the same on all ranks.
    """
    records = collectives.first_local_rank_first(config.plugin_records)
    collectives.require_equal(records, "your own code differs; copy the same files to every machine")
    plugins.require_unchanged(before, records, where)
    return records


def import_named_code(
    choices: Registry, value: object, named: Sequence[str], state: Mapping[str, Any], where: object
) -> None:
    """Import the code that a checkpoint needs to be loaded, if it needs any.

    Args:
        choices: of the flag, such as NETWORKS.
        value: the value in the checkpoint.
        named: the values that the user gave for the flag, whose code may run.
        state: the content of the checkpoint.
        where: the checkpoint, for messages.

    Raises:
        UserError: the user has not named the code, it cannot be used, or has changed since the training.
    """
    allow_named(choices, named)
    if not isinstance(value, str) or choices.problem(value) or not (references := choices.references(value)):
        return
    try:
        plugins.require_allowed(plugins.OwnCode(choices.flag, value, references))
    except plugins.CodeNotNamed as error:
        raise plugins.CodeNotNamed(f"{where}: needs {error}") from error
    plugins.require_unchanged(state.get("plugins"), plugins.record(references, choices.flag), where)
    choices.load(value)


def allow_named(choices: Registry, named: Iterable[str]) -> None:
    """Let the code run that the user named by a flag; a UsageError if a value is not valid."""
    for value in named:
        if problem := choices.problem(value):
            raise UsageError(f"{choices.flag} {value}: {problem}")
        plugins.allow(choices.references(value))


def require_used(choices: Registry, named: Iterable[str], values: Iterable[object], where: object) -> None:
    """Raise a UsageError if the user named a value that no checkpoint has.

    Args:
        values: the values in the checkpoints.
        where: the checkpoints, for the message.
    """
    present = dict.fromkeys(map(str, values))
    for value in named:
        if choices.canonical(value) not in present:
            raise UsageError(f"{choices.flag} {value}: is not that of {where} ({', '.join(present) or 'it has none'})")
