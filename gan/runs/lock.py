"""Exclusive lock of a run's folder, so that no two processes train the same run."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gan.errors import UserError
from gan.utils.files import create_folder


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Lock a run's folder within the block.

    The lock is a file `.lock` in the folder, removed at the end. The operating system releases it when the process is
    killed, so a leftover file is no lock. On a file system without locks the block runs unlocked. The folder is created
    if needed, and removed at the end if it is empty.

    Raises:
        UserError: another process has the lock, or the folder cannot be created.
    """
    from filelock import FileLock, Timeout  # here, as only training needs it

    removable = [folder, *(parent for parent in folder.parents if not parent.exists())]
    create_folder(folder)
    lock = FileLock(folder / ".lock", timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise UserError(
            f"{folder}: another process is training there; wait until it ends, or choose another name"
        ) from error
    except (OSError, NotImplementedError):
        pass  # no locks on this file system, or an unwritable folder, which is reported when files are written
    try:
        yield
    finally:
        with suppress(OSError):  # Windows does not remove an open file; there, releasing the lock does
            Path(lock.lock_file).unlink()
        lock.release()
        with suppress(OSError):
            for path in removable:
                path.rmdir()
