"""The command line of this process, and parts of command lines that a user can copy.

These are the name of this program and the flags that locate a run.
"""

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_call: ContextVar[str | None] = ContextVar("call", default=None)


@contextmanager
def called_from_python(call: str) -> Iterator[None]:
    """Record a call of the Python API, such as `gan.train('cats')`, in place of the command line within the block."""
    token = _call.set(call)
    try:
        yield
    finally:
        _call.reset(token)


def command_words() -> list[str]:
    """The command line of this process; within a call of the Python API the call, as one word."""
    call = _call.get()
    return sys.argv if call is None else [call]


def command_text() -> str:
    """The command line of this process, for a shell; within a call of the Python API the call."""
    return _call.get() or shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def split_words(text: str) -> list[str]:
    """Split the text of a command line into words, as a POSIX shell does; on Windows a backslash separates folders.

    Raises:
        ValueError: a quotation is not closed.
    """
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""
    if os.name == "nt":
        lexer.escape = ""
    return list(lexer)


def program_name() -> str:
    """The command that starts this program: its installed name, or the interpreter and script of a clone."""
    if _call.get() is not None:
        return "msn-gan"  # the script is the caller's
    if not sys.argv[0].endswith(".py"):
        return "msn-gan"
    try:
        python = os.path.relpath(sys.executable)
    except ValueError:  # Windows: it is on another drive
        python = sys.executable
    script = "-m gan" if Path(sys.argv[0]).name == "__main__.py" else sys.argv[0]
    return f"{'python' if python.startswith('..') else python} {script}"


def location_flags(root: Path, device: str = "auto") -> list[str]:
    """The flags --out and --device, where they differ from their defaults."""
    return ([] if root == Path() else ["--out", str(root)]) + ([] if device == "auto" else ["--device", device])
