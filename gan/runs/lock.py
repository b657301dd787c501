"""Locks of a run's folder, so that no two processes train the same run or write the same files."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gan.errors import UserError
from gan.utils.files import create_folder

_WRITE_LOCK = ".write.lock"
_IN_USE = "another process is training there; wait until it ends, or choose another name"


@contextmanager
def exclusive_lock(folder: Path, name: str = ".lock", *, in_use: str = _IN_USE, wait: float = 0.0) -> Iterator[None]:
    """Lock a run's folder within the block.

    The lock is a file in the folder, removed at the end. The operating system releases it when the process is killed,
    so a leftover file is no lock. On a file system without locks the block runs unlocked. The folder is created if
    needed, and removed at the end if it is empty.

    Args:
        name: of the file.
        in_use: the message, after the folder, if another process has the lock.
        wait: seconds to wait for another process to release it.

    Raises:
        UserError: another process has the lock, or the folder cannot be created.
    """
    removable = [folder, *(parent for parent in folder.parents if not parent.exists())]
    create_folder(folder)
    try:
        with _file_lock(folder / name, f"{folder}: {in_use}", wait):
            try:
                yield
            finally:
                with suppress(OSError):  # Windows does not remove an open file; there, releasing the lock does
                    (folder / name).unlink()
    finally:
        with suppress(OSError):
            for path in removable:
                path.rmdir()


@contextmanager
def write_lock(folder: Path, wait: float = 120.0) -> Iterator[None]:
    """Lock the files that all processes of a run write, such as config.json and the report, for a short block.

    Waits for other processes. The file of the lock stays: a process that waits for it may have opened it.

    Raises:
        UserError: another process has had the lock for `wait` seconds, or the folder cannot be created.
    """
    create_folder(folder)
    busy = f"{folder}: another process has been writing there for {wait:.0f} seconds; run the command again"
    with _file_lock(folder / _WRITE_LOCK, busy, wait):
        yield


def is_locked(folder: Path, name: str) -> bool:
    """True if another process has the `exclusive_lock` of this name."""
    if not (folder / name).exists():
        return False
    try:
        with _file_lock(folder / name, "", 0.0):
            return False
    except UserError:
        return True


@contextmanager
def _file_lock(path: Path, busy: str, wait: float) -> Iterator[None]:
    """Lock a file; a UserError with the message `busy` after `wait` seconds."""
    from filelock import FileLock, Timeout  # here, as only training needs it

    lock = FileLock(path, timeout=wait, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise UserError(busy) from error
    except (OSError, NotImplementedError):
        pass  # no locks on this file system, or an unwritable folder, which is reported when files are written
    try:
        yield
    finally:
        lock.release()
