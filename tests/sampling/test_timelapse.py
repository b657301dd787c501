"""A timelapse shows the grids of a run in order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan.errors import UsageError, UserError
from gan.sampling.timelapse import write_timelapse


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "checkpoints" / "a" / "b").mkdir(parents=True)
    samples = tmp_path / "samples" / "a" / "b"
    samples.mkdir(parents=True)
    for step, value in ((20, 100), (3, 10), (1000, 250)):
        Image.new("RGB", (40, 20), (value, 0, 0)).save(samples / f"step-{step:08d}.png")
    for name in ("real", "step-original"):
        Image.new("RGB", (40, 20)).save(samples / f"{name}.png")
    return tmp_path / "checkpoints" / "a" / "b"


@pytest.mark.parametrize("ending", ["gif", "webp"])
def test_frames_in_order_of_the_steps(
    run: Path, tmp_path: Path, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_timelapse(run, tmp_path / f"t.{ending}")
    with Image.open(tmp_path / f"t.{ending}") as image:
        values = []
        for frame in range(image.n_frames):
            image.seek(frame)
            image.load()
            values.append(np.asarray(image.convert("RGB"))[0, 0, 0])
            assert image.info["duration"] == (2000 if frame == 2 else 200)
        assert image.size == (40, 20) and np.abs(np.array(values, int) - [10, 100, 250]).max() <= 6
    assert "3 grids from step 3 to 1,000" in capsys.readouterr().err


def test_bad_input(run: Path, tmp_path: Path) -> None:
    samples = tmp_path / "samples" / "a" / "b"
    with pytest.raises(UsageError, match="must be a .gif or a .webp"):
        write_timelapse(run, tmp_path / "t.png")
    with pytest.raises(UsageError, match="must be the folder of a run"):
        write_timelapse(run / "step-00000001.pt", tmp_path / "t.gif")
    with pytest.raises(UsageError, match="is not in a folder `checkpoints`"):
        write_timelapse(samples, tmp_path / "t.gif")
    Image.new("RGB", (41, 20)).save(samples / "step-00000004.png")
    with pytest.raises(UserError, match="different sizes"):
        write_timelapse(run, tmp_path / "t.gif")
    (samples / "step-00000004.png").write_bytes(b"x")
    with pytest.raises(UserError, match="step-00000004.png: cannot be read"):
        write_timelapse(run, tmp_path / "t.gif")
    for path in samples.glob("step-*"):
        path.unlink()
    with pytest.raises(UserError, match="has 0 sample grids, a timelapse needs 2"):
        write_timelapse(run, tmp_path / "t.gif")
    assert not (tmp_path / "t.gif").exists()
    (tmp_path / "t.gif").write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists; --overwrite replaces it"):
        write_timelapse(run, tmp_path / "t.gif")
    assert (tmp_path / "t.gif").read_bytes() == b"mine"
