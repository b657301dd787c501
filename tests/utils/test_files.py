"""Relative paths, names, and files that Windows does not replace at once; other atomic writes are tested in use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gan.errors import UsageError
from gan.utils import files
from gan.utils.files import (
    atomic_folder,
    atomic_write,
    expand_home,
    relative_path,
    remove_partial,
    require_folder_name,
    require_writable,
)


@pytest.mark.parametrize(
    ("path", "expanded"), [("~/cats", "/home/me/cats"), ("~nosuchuser/cats", "~nosuchuser/cats"), ("a/~", "a/~")]
)
def test_home_folders(monkeypatch: pytest.MonkeyPatch, path: str, expanded: str) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert expand_home(path) == expand_home(Path(path)) == Path(expanded)


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert relative_path(tmp_path / "samples" / "a.png", tmp_path / "checkpoints") == "../samples/a.png"

    def other_drive(*_: object) -> str:
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    monkeypatch.setattr(os.path, "relpath", other_drive)  # as on Windows
    assert relative_path(tmp_path / "a.png", tmp_path) == (tmp_path / "a.png").as_posix()


@pytest.mark.parametrize(("system", "written"), [("nt", True), ("posix", False)])
def test_a_file_that_another_process_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str, written: bool
) -> None:
    """Windows refuses to replace it for as long; elsewhere the error is one of permissions."""
    path = tmp_path / "result.json"
    path.write_bytes(b"old")
    replace, refusals = os.replace, [PermissionError(13, "Access is denied")] * 2

    def refuse_twice(source: Path, target: Path) -> None:
        if refusals:
            raise refusals.pop()
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse_twice)
        patch.setattr(os, "name", system)
        patch.setattr(files, "_sync_folder", lambda folder: None)
        try:
            with atomic_write(path) as file:
                file.write(b"new")
        except PermissionError:
            assert not written
    assert path.read_bytes() == (b"new" if written else b"old")
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(13, "Access is denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        patch.setattr(os, "name", "nt")
        patch.setattr(files, "_REPLACE_SECONDS", 0.1)
        with pytest.raises(PermissionError, match="result.json"), atomic_write(tmp_path / "result.json"):
            pass
    assert not list(tmp_path.iterdir())


def test_temporary_files_of_running_processes_stay(tmp_path: Path) -> None:
    """Those of killed ones, and of an earlier process with the same number, are removed, and those of a day ago."""
    running, ended, other = os.getppid(), 999_999_999, "0123abcd5"
    stay = [f".a.{running}.partial", f".b.{running}-{other}.partial", ".video.partial", "c"]
    go = [f".a.{ended}.partial", f".b.{ended}-{other}.partial", f".c.{ended}.old.partial", f".d.{os.getpid()}.partial"]
    go += [f".f.{ended}-{files._PROCESS}0.partial"]  # of a fork
    go += [f".e.{os.getpid()}-{other}.partial", f".old.{running}.partial"]
    for name in (*stay, *go):
        (tmp_path / name).touch()
    os.utime(tmp_path / go[-1], (0, 0))
    (tmp_path / f".folder.{ended}.partial").mkdir()
    with atomic_folder(tmp_path / "mine") as partial:
        (partial / "x").touch()
        remove_partial(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*stay, "mine"])


def test_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a") as first, atomic_write(tmp_path / "a") as second:
        first.write(b"first")
        second.write(b"second")
    assert (tmp_path / "a").read_bytes() == b"first" and len(list(tmp_path.iterdir())) == 1


def test_two_processes_probe_a_folder_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unlink = Path.unlink

    def probe_again(path: Path, missing_ok: bool = False) -> None:
        monkeypatch.setattr(Path, "unlink", unlink)
        require_writable(tmp_path / "out", "--out")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", probe_again)
    require_writable(tmp_path / "out", "--out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("name", ["con", "NUL", "aux.old", "com1", "cats."])
def test_names_that_windows_lacks(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    require_folder_name(name, "RUN")
    with monkeypatch.context() as patch:
        patch.setattr(os, "name", "nt")
        require_folder_name("console/com.10/cats.zip", "RUN", nested=True)
        with pytest.raises(UsageError, match="RUN .*Windows has no folder of this name"):
            require_folder_name(f"a/{name}", "RUN", nested=True)
