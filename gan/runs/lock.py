"""Exclusive lock of a run's folder, so that no two processes train there"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gan.errors import UserError
from gan.utils.files import create_folder

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Keep other processes from training in a run's folder meanwhile.

    The folder is made if need be, and then removed if it stays empty.

    Raises:
        UserError: another process holds it, or it cannot be made.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    create_folder(folder)
    descriptor = os.open(folder, os.O_RDONLY) if fcntl else None
    try:
        if descriptor is not None:
            _lock(descriptor, folder)
        try:
            yield
        finally:
            with suppress(OSError):
                for path in made:
                    path.rmdir()
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(f"{folder}: another process is training there; let it end, or choose another name") from error
    except OSError:
        pass  # a file system that knows no locks
