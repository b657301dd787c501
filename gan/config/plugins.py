"""A user's own code, named by a reference: `file.py:name` or `package.module:name`.

Code runs only if the user names it in this process, by a flag or by an argument of the Python functions (`allow`).
References in checkpoints, config files and other files are not enough: `load` refuses them.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from gan.errors import UsageError, UserError

SPELLING = ", or your own code as file.py:name or package.module:name"
_FILE = re.compile(r"(?P<source>.+\.py):(?P<name>[A-Za-z_]\w*)")
_MODULE = re.compile(r"(?P<source>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?P<name>[A-Za-z_]\w*)")


class PluginError(UserError):
    """An error in a user's own code; the message has its file and line."""


@dataclass(frozen=True)
class _Plugin:
    """The module of a reference."""

    module: ModuleType
    path: Path
    sha256: str
    version: str | None


_allowed: set[str] = set()
_loaded: dict[str, _Plugin] = {}  # by `file.py` or `package.module`


def is_reference(value: str) -> bool:
    """True if a value has the form of a reference."""
    return bool(_FILE.fullmatch(value) or _MODULE.fullmatch(value))


def normalized(reference: str) -> str:
    """A reference with a normalized path: `./a.py:f` and `a.py:f` are the same."""
    source, name = _split(reference)
    return f"{Path(os.path.normpath(source)).as_posix()}:{name}" if source.endswith(".py") else reference


def allow(references: Iterable[str]) -> None:
    """Let `load` import these references from now on: the user has named them in this process."""
    _allowed.update(map(normalized, references))


def load(reference: str, flag: str) -> Any:
    """Import the object of a reference.

    Args:
        flag: for messages.

    Raises:
        UsageError: the user has not named it, or there is no such file, module or name.
        PluginError: the code raised an exception.
    """
    reference = normalized(reference)
    if reference not in _allowed:
        raise UsageError(
            f"{flag} {reference}: is named by a file, and code runs only if you name it; add {flag} {reference} to the "
            "command to run it"
        )
    source, name = _split(reference)
    module = _plugin(source, f"{flag} {reference}").module
    try:
        return getattr(module, name)
    except AttributeError:
        names = [key for key in vars(module) if not key.startswith("_") and callable(vars(module)[key])]
        raise UsageError(
            f"{flag} {reference}: {source} has no {name}; choose from {', '.join(names) or 'nothing: it is empty'}"
        ) from None


def record(references: Iterable[str], flag: str) -> dict[str, dict[str, str | None]]:
    """Import references and describe their sources, for files: SHA-256 of the source file, version of its package."""
    records = {}
    for reference in references:
        load(reference, flag)
        plugin = _loaded[_split(normalized(reference))[0]]
        records[normalized(reference)] = {"sha256": plugin.sha256, "version": plugin.version}
    return records


def require_unchanged(
    before: Mapping[str, Mapping[str, Any]], now: Mapping[str, Mapping[str, Any]], where: str
) -> None:
    """Check that sources that two records share are equal; a UserError with both hashes otherwise.

    Args:
        where: start of the message, such as `RUN cats`.
    """
    for reference in before.keys() & now.keys():
        old, new = before[reference]["sha256"], now[reference]["sha256"]
        if old != new:
            raise UserError(
                f"{where}: the source of {reference} has changed since the start (SHA-256 {old[:12]}…, now "
                f"{new[:12]}…); restore it, or start again under another name"
            )


@contextmanager
def reported_errors() -> Iterator[None]:
    """Turn an exception that a user's own code raises in the block into a PluginError with its file and line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if message := error_message(error):
            raise PluginError(message) from error
        raise


def error_message(error: BaseException) -> str | None:
    """One line on an exception that was raised in, or by a call from, a user's own code; None for others."""
    paths = {str(plugin.path) for plugin in _loaded.values()}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in paths]
    if not frames:
        return None
    text = " ".join(str(error).split())
    return f"{frames[-1].filename}:{frames[-1].lineno}: {type(error).__name__}{f': {text}' if text else ''}"


@cache
def entry_points(group: str) -> dict[str, str]:
    """The names that installed packages offer in a group of entry points, and their references."""
    return {entry.name: entry.value for entry in importlib.metadata.entry_points(group=group)}


def _split(reference: str) -> tuple[str, str]:
    """The source and the name of a reference."""
    source, _, name = reference.rpartition(":")
    return source, name


def _plugin(source: str, where: str) -> _Plugin:
    if source.endswith(".py"):
        return _file_plugin(Path(source), where)
    if source not in _loaded:
        try:
            with _errors_of_import(where):
                module = importlib.import_module(source)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{source}.".startswith(f"{error.name}."):
                raise UserError(f"{where}: needs the package {error.name}, which is not installed") from error
            raise UsageError(
                f"{where}: there is no module {error.name}; install its package, or name a file"
            ) from error
        path = Path(module.__file__ or "")
        sha256 = hashlib.sha256(path.read_bytes() if path.is_file() else b"").hexdigest()
        _loaded[source] = _Plugin(module, path, sha256, _version(source))
    return _loaded[source]


def _file_plugin(path: Path, where: str) -> _Plugin:
    """Import a file; again if it has changed, as in a notebook. The bytes that are hashed are those that run."""
    try:
        code = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{where}: {path}: cannot be read: {error.strerror}") from error
    key, sha256 = path.as_posix(), hashlib.sha256(code).hexdigest()
    if key in _loaded and _loaded[key].sha256 == sha256:
        return _loaded[key]
    resolved = path.resolve()
    module = ModuleType(f"msn_gan_plugin_{sha256[:12]}_{path.stem}")
    module.__file__ = str(resolved)
    sys.modules[module.__name__] = module  # for pickle and dataclasses
    sys.path.append(str(resolved.parent))  # for modules beside it, as for a script
    try:
        with _errors_of_import(where):
            exec(compile(code, str(resolved), "exec"), module.__dict__)
    except ModuleNotFoundError as error:
        raise UserError(f"{where}: needs the module {error.name}, which is not installed") from error
    finally:
        sys.path.remove(str(resolved.parent))
    _loaded[key] = _Plugin(module, resolved, sha256, None)
    return _loaded[key]


@contextmanager
def _errors_of_import(where: str) -> Iterator[None]:
    """Turn an exception while a source is imported into a PluginError with file and line."""
    try:
        yield
    except (ModuleNotFoundError, UserError):
        raise
    except SyntaxError as error:
        raise PluginError(f"{where}: {error.filename}:{error.lineno}: {error.msg}") from error
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split())
        raise PluginError(f"{where}: {frame.filename}:{frame.lineno}: {type(error).__name__}: {text}") from error


def _version(module: str) -> str | None:
    """Version of the distribution that a module belongs to, if it is installed as one."""
    names = importlib.metadata.packages_distributions().get(module.partition(".")[0], [])
    return importlib.metadata.version(names[0]) if names else None
