from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import pytest
import torch

from gan.data.describe import describe_images
from gan.data.loading import load_images
from gan.errors import UserError


def png_header(width: int, height: int) -> bytes:
    """A PNG with a size in its header and no pixels."""
    chunk = b"IHDR" + struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return header + struct.pack(">I", 4) + b"IDAT" + bytes(8)


@pytest.fixture
def with_bad(classes_folder, paint) -> Path:
    """12 good images and 6 bad ones."""
    cat = classes_folder / "cat"
    (cat / "text.png").write_text("this is no image")
    (cat / "zero.jpg").touch()
    paint(cat / "cut.jpg", size=(64, 64))
    (cat / "cut.jpg").write_bytes((cat / "cut.jpg").read_bytes()[:900])
    (cat / "bomb.png").write_bytes(png_header(50_000, 50_000))
    paint(cat / "damaged.png", size=(64, 64))
    content = bytearray((cat / "damaged.png").read_bytes())
    content[200:260] = bytes(60)
    (cat / "damaged.png").write_bytes(content)
    (cat / "link.png").symlink_to("nowhere")
    return classes_folder


BAD = ("bomb.png", "cut.jpg", "damaged.png", "link.png", "text.png", "zero.jpg")


def test_all_bad_images_are_named_in_one_message(with_bad):
    with pytest.raises(UserError) as error:
        load_images(str(with_bad), resolution=8, channels=3)
    lines = str(error.value).splitlines()
    assert lines[0] == f"{with_bad}: 6 images cannot be read:"
    assert tuple(line.split(":")[0].strip() for line in lines[1:7]) == tuple(f"cat/{name}" for name in BAD)
    assert "pixels" in lines[1] and "truncated" in lines[2] and "No such file" in lines[4]
    assert "not an image" in lines[5] and "empty" in lines[6]
    assert "--skip-bad-images" in lines[7] and len(lines) == 8
    assert error.value.exit_code == 1


def test_bad_images_are_skipped_on_demand_and_counted(with_bad, capsys):
    images = load_images(str(with_bad), resolution=8, channels=3, skip_bad_images=True)
    assert "6 unreadable images skipped" in capsys.readouterr().err
    for name in BAD:
        (with_bad / "cat" / name).unlink()
    clean = load_images(str(with_bad), resolution=8, channels=3)
    assert torch.equal(images.pixels, clean.pixels)
    assert torch.equal(images.labels, clean.labels)
    assert images.fingerprint == clean.fingerprint


def test_info_lists_the_same_bad_images(with_bad):
    assert [name for name, _ in describe_images(str(with_bad))["bad"]] == [f"cat/{name}" for name in BAD]


def test_only_the_first_20_are_named(classes_folder):
    for number in range(25):
        (classes_folder / f"bad{number:02d}.png").touch()
    with pytest.raises(UserError) as error:
        load_images(str(classes_folder), resolution=8, channels=3)
    assert "bad19.png" in str(error.value) and "bad20.png" not in str(error.value)
    assert "and 5 more" in str(error.value)


def test_too_few_are_left(tmp_path, paint):
    paint(tmp_path / "set" / "1.png")
    (tmp_path / "set" / "2.png").touch()
    with pytest.raises(UserError, match="needs at least 2 images"):
        load_images(str(tmp_path / "set"), resolution=8, channels=3, skip_bad_images=True)


def test_names_are_made_safe_to_print(classes_folder):
    (classes_folder / "\x1b[2J\n.png").touch()
    with pytest.raises(UserError) as error:
        load_images(str(classes_folder), resolution=8, channels=3)
    assert "\\x1b[2J\\n.png" in str(error.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes are files on Unix only")
def test_a_pipe_is_not_waited_for(classes_folder):
    os.mkfifo(classes_folder / "cat" / "pipe.png")
    with pytest.raises(UserError, match=r"pipe\.png: not a regular file"):
        load_images(str(classes_folder), resolution=8, channels=3)


def test_a_file_too_large_is_not_read(classes_folder):
    with open(classes_folder / "cat" / "huge.png", "wb") as file:
        file.truncate(600 << 20)  # a hole, it takes no space
    with pytest.raises(UserError, match="more than 512 MiB"):
        load_images(str(classes_folder), resolution=8, channels=3)
