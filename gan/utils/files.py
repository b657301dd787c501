"""Files and folders that appear under their name whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from gan.errors import UserError

PARTIAL = ".partial"


def cache_folder(part: str) -> Path:
    """Where a part of the cache lies: below $MSN_GAN_CACHE, $XDG_CACHE_HOME/msn-gan or ~/.cache/msn-gan.

    Raises:
        RuntimeError: none of the first two is set and there is no home folder.
    """
    if chosen := os.environ.get("MSN_GAN_CACHE"):
        return Path(chosen).expanduser() / part
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "msn-gan" / part


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` once the block is done; if it fails, nothing of it is left.

    It is written beside `path`, flushed to the disk and renamed, and the folder is flushed: readers see the old file
    or the new one, also after a power cut.

    Raises:
        OSError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        _sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            error.filename = str(path)  # a full disk does not say which file it was
        raise


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    try:
        with atomic_write(path) as file:
            file.write(json.dumps(content, indent=2).encode() + b"\n")
    except OSError as error:
        remedy = "; make room and go on" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise UserError(f"{path}: cannot be written: {error.strerror}{remedy}") from error


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A folder that appears as `path`, which must not hold anything yet, once the block is done.

    Raises:
        OSError: it cannot be written, or `path` is not empty.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    partial.mkdir(parents=True)
    try:
        yield partial
        with suppress(FileNotFoundError):
            path.rmdir()
        os.replace(partial, path)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def remove_partial(folder: Path) -> None:
    """Remove what a killed program left half-written in a folder: files, and folders of `replacing_folder`."""
    for path in folder.glob(f".*{PARTIAL}"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # Windows opens no folders
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_writable(folder: Path, flag: str) -> None:
    """Make a folder and see that a file can be written there, before any work.

    Raises:
        UserError: it cannot; names the flag.
    """
    probe = folder / ".msn-gan.probe"
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
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made: {error.strerror}; choose another --out") from error


def prepare_folder(folder: Path) -> None:
    """Make a folder for a run's files, and clear away what a killed run left half-written in it.

    Raises:
        UserError: it cannot be made or written to.
    """
    create_folder(folder)
    if not os.access(folder, os.W_OK):
        raise UserError(f"{folder}: is not writable; change its permissions or choose another --out")
    remove_partial(folder)
