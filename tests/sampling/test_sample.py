"""The best checkpoint of a run, grids by class, and names of runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan.errors import UsageError, UserError
from gan.sampling.grids import save_class_grid
from gan.sampling.load_generator import best_checkpoint
from gan.sampling.sample import SampleOptions, write_samples
from tests.helpers.commands import Call
from tests.helpers.reports import trained


def test_the_best_checkpoint(tmp_path: Path) -> None:
    run = trained(tmp_path, channels=1, steps=4, checkpoint_every=2, keep=2, report_every=0)
    with pytest.raises(UserError, match="--best needs the folder of a run that was scored while it trained"):
        best_checkpoint(run)
    (run / "best.json").write_text(json.dumps({"checkpoint": "step-00000002.pt", "fid": 1.0}))
    assert best_checkpoint(run) == run / "step-00000002.pt"
    names = ("best", "second", "newest")
    for name, path, best in zip(names, (run, run / "step-00000002.pt", run), (True, False, False), strict=True):
        write_samples(path, tmp_path / f"{name}.png", SampleOptions(num=4, best=best, device="cpu"))
    best, second, newest = ((tmp_path / f"{name}.png").read_bytes() for name in names)
    assert best == second != newest
    (run / "step-00000002.pt").unlink()
    with pytest.raises(UserError, match="--best needs"):
        best_checkpoint(run)


def test_a_run_by_its_name(tmp_path: Path, call: Call) -> None:
    trained(tmp_path, channels=1, steps=2)
    code, message = call("sample", "r", "--num", 4, "--out", "a.png")
    assert code == 0 and Path("a.png").exists(), message
    code, message = call("sample", "r", "--timelapse", "t.gif", "--out", "x.png")
    assert code == 2 and "leave out --out" in message
    code, message = call("sample", "nothing", "--out", "b.png")
    assert code != 0 and "nothing" in message


def test_files_are_in_the_samples_of_the_run(tmp_path: Path) -> None:
    run = trained(tmp_path, channels=1, steps=2)
    options = SampleOptions(num=4, device="cpu")
    assert write_samples(run, None, options) == tmp_path / "samples" / "r" / "sample-seed-0.png"
    newest = run / "step-00000002.pt"
    assert write_samples(newest, None, options) == tmp_path / "samples" / "r" / "step-00000002-sample-seed-0.png"
    folder = write_samples(newest, tmp_path / "bn-lr0.001-seed0", options)
    assert [path.name for path in sorted(folder.iterdir())] == [f"{number:08d}.png" for number in range(4)]


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (".", "--out .: is the current folder; name a new one in it"),
        ("..", "--out ..: contains files that `sample` did not write (inside); choose another folder"),
        ("images.jpg", "--out images.jpg: without --interpolate it must be a .png grid, a .zip or a folder"),
        ("walk.gif", "--out walk.gif: without --interpolate it must be"),
    ],
)
def test_what_is_no_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, message: str) -> None:
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    with pytest.raises(UsageError, match=re.escape(message)):
        write_samples(Path("nothing"), Path(out), SampleOptions())


def test_rows_of_classes(tmp_path: Path) -> None:
    """Two columns; class 0 has three images in two rows, class 2 has one."""
    images = torch.stack([torch.full((3, 32, 32), value, dtype=torch.uint8) for value in (10, 20, 30, 40)])
    save_class_grid(tmp_path / "a.png", images, torch.tensor([0, 2, 0, 0]), ["zero", "one", "two"], 2)
    pixels = np.asarray(Image.open(tmp_path / "a.png"))
    height, width = pixels.shape[:2]
    margin = width - (2 * 33 + 1)
    assert height == 3 * 33 + 1 and margin > 20
    centres = [[pixels[17 + 33 * row, margin + 17 + 33 * column, 0] for column in range(2)] for row in range(3)]
    assert centres == [[10, 30], [40, 255], [20, 255]]
    dark = [(pixels[33 * row : 33 * row + 33, :margin] < 128).any() for row in range(3)]
    assert dark == [True, False, True]


def test_a_conditional_generator_has_a_row_for_each_class(tmp_path: Path) -> None:
    run = trained(tmp_path, channels=1, steps=2, network="resnet", conditional=True)
    write_samples(run, tmp_path / "a.png", SampleOptions(num=25, device="cpu"))
    write_samples(run, tmp_path / "b.png", SampleOptions(num=25, columns=5, device="cpu"))
    (by_class, plain) = (Image.open(tmp_path / name) for name in ("a.png", "b.png"))
    assert by_class.height == 10 * 33 + 1 and by_class.width > 3 * 33 + 1
    assert plain.size == (5 * 33 + 1, 5 * 33 + 1)
    first, second = np.asarray(by_class.convert("L")), np.asarray(plain.convert("L"))
    margin = by_class.width - (3 * 33 + 1)
    assert np.array_equal(first[1:33, margin + 1 : margin + 33], second[1:33, 1:33])  # image 0 is of class 0
    assert np.array_equal(first[34:66, margin + 1 : margin + 33], second[1:33, 34:66])  # image 1 of class 1
