"""Sizes and colours of a set, from headers."""

from __future__ import annotations

import numpy as np
from PIL import Image

from gan.data import survey as surveys
from gan.data.datasets import open_path
from gan.data.survey import survey_images


def test_sizes_and_colours(paint, tmp_path):
    paint(tmp_path / "set/1.png", size=(10, 20))
    paint(tmp_path / "set/2.png", size=(8, 8), grey=True)
    Image.new("RGBA", (30, 10)).save(tmp_path / "set/3.png")
    Image.fromarray(np.zeros((4, 6), np.uint16)).save(tmp_path / "set/4.png")
    (tmp_path / "set/5.png").write_bytes(b"damaged")
    found = survey_images(open_path(tmp_path / "set", split="train"))
    assert found.total == 5 and found.count == 4
    assert found.widths.tolist() == [10, 8, 30, 6] and found.heights.tolist() == [20, 8, 10, 4]
    assert found.short_sides.tolist() == [10, 8, 10, 4] and found.grey.tolist() == [False, True, False, True]
    assert np.isclose(found.cropped, np.mean([1 / 2, 0, 2 / 3, 1 / 3]))


def test_a_picture_is_measured_as_it_is_shown(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (20, 10)).save(tmp_path / "1.jpg", exif=exif)
    found = survey_images(open_path(tmp_path, split="train"))
    assert (found.widths.tolist(), found.heights.tolist()) == ([10], [20])


def test_a_size_behind_a_large_block(tmp_path):
    """A JPEG may have up to 64 KiB of EXIF data, and several blocks of a colour profile, before its size."""
    Image.new("RGB", (20, 10)).save(tmp_path / "1.jpg", icc_profile=bytes(200_000))
    assert survey_images(open_path(tmp_path, split="train")).widths.tolist() == [20]


def test_a_part_of_a_large_set(paint, tmp_path, monkeypatch):
    monkeypatch.setattr(surveys, "SURVEYED", 5)
    for number in range(12):
        paint(tmp_path / f"set/{number:02d}.png", size=(number + 1, 20))
    found = survey_images(open_path(tmp_path / "set", split="train"))
    assert found.total == 12 and found.widths.tolist() == [1, 3, 6, 9, 12]


def test_no_readable_image(tmp_path):
    (tmp_path / "1.png").write_bytes(b"damaged")
    assert survey_images(open_path(tmp_path, split="train")).count == 0
