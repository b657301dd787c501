"""Checkpoints: whole or refused, atomic, and without running code."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
from pathlib import Path

import pytest
import torch

from gan import __version__
from gan.errors import UserError
from gan.runs import checkpoint

STATE = {"kind": "gan", "weights": {"a": torch.arange(6.0)}, "step": 3, "names": ["x", "y"]}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = checkpoint.checkpoint_path(tmp_path, 3)
    checkpoint.save_checkpoint(path, STATE)
    return path


def test_round_trip(saved: Path) -> None:
    state = checkpoint.load_checkpoint(saved)
    torch.testing.assert_close(state.pop("weights"), STATE["weights"], rtol=0, atol=0)
    assert state.pop("program") == f"msn-gan {__version__}"
    assert state == {"schema": checkpoint.SCHEMA, "kind": "gan", "step": 3, "names": ["x", "y"]}
    assert saved.name == "step-00000003.pt"
    assert os.listdir(saved.parent) == [saved.name]


def test_bytes_depend_on_values_alone(tmp_path: Path) -> None:
    data = "data"
    checkpoint.save_checkpoint(tmp_path / "a.pt", {data: data, "list": [data, {"b": (data, 1)}]})
    read = json.loads(json.dumps({data: data, "list": [data]}))
    checkpoint.save_checkpoint(tmp_path / "b.pt", {**read, "list": [*read["list"], {"b": ("".join("data"), 1)}]})
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_other_programs_can_read_it(saved: Path) -> None:
    state = torch.load(saved, weights_only=True)
    torch.testing.assert_close(state["weights"], STATE["weights"])


@pytest.mark.parametrize("size", [0, 1, 100, -1])
def test_truncated(saved: Path, size: int) -> None:
    saved.write_bytes(saved.read_bytes()[:size])
    with pytest.raises(UserError, match=rf"{saved}: is not a complete msn-gan checkpoint"):
        checkpoint.load_checkpoint(saved)


def test_every_flipped_byte_is_noticed(saved: Path) -> None:
    whole = saved.read_bytes()
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        saved.write_bytes(damaged)
        with pytest.raises(UserError, match="is not a complete|is damaged"):
            checkpoint.load_checkpoint(saved)


class Evil:
    def __reduce__(self) -> tuple:
        return os.mkdir, (str(Path(os.environ["EVIL"])),)


def signed(body: bytes) -> bytes:
    import hashlib

    return body + b"\nmsn-gan sha256 " + hashlib.sha256(body).hexdigest().encode() + b"\n"


@pytest.mark.parametrize("signature", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_pickle_with_code_is_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signature: bool, zipped: bool
) -> None:
    monkeypatch.setenv("EVIL", str(tmp_path / "evil"))
    if zipped:
        buffer = io.BytesIO()
        torch.save({"schema": 1, "x": Evil()}, buffer)
        body = buffer.getvalue()
    else:
        body = pickle.dumps(Evil())
    path = tmp_path / "step-00000001.pt"
    path.write_bytes(signed(body) if signature else body)
    with pytest.raises(UserError, match="is refused" if signature else "is not a complete") as caught:
        checkpoint.load_checkpoint(path)
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "evil").exists()


def test_newer_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "step-00000001.pt"
    with monkeypatch.context() as newer:
        newer.setattr(checkpoint, "SCHEMA", 99)
        checkpoint.save_checkpoint(path, STATE)
    with pytest.raises(UserError, match=r"the newer schema 99, this version reads up to 1 .*; upgrade msn-gan"):
        checkpoint.load_checkpoint(path)


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {"schema": "one"}])
def test_foreign_content(tmp_path: Path, content: object) -> None:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    (tmp_path / "x.pt").write_bytes(signed(buffer.getvalue()))
    with pytest.raises(UserError, match="is not an msn-gan checkpoint"):
        checkpoint.load_checkpoint(tmp_path / "x.pt")


def test_missing_and_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        checkpoint.load_checkpoint(tmp_path / "none.pt")
    with pytest.raises(UserError, match="is a folder"):
        checkpoint.load_checkpoint(tmp_path)


def test_full_disk_leaves_the_earlier_checkpoint(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for path in (saved, saved.with_name("step-00000004.pt")):
        with pytest.raises(UserError, match=rf"{path}: cannot be written: No space left on device.*--resume"):
            checkpoint.save_checkpoint(path, STATE)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_newest_falls_back_and_names_the_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checkpoint.newest_checkpoint(tmp_path) is None
    for step in (1, 2, 3):
        checkpoint.save_checkpoint(checkpoint.checkpoint_path(tmp_path, step), {**STATE, "step": step})
    third = checkpoint.checkpoint_path(tmp_path, 3)
    third.write_bytes(third.read_bytes()[:-5])
    found = checkpoint.newest_checkpoint(tmp_path)
    assert found is not None and found[1]["step"] == 2
    assert str(third) in capsys.readouterr().err
    for path in checkpoint.list_checkpoints(tmp_path):
        path.write_bytes(b"")
    with pytest.raises(UserError, match="0 of 3 checkpoints can be read"):
        checkpoint.newest_checkpoint(tmp_path)


def test_prune(tmp_path: Path) -> None:
    for step in range(5):
        checkpoint.save_checkpoint(checkpoint.checkpoint_path(tmp_path, step), {"step": step})
    checkpoint.prune_checkpoints(tmp_path, 2, ["step-00000001.pt"])
    assert [path.name[-4:-3] for path in checkpoint.list_checkpoints(tmp_path)] == ["1", "3", "4"]


def test_prune_leaves_alone_what_is_later_than_the_newest_whole_one(tmp_path: Path) -> None:
    for step in range(5):
        checkpoint.save_checkpoint(checkpoint.checkpoint_path(tmp_path, step), {"step": step})
    checkpoint.prune_checkpoints(tmp_path, 1, step=2)
    assert [path.name[-4:-3] for path in checkpoint.list_checkpoints(tmp_path)] == ["2", "3", "4"]


def test_refused_checkpoints_are_set_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for step in (1, 2, 3):
        checkpoint.save_checkpoint(checkpoint.checkpoint_path(tmp_path, step), {"step": step})
    checkpoint.set_aside_later(tmp_path, 2)
    assert sorted(os.listdir(tmp_path)) == ["step-00000001.pt", "step-00000002.pt", "step-00000003.pt.refused"]
    assert "renamed to step-00000003.pt.refused; the run resumes from step 2" in capsys.readouterr().err
