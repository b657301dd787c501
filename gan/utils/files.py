"""Atomic writes of files and folders, and checks of their names and places."""

import errno
import itertools
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from gan.errors import UsageError, UserError

PARTIAL = ".partial"
_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]*")
_NO_WINDOWS_NAME = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?|.*\.", re.IGNORECASE)
_REPLACE_SECONDS = 2.0
_ABANDONED_SECONDS = 86_400.0
_PROCESS = secrets.token_hex(4)  # process numbers are given again, and other machines have the same ones
_PARTIAL_NAME = re.compile(
    rf"\..+\.(?P<pid>\d+)(-(?P<process>[0-9a-f]{{8}})\d+)?(\.old)?{re.escape(PARTIAL)}", re.DOTALL
)
_numbers = itertools.count()


def expand_home(path: str | Path) -> Path:
    """A path with `~` or `~USER` replaced by the home folder; unchanged if there is no such user or home folder."""
    return Path(os.path.expanduser(path))


def cache_folder(part: str) -> Path | None:
    """Folder of a part of the cache, in $MSN_GAN_CACHE, $XDG_CACHE_HOME/msn-gan or ~/.cache/msn-gan.

    None if it would be in a home folder and there is none.
    """
    chosen = os.environ.get("MSN_GAN_CACHE")
    base = expand_home(chosen or os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    if base.parts[0].startswith("~"):
        return None
    return base / part if chosen else base / "msn-gan" / part


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces `path` at the end of the block, and is removed if the block fails.

    The file and its folder are flushed to the disk, so that readers see the old file or the complete new one, also
    after a power failure.

    Raises:
        OSError: it cannot be written.
    """
    partial = _partial_path(path)
    try:
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _replace(partial, path)
        _sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            error.filename = str(path)  # the error of a full disk has no file name
        raise


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically; a UserError if it cannot be written."""
    try:
        with atomic_write(path) as file:
            file.write(json.dumps(content, indent=2).encode() + b"\n")
    except OSError as error:
        remedy = "; free disk space, then run the command again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise UserError(f"{path}: cannot be written: {error.strerror}{remedy}") from error


@contextmanager
def atomic_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Create a temporary folder that is renamed to `path` at the end of the block, and removed if the block fails.

    Args:
        overwrite: remove a folder at `path` with its content then; False: it must be empty.

    Raises:
        OSError: it cannot be written, or `path` exists and is not empty.
    """
    partial = _partial_path(path)
    partial.mkdir(parents=True)
    try:
        yield partial
        if overwrite and path.exists():
            old = _partial_path(path)
            _replace(path, old)
            _replace(partial, path)
            shutil.rmtree(old)
        else:
            with suppress(FileNotFoundError):
                path.rmdir()
            _replace(partial, path)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def _partial_path(path: Path) -> Path:
    """A new path for a temporary file or folder beside `path`, for this thread alone."""
    return path.with_name(f".{path.name}.{os.getpid()}-{_PROCESS}{next(_numbers)}{PARTIAL}")


def remove_partial(folder: Path) -> None:
    """Remove the temporary files and folders that killed processes left in a folder, not those of running ones."""
    for path in folder.glob(f".*{PARTIAL}"):
        if not _is_left_over(path):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def _is_left_over(partial: Path) -> bool:
    """True if the process that made a temporary file or folder has ended, or it has not changed for a day."""
    match = _PARTIAL_NAME.fullmatch(partial.name)
    if match is None:
        return False
    pid = int(match["pid"])
    if pid == os.getpid():
        return match["process"] != _PROCESS  # if so, of an earlier process with the same number
    with suppress(OSError):
        if time.time() - partial.stat().st_mtime > _ABANDONED_SECONDS:
            return True
    return not _is_running(pid)


def _is_running(pid: int) -> bool:
    if os.name == "nt":
        return True  # unknown: os.kill would end the process
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # of another user
        return True
    return True


def _replace(source: Path, target: Path) -> None:
    """As `os.replace`; on Windows tried again for a moment, as it fails while another process reads the target."""
    deadline = time.monotonic() + (_REPLACE_SECONDS if os.name == "nt" else 0.0)
    while True:
        try:
            return os.replace(source, target)
        except PermissionError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.02)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # Windows cannot open folders
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def relative_path(path: Path, folder: Path) -> str:
    """A path relative to a folder, with forward slashes; on another drive of Windows the absolute path."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return path.absolute().as_posix()


def require_folder_name(name: str, flag: str, *, nested: bool = False) -> None:
    """Raise a UsageError, which names the flag, unless a name can name a folder, or nested folders separated by /."""
    parts = name.split("/") if nested else [name]
    if not all(map(_FOLDER_NAME.fullmatch, parts)):
        raise UsageError(
            f"{flag} {name!r}: use letters, digits, '.', '_', '+', '=' and '-', and start with a letter or digit"
        )
    if os.name == "nt" and any(map(_NO_WINDOWS_NAME.fullmatch, parts)):
        raise UsageError(f"{flag} {name!r}: Windows has no folder of this name; choose another one")


def require_new(path: Path, flag: str, *, overwrite: bool) -> None:
    """Raise a UsageError, which names the flag, if there is something at `path` and it is not to be overwritten."""
    if not overwrite and path.exists():
        raise UsageError(f"{flag} {path}: exists; --overwrite replaces it, or choose another name")


def require_new_in_folder(path: Path, flag: str, *, overwrite: bool) -> None:
    """As `require_new`; also a UsageError if the folder of the file does not exist."""
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{flag} {path}: there is no folder {path.absolute().parent}")
    require_new(path, flag, overwrite=overwrite)


def require_writable(folder: Path, flag: str) -> None:
    """Create a folder and check that files can be written there; else a UserError, which names the flag."""
    probe = _partial_path(folder / "probe")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise UserError(f"{flag} {folder}: cannot be written to ({error.strerror}); choose another folder") from error


@contextmanager
def removing_new_folders(folder: Path) -> Iterator[None]:
    """If the block fails, remove `folder` and the folders above it that did not exist before, where they are empty."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except BaseException:
        for path in new:
            with suppress(OSError):
                path.rmdir()
        raise


def create_folder(folder: Path) -> None:
    """Create a folder for a run's files, with its parents; a UserError if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be created: {error.strerror}; choose another --out") from error


def prepare_folder(folder: Path) -> None:
    """Create a run's folder and remove temporary files of a killed run; a UserError if it is not writable."""
    create_folder(folder)
    if not os.access(folder, os.W_OK):
        raise UserError(f"{folder}: is not writable; change its permissions or choose another --out")
    remove_partial(folder)
