"""The lock of a run's folder, beyond what `tests/cli/test_cli_faults.py` tests by commands."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gan.errors import UserError
from gan.runs.lock import exclusive_lock

LOCKED = """
import pathlib, sys
from gan.runs.lock import exclusive_lock
with exclusive_lock(pathlib.Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    command = [sys.executable, "-c", LOCKED, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout and other.stdout.readline() == "locked\n"
        with pytest.raises(UserError, match="another process is training there"), exclusive_lock(folder):
            pass
        other.kill()
    assert os.listdir(folder) == [".lock"]
    with exclusive_lock(folder):
        pass
    assert not folder.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX locks")
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_is_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    import fcntl

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    for _ in range(2):
        with exclusive_lock(tmp_path / "r"):
            (tmp_path / "r" / "config.json").touch()
    assert os.listdir(tmp_path / "r") == ["config.json"]
