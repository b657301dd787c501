"""A user's own code, named by a reference: `file.py:name` or `package.module:name`.

Code runs only if the user names it in this process, by a flag or by an argument of the Python functions (`allow`).
References in checkpoints, config files and other files are not enough: `load` refuses them.

Files record the code that they need in their entry `plugins`: by reference, `sha256` of the source file and `version`
of its package.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import re
import shlex
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from gan.errors import UsageError, UserError

SPELLING = ", or your own code as file.py:name or package.module:name"
_FILE = re.compile(r"(?P<source>.+\.py):(?P<name>[A-Za-z_]\w*)")
_MODULE = re.compile(r"(?P<source>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?P<name>[A-Za-z_]\w*)")


Records = dict[str, dict[str, Any]]
"""The entry `plugins` of a file."""


class PluginError(UserError):
    """A user's own code raised an exception, and the message has its file and line; or its source has changed."""


class CodeNotNamed(UsageError):
    """A file names code that the user does not name in this process."""


@dataclass(frozen=True)
class _Plugin:
    """The module of a reference."""

    module: ModuleType
    path: Path
    shown: str
    """The path in messages: as the user spells it."""
    sha256: str
    version: str | None
    named_by: dict[str, None] = field(default_factory=dict)
    """Flags with their references, for messages."""


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


class OwnCode(NamedTuple):
    """A flag that names a user's own code."""

    flag: str
    value: str
    """Its whole value, of which the references may be parts."""
    references: list[str]


def require_allowed(*own: OwnCode) -> None:
    """Raise a CodeNotNamed, with the flags to add, unless the user has named the code of all flags in this process."""
    missing = [code for code in own if not _allowed.issuperset(map(normalized, code.references))]
    if missing:
        named = ", ".join(f"{code.flag} {code.value}" for code in missing)
        raise CodeNotNamed(
            f"{named}: your own code, which a file names, and which runs only if you name it; add "
            f"{shlex.join(flag_words(missing))} to the command"
        )


def flag_words(own: Iterable[OwnCode]) -> list[str]:
    """Flags as words of a command line."""
    return [word for code in own for word in (code.flag, code.value)]


def load(reference: str, flag: str) -> Any:
    """Import the object of a reference.

    Args:
        flag: for messages.

    Raises:
        UsageError: the user has not named it, or there is no such file, module or name.
        UserError: a module that the code imports is not installed.
        PluginError: the code raised an exception.
    """
    require_allowed(OwnCode(flag, reference, [reference]))
    reference = normalized(reference)
    source, name = _split(reference)
    where = f"{flag} {reference}"
    plugin = _plugin(source, where)
    plugin.named_by[where] = None
    try:
        return getattr(plugin.module, name)
    except AttributeError:
        names = ", ".join(_own_names(plugin.module)) or "nothing: it defines no names"
        raise UsageError(f"{where}: {source} has no {name}; choose from {names}") from None


def record(references: Iterable[str], flag: str) -> Records:
    """Import references and describe their sources, for files."""
    records = {}
    for reference in references:
        load(reference, flag)
        plugin = _loaded[_split(normalized(reference))[0]]
        records[normalized(reference)] = {"sha256": plugin.sha256, "version": plugin.version}
    return records


def file_entry(records: Records) -> dict[str, Records]:
    """The entry `plugins` of a file; none without own code."""
    return {"plugins": records} if records else {}


def require_unchanged(before: Mapping[str, Any] | None, now: Mapping[str, Any], where: object) -> None:
    """Check that the sources that two records share are equal; a PluginError with both hashes otherwise.

    Args:
        before: entry `plugins` of a file; None if it has none.
        where: start of the message, such as `RUN cats`.
    """
    try:
        pairs = [(reference, str(old["sha256"]), now.get(reference)) for reference, old in (before or {}).items()]
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{where}: its record of your own code is damaged ({type(error).__name__}: {error})") from error
    for reference, old, new in pairs:
        if new and new["sha256"] != old:
            raise PluginError(
                f"{where}: the source of {reference} has changed since it was recorded (SHA-256 {old[:12]}…, now "
                f"{new['sha256'][:12]}…); restore the source, or train again under another name"
            )


def describe(records: Mapping[str, Mapping[str, Any]]) -> str:
    """Records in words, for reports."""
    versions = {name: f"version {entry['version']}, " if entry["version"] else "" for name, entry in records.items()}
    return ", ".join(f"{name} ({versions[name]}SHA-256 {entry['sha256']})" for name, entry in records.items())


@contextmanager
def reported_errors(where: str, call: str = "") -> Iterator[None]:
    """Turn an exception of a block that calls a user's own code into one line.

    Args:
        where: start of the message if no line of the user's own code was running: flag and reference.
        call: how the code is called, for the message about wrong arguments.

    Raises:
        PluginError: with file and line of the user's own code.
        UsageError: a TypeError outside of it: the object is of another kind, or takes other arguments.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        if message := error_message(error):
            raise PluginError(message) from error
        if isinstance(error, TypeError):
            text = _one_line(error)
            expected = f"; it is called as {call}" if call and "argument" in text else ""
            raise UsageError(f"{where}: {text}{expected}") from error
        raise PluginError(f"{where}: {type(error).__name__}: {_one_line(error)}") from error


def error_message(error: BaseException) -> str | None:
    """One line on an exception that was raised in, or by a call from, a user's own code; None for others."""
    by_path = {str(plugin.path): plugin for plugin in _loaded.values()}
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if plugin := by_path.get(frame.filename):
            text = _one_line(error)
            kind = f"{type(error).__name__}{f': {text}' if text else ''}"
            return f"{plugin.shown}:{frame.lineno}: {kind} ({', '.join(plugin.named_by)})"
    return None


def _split(reference: str) -> tuple[str, str]:
    """The source and the name of a reference."""
    source, _, name = reference.rpartition(":")
    return source, name


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _own_names(module: ModuleType) -> list[str]:
    """The public names that a module defines itself: not what it imports, and no numbers or texts."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not isinstance(value, (ModuleType, int, float, str))
        and getattr(value, "__module__", module.__name__) == module.__name__
    ]


def _plugin(source: str, where: str) -> _Plugin:
    if source.endswith(".py"):
        return _file_plugin(Path(source), where)
    if source not in _loaded:
        with _errors_of_import(where, source):
            module = importlib.import_module(source)
        path = Path(module.__file__ or "")
        sha256 = hashlib.sha256(path.read_bytes() if path.is_file() else b"").hexdigest()
        _loaded[source] = _Plugin(module, path, str(path), sha256, _version(source))
    return _loaded[source]


def _file_plugin(path: Path, where: str) -> _Plugin:
    """Import a file; again if it has changed, as in a notebook. The bytes that are hashed are those that run."""
    try:
        code = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{where}: {path} cannot be read: {error.strerror}") from error
    key, sha256 = path.as_posix(), hashlib.sha256(code).hexdigest()
    if key in _loaded and _loaded[key].sha256 == sha256:
        return _loaded[key]
    resolved = path.resolve()
    module = ModuleType(f"msn_gan_plugin_{sha256[:12]}_{path.stem}")
    module.__file__ = str(resolved)
    sys.modules[module.__name__] = module  # for pickle and dataclasses
    search_path = list(sys.path)
    sys.path.append(str(resolved.parent))  # for modules beside it, as for a script
    try:
        with _errors_of_import(where, key, resolved):
            exec(compile(code, str(resolved), "exec", dont_inherit=True), module.__dict__)
    except BaseException:
        del sys.modules[module.__name__]
        raise
    finally:
        sys.path[:] = search_path
    _loaded[key] = _Plugin(module, resolved, key, sha256, None)
    return _loaded[key]


@contextmanager
def _errors_of_import(where: str, source: str, path: Path | None = None) -> Iterator[None]:
    """Turn an exception while a source is imported into an error of one line.

    Args:
        source: a file or a module, as the user names it.
        path: of the file.
    """
    try:
        yield
    except UserError:
        raise
    except SyntaxError as error:
        shown = source if error.filename in (str(path), None) else error.filename
        raise PluginError(f"{shown}:{error.lineno or 1}: {type(error).__name__}: {error.msg} ({where})") from error
    except (Exception, SystemExit) as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
        own = [frame for frame in frames if frame.filename == str(path)]
        if isinstance(error, ModuleNotFoundError) and not own:
            if error.name is not None and f"{source}.".startswith(f"{error.name}."):
                raise UsageError(
                    f"{where}: there is no module {error.name}; install its package, or name a file"
                ) from error
        place = source
        if frames:  # none if the file cannot be compiled, as one with a NUL byte in Python 3.11
            frame = (own or [frame for frame in frames if "importlib" not in frame.filename] or frames)[-1]
            place = f"{source if own else frame.filename}:{frame.lineno}"
        raise PluginError(f"{place}: {type(error).__name__}: {_one_line(error)} ({where})") from error


def _version(module: str) -> str | None:
    """Version of the distribution that a module belongs to, if it is installed as one."""
    names = importlib.metadata.packages_distributions().get(module.partition(".")[0], [])
    return importlib.metadata.version(names[0]) if names else None
