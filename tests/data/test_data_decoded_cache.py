from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch

from gan.data import decoded_cache, loading
from gan.data.decoded_cache import decoded_cache_folder
from gan.data.image_set import ImageSet
from gan.data.loading import load_images
from gan.errors import UserError

pytestmark = pytest.mark.usefixtures("cache_all")


@pytest.fixture
def decodes(monkeypatch) -> list[str]:
    """Names of the sources that were decoded, not read from the cache."""
    seen: list[str] = []
    decode_all = loading.decode_all

    def counting(source, *sizes):
        seen.append(source.name)
        return decode_all(source, *sizes)

    monkeypatch.setattr(loading, "decode_all", counting)
    return seen


def same(first: ImageSet, second: ImageSet) -> bool:
    labels = first.labels is second.labels is None or torch.equal(first.labels, second.labels)
    fields = ("name", "classes", "fingerprint", "resolution", "channels", "conversions")
    return (
        labels
        and torch.equal(first.pixels, second.pixels)
        and all(getattr(first, field) == getattr(second, field) for field in fields)
    )


def kept(cache_folder: Path) -> Path:
    (path,) = cache_folder.iterdir()
    return path


@pytest.mark.parametrize("form", ["folder", "zip", "unlabelled"])
def test_a_hit_equals_a_miss(classes_folder, zip_of, tmp_path, decodes, form):
    path = classes_folder if form == "folder" else zip_of(classes_folder, tmp_path / "set.zip")
    if form == "unlabelled":
        path = classes_folder / "cat"
    first = load_images(str(path), resolution=6, channels=3)
    second = load_images(str(path), resolution=6, channels=3)
    without = load_images(str(path), resolution=6, channels=3, cache=False)
    assert len(decodes) == 2  # the first time, and without the cache
    assert same(first, second) and same(first, without)
    assert first.conversions == {"resized": len(first)}


def test_small_sets_are_not_kept(classes_folder, cache_folder, monkeypatch):
    monkeypatch.setattr(decoded_cache, "MIN_IMAGES", 13)
    load_images(str(classes_folder), resolution=8, channels=3)
    assert not cache_folder.exists()


def test_without_cache_nothing_is_written(classes_folder, cache_folder):
    load_images(str(classes_folder), resolution=8, channels=3, cache=False)
    assert not cache_folder.exists()


@pytest.mark.parametrize("change", ["pixels", "touch", "add", "remove", "rename", "table", "resolution", "pillow"])
def test_a_change_is_never_missed(classes_folder, paint, decodes, monkeypatch, change):
    load_images(str(classes_folder), resolution=8, channels=3)
    image, resolution = classes_folder / "cat" / "00.png", 8
    if change == "pixels":
        paint(image, 77)
    elif change == "touch":
        os.utime(image, ns=(1, 1))
    elif change == "add":
        paint(classes_folder / "cat" / "99.png")
    elif change == "remove":
        image.unlink()
    elif change == "rename":
        image.rename(classes_folder / "dog" / "00.png")
    elif change == "table":
        (classes_folder / "dataset.json").write_text('{"labels": null}')
    elif change == "resolution":
        resolution = 7
    elif change == "pillow":
        monkeypatch.setattr("PIL.__version__", "0")
    again = load_images(str(classes_folder), resolution=resolution, channels=3)
    assert len(decodes) == (1 if change == "touch" else 2)
    assert same(again, load_images(str(classes_folder), resolution=resolution, channels=3, cache=False))


def test_a_changed_zip_is_never_missed(classes_folder, zip_of, paint, tmp_path, decodes):
    path = zip_of(classes_folder, tmp_path / "set.zip")
    before = load_images(str(path), resolution=8, channels=3)
    stamp = path.stat().st_mtime_ns
    paint(classes_folder / "cat" / "00.png", 77)
    zip_of(classes_folder, path)
    os.utime(path, ns=(stamp, stamp))
    after = load_images(str(path), resolution=8, channels=3)
    assert len(decodes) == 2
    assert not torch.equal(before.pixels, after.pixels)


def test_splits_of_a_zip_are_kept_apart(paint, zip_of, tmp_path):
    for number, name in enumerate(("train/1.png", "train/2.png", "test/3.png", "test/4.png")):
        paint(tmp_path / "set" / name, number)
    path = str(zip_of(tmp_path / "set", tmp_path / "set.zip"))
    train, test = (load_images(path, resolution=8, channels=3, split=split).pixels for split in ("train", "test"))
    assert not torch.equal(train, test)


def damage(path: Path, kind: str) -> None:
    content = bytearray(path.read_bytes())
    if kind == "empty":
        content = bytearray()
    elif kind == "truncated":
        content = content[:-1]
    elif kind == "longer":
        content += b"x"
    else:
        at = {"length": 3, "hash": 10, "header": 50, "pixels": len(content) - 200, "labels": len(content) - 1}[kind]
        content[at] ^= 0x55
    path.write_bytes(content)


@pytest.mark.parametrize(
    "kind", ["empty", "truncated", "longer", "length", "hash", "header", "pixels", "labels", "gone"]
)
def test_a_damaged_copy_is_rebuilt_silently(classes_folder, cache_folder, decodes, capsys, kind):
    first = load_images(str(classes_folder), resolution=8, channels=3)
    whole = kept(cache_folder).read_bytes()
    told = capsys.readouterr().err
    if kind == "gone":
        kept(cache_folder).unlink()
    else:
        damage(kept(cache_folder), kind)
    assert same(first, load_images(str(classes_folder), resolution=8, channels=3))
    assert len(decodes) == 2
    assert kept(cache_folder).read_bytes() == whole
    assert capsys.readouterr().err == told


def test_no_place_to_keep_it_is_no_error(classes_folder, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MSN_GAN_CACHE", str(tmp_path / "file"))
    assert len(load_images(str(classes_folder), resolution=8, channels=3)) == 12


def test_a_full_disk_leaves_nothing(classes_folder, cache_folder, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert len(load_images(str(classes_folder), resolution=8, channels=3)) == 12
    assert list(cache_folder.iterdir()) == []


def test_an_interrupted_write_leaves_nothing(classes_folder, cache_folder, monkeypatch):
    def stop(*paths: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        load_images(str(classes_folder), resolution=8, channels=3)
    assert list(cache_folder.iterdir()) == []


def test_what_nobody_reads_is_removed(classes_folder, cache_folder):
    cache_folder.mkdir(parents=True)
    now = time.time()
    ages = {"old.images": 100, "new.images": 10, ".old.images.1.partial": 2, ".new.images.2.partial": 0, "other": 999}
    for name, days in ages.items():
        (cache_folder / name).touch()
        os.utime(cache_folder / name, times=(now - days * 86400,) * 2)
    load_images(str(classes_folder), resolution=8, channels=3)
    left = {path.name for path in cache_folder.iterdir()}
    assert left >= {"new.images", ".new.images.2.partial", "other"}
    assert len(left) == 4


def test_bad_images_are_told_again(classes_folder, cache_folder, decodes, capsys):
    (classes_folder / "cat" / "zero.png").touch()
    told = []
    for _ in range(2):
        with pytest.raises(UserError) as error:
            load_images(str(classes_folder), resolution=8, channels=3)
        told.append((str(error.value), capsys.readouterr().err))
    assert told[0] == told[1]
    assert len(load_images(str(classes_folder), resolution=8, channels=3, skip_bad_images=True)) == 12
    assert "1 unreadable image skipped" in capsys.readouterr().err
    assert len(decodes) == 1


def test_where_it_is_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("MSN_GAN_CACHE", "/chosen")
    assert decoded_cache_folder() == Path("/chosen/decoded")
    monkeypatch.delenv("MSN_GAN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert decoded_cache_folder() == Path("/xdg/msn-gan/decoded")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert decoded_cache_folder() == tmp_path / ".cache" / "msn-gan" / "decoded"
