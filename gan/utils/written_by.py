"""The version of the program that wrote a file, for messages that refuse the file."""

from typing import Any

from gan import __version__
from gan.errors import UserError

PROGRAM_KEY = "program"
"""Entry of a checkpoint: `msn-gan 0.1.0`. JSON files have `versions`, of `gan.utils.environment.program_versions`."""


def written_by(content: Any) -> str:
    """`written by msn-gan 0.3.0, this is msn-gan 0.1.0`, from the content of a checkpoint or of a JSON file.

    Args:
        content: anything that the file may contain; files of early versions and damaged ones record no version.
    """
    entries = content if isinstance(content, dict) else {}
    program = entries.get(PROGRAM_KEY)
    versions = entries.get("versions")
    if not isinstance(program, str) and isinstance(versions, dict) and isinstance(versions.get("msn-gan"), str):
        program = f"msn-gan {versions['msn-gan']}"
        if isinstance(commit := versions.get("git"), str) and commit != "unknown":
            program += f" (commit {commit[:12]})"
    name = program if isinstance(program, str) and program.isprintable() else "an unknown version of msn-gan"
    return f"written by {name}, this is msn-gan {__version__}"


def load_error_text(error: Exception) -> str:
    """The first line of an error from loading a file's content; a KeyError is the name of an entry that is missing."""
    return f"no entry {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]


def does_not_fit(where: object, reason: object, content: Any, remedy: str) -> UserError:
    """The error that a file of another version cannot be used: why, which version wrote it, and what to do.

    Args:
        where: path of the file.
        content: what was read from it.
        reason: text, or the error.
        remedy: what to do if the other version is not available.
    """
    if isinstance(reason, Exception):
        reason = load_error_text(reason)
    facts = f"{reason}; {written_by(content)}"
    return UserError(f"{where}: does not fit this version of msn-gan ({facts}); use that version, or {remedy}")
