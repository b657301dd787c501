from __future__ import annotations

import io
import json
import os
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from gan.data.loading import load_images
from gan.data.packing import pack_images
from gan.errors import UsageError, UserError


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("labelled", [True, False])
def test_the_zip_loads_back_the_same(classes_folder, tmp_path, channels, labelled):
    folder = classes_folder if labelled else classes_folder / "cat"
    out = tmp_path / "out" / "set.zip"
    count = pack_images(folder, out, resolution=6, channels=channels)
    before = load_images(str(folder), resolution=6, channels=channels)
    after = load_images(str(out), resolution=6, channels=channels)
    assert count == len(before) == len(after)
    assert torch.equal(after.pixels, before.pixels)
    assert after.fingerprint == before.fingerprint
    assert after.classes == before.classes
    assert (after.labels is None) == (not labelled)
    assert before.conversions["resized"] == count
    assert after.conversions == {}


def test_the_form_is_that_of_stylegan_and_edm(classes_folder, tmp_path):
    pack_images(classes_folder, tmp_path / "set.zip", resolution=8)
    with zipfile.ZipFile(tmp_path / "set.zip") as archive:
        names = [f"00000/img{number:08d}.png" for number in range(12)]
        assert archive.namelist() == [*names, "dataset.json"]
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
        table = json.loads(archive.read("dataset.json"))
        assert table["labels"] == [[name, number // 4] for number, name in enumerate(names)]
        assert table["classes"] == ["cat", "dog", "owl"]
        first = np.asarray(Image.open(io.BytesIO(archive.read(names[0]))))
    assert np.array_equal(first, np.asarray(Image.open(classes_folder / "cat" / "00.png")))


def test_a_zip_is_packed_too_and_the_same_images_make_the_same_file(classes_folder, zip_of, tmp_path):
    pack_images(classes_folder, tmp_path / "a.zip", resolution=8)
    pack_images(zip_of(classes_folder, tmp_path / "set.zip"), tmp_path / "b.zip", resolution=8)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_bad_images_leave_no_file(classes_folder, tmp_path):
    (classes_folder / "cat" / "00a.png").write_text("no image")
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / "set.zip"
    out.write_bytes(b"the older one")
    with pytest.raises(UserError, match=r"1 image cannot be read:\n  cat/00a.png"):
        pack_images(classes_folder, out, resolution=8, overwrite=True)
    assert out.read_bytes() == b"the older one"
    assert os.listdir(tmp_path / "out") == ["set.zip"]
    assert pack_images(classes_folder, out, resolution=8, skip_bad_images=True, overwrite=True) == 12
    assert len(load_images(str(out), resolution=8, channels=3)) == 12


def test_a_zip_is_replaced_on_request_only(classes_folder, tmp_path, monkeypatch):
    out = tmp_path / "set.zip"
    pack_images(classes_folder, out, resolution=8)
    older = out.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("gan.data.packing.open_source", lambda *_, **__: pytest.fail("work has started"))
        with pytest.raises(UsageError, match=r"--out .*set.zip: exists; --overwrite replaces it, or choose"):
            pack_images(classes_folder, out, resolution=4)
    assert out.read_bytes() == older
    pack_images(classes_folder, out, resolution=4, overwrite=True)
    assert out.read_bytes() != older
    with pytest.raises(UsageError, match="is also the input"):
        pack_images(out, out, resolution=4, overwrite=True)


def test_nothing_readable(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "x.png").touch()
    with pytest.raises(UserError, match="0 of 1 image can be read"):
        pack_images(tmp_path / "set", tmp_path / "set.zip", resolution=8, skip_bad_images=True)
    assert not (tmp_path / "set.zip").exists()


def test_an_interrupted_one_leaves_nothing(classes_folder, tmp_path, monkeypatch):
    writestr = zipfile.ZipFile.writestr

    def stop(archive, info, data):
        if "img00000005" in info.filename:
            raise KeyboardInterrupt
        writestr(archive, info, data)

    monkeypatch.setattr(zipfile.ZipFile, "writestr", stop)
    (tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt):
        pack_images(classes_folder, tmp_path / "out" / "set.zip", resolution=8)
    assert os.listdir(tmp_path / "out") == []


def test_places_that_cannot_be_written_or_read(classes_folder, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        pack_images(classes_folder, tmp_path / "file" / "set.zip", resolution=8)
    with pytest.raises(UsageError, match="no such folder, zip or npz"):
        pack_images(tmp_path / "none", tmp_path / "set.zip", resolution=8)
    with pytest.raises(UsageError, match="not 0 and 3"):
        pack_images(classes_folder, tmp_path / "set.zip", resolution=0)


def test_a_named_set(tmp_path):
    assert pack_images("digits", tmp_path / "set.zip", resolution=32, channels=1) == 1797
    named, packed = (load_images(data, resolution=32, channels=1) for data in ("digits", str(tmp_path / "set.zip")))
    assert torch.equal(named.pixels, packed.pixels) and torch.equal(named.labels, packed.labels)
    assert named.classes == packed.classes
