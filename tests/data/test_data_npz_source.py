"""Arrays of images in an npz: which one is used, its labels, its splits, and what is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gan.data.datasets import open_path
from gan.data.describe import describe_images
from gan.data.loading import load_images
from gan.data.packing import pack_images
from gan.errors import UserError

RGB = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
GREY = np.concatenate([RGB, RGB])[..., 0]
LABELS = np.array([1, 0, 2, 1])


@pytest.fixture
def npz(tmp_path: Path):
    def write(**arrays: NDArray) -> Path:
        np.savez(tmp_path / "set.npz", **arrays)
        return tmp_path / "set.npz"

    return write


@pytest.mark.parametrize("compressed", [False, True])
def test_images_of_a_sampler_with_labels_and_statistics(tmp_path, capsys, compressed):
    """The reference batches of ADM have all three; its samples have images and labels."""
    save = np.savez_compressed if compressed else np.savez
    save(tmp_path / "a.npz", arr_0=RGB, arr_1=LABELS, mu=np.zeros(3), sigma=np.eye(3))
    images = load_images(str(tmp_path / "a.npz"), resolution=8, channels=3)
    assert torch.equal(images.pixels, torch.from_numpy(RGB).permute(0, 3, 1, 2))
    assert images.labels.tolist() == LABELS.tolist() and images.classes == ("0", "1", "2")
    ignoring = "using its images in arr_0; ignoring mu (float64, (3,)), sigma (float64, (3, 3))"
    assert images.notes == ("labels are those of its array arr_1", ignoring)
    assert f"a.npz: {ignoring}" in capsys.readouterr().err
    assert not describe_images(str(tmp_path / "a.npz"))["warnings"]


@pytest.mark.parametrize("array", [GREY, GREY[..., None]])
def test_grey_images(npz, array):
    images = load_images(str(npz(x=array)), resolution=8, channels=1)
    assert torch.equal(images.pixels, torch.from_numpy(GREY)[:, None]) and images.labels is None


def test_a_fourth_channel_is_alpha(npz):
    alpha = np.full((4, 8, 8, 1), 51, np.uint8)  # a fifth
    images = load_images(str(npz(x=np.concatenate([RGB, alpha], 3))), resolution=8, channels=3)
    expected = torch.from_numpy(RGB).permute(0, 3, 1, 2) / 5 + 204
    assert (images.pixels - expected).abs().max() <= 0.5
    assert images.conversions == {"transparency laid on white": 4, "converted to RGB": 4}


@pytest.mark.parametrize("names", [("train_images", "train_labels", "test"), ("x_train", "y_train", "TEST")])
def test_splits(npz, names):
    images, labels, test = names
    held_out = {images.replace("train", test): RGB[:2] // 2, labels.replace("train", test): LABELS[:2]}
    path = npz(**{images: RGB, labels: LABELS[:, None].astype(np.uint8), **held_out})
    for split, expected in (("train", RGB), ("test", RGB[:2] // 2)):
        found = load_images(str(path), resolution=8, channels=3, split=split, strict_split=True)
        assert torch.equal(found.pixels, torch.from_numpy(expected).permute(0, 3, 1, 2))
        assert found.labels.tolist() == LABELS[: len(expected)].tolist()
        assert "as the split" in found.notes[0]
    with pytest.raises(UserError, match="has no split val, only"):
        open_path(path, split="val")


def test_a_split_of_one_array_is_refused(npz):
    with pytest.raises(UserError, match="has no splits"):
        load_images(str(npz(x=RGB)), resolution=8, channels=3, split="test", strict_split=True)


def test_it_can_be_described_and_packed(npz, tmp_path):
    path = npz(x=RGB, y=LABELS)
    assert describe_images(str(path))["kind"] == "npz" and describe_images(str(path))["warnings"] == []
    pack_images(path, tmp_path / "set.zip", resolution=8)
    packed = load_images(str(tmp_path / "set.zip"), resolution=8, channels=3)
    assert packed.fingerprint == load_images(str(path), resolution=8, channels=3).fingerprint


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": RGB.astype(np.float32)}, r"contains no images; .* it contains x \(float32, \(4, 8, 8, 3\)\)"),
        ({"x": RGB.transpose(0, 3, 1, 2)}, "contains no images"),
        ({"x": RGB[:0]}, "contains no images"),
        ({"x": RGB[0]}, "contains no images"),
        ({"x": RGB[0].transpose(2, 0, 1)}, "contains no images"),
        ({"x_train": RGB / 255, "x_test": RGB}, "its array x_train is float64; an array of images is uint8"),
        ({"x": np.array([{}], dtype=object)}, "not an npz of images, or damaged"),
        ({}, "contains no images; .* it contains nothing"),
        ({"mu": np.zeros(3), "sigma": np.eye(3)}, "contains statistics, not images; pass .* with --ref"),
        ({"a": RGB, "b": RGB}, r"contains 2 arrays of images \(a, b\) that are not splits"),
        ({"x_train": RGB, "train": RGB}, "contains 2 arrays of images"),
        (
            {"x": RGB, "target": LABELS, "label": LABELS},
            "its arrays label, target could each be the labels; remove all but",
        ),
        ({"x": RGB, "y": LABELS - 1}, "labels in y must be from 0 to 99999"),
    ],
)
def test_what_is_refused(npz, arrays, message):
    with pytest.raises(UserError, match=message):
        open_path(npz(**arrays), split="train")


def test_a_damaged_file(npz):
    path = npz(x=RGB)
    content = path.read_bytes()
    for damaged in (b"", b"PK", content[: len(content) // 2], content[:100] + bytes(100) + content[200:]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="not an npz of images, or damaged"):
            open_path(path, split="train")


@pytest.mark.parametrize("field", [8, 10])
def test_encrypted_and_unknown_compression(npz, field):
    """Byte 8 of an entry of the directory has the flag of encryption, byte 10 the method of compression."""
    path = npz(x=RGB)
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + field] |= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="not an npz of images, or damaged"):
        open_path(path, split="train")


def test_files_that_are_no_arrays(npz):
    path = npz(x=RGB)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("notes.txt", "no array")
    description = describe_images(str(path))
    assert (description["count"], description["warnings"]) == (
        4,
        ["using its images in x; ignoring notes.txt (no array)"],
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "no array")
    with pytest.raises(UserError, match=r"contains no images; .* it contains notes.txt \(no array\)"):
        open_path(path, split="train")


@pytest.mark.parametrize(
    "labels",
    [
        np.eye(4, dtype=np.int64),
        LABELS.astype(np.float32),
        LABELS.astype(str),
        LABELS > 0,
        np.arange(5),
        LABELS[:, None, None],
    ],
)
def test_labels_that_cannot_be_used_are_a_warning(npz, labels):
    description = describe_images(str(npz(x=RGB, labels=labels)))
    assert not description["labelled"]
    assert description["warnings"] == [f"using its images in x; ignoring labels ({labels.dtype}, {labels.shape})"]


@pytest.mark.parametrize("name", ["ids", "test_labels", "age"])
def test_other_integers_are_no_labels(npz, name):
    description = describe_images(str(npz(images=RGB, **{name: LABELS + 10_000_000})))
    assert not description["labelled"] and description["warnings"]


def test_a_test_split_alone_is_a_warning(npz):
    path = npz(x_test=RGB, y_test=LABELS)
    description = describe_images(str(path))
    assert description["labelled"]
    assert description["warnings"] == ["all its images are in x_test; they are used as the split train"]
