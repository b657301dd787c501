from __future__ import annotations

import threading
from contextlib import closing

import pytest
import torch
from PIL import Image

from gan.data import loading
from gan.data.batches import Batches
from gan.data.loading import load_images
from gan.errors import UserError


@pytest.fixture
def little_memory(monkeypatch):
    monkeypatch.setattr(loading, "available_memory", lambda: 1000)


@pytest.fixture
def both(classes_folder, zip_of, tmp_path, monkeypatch):
    """The same set in memory and streamed, from a folder and from a zip."""
    paths = [classes_folder, zip_of(classes_folder, tmp_path / "set.zip")]
    whole = [load_images(str(path), resolution=6, channels=3) for path in paths]
    monkeypatch.setattr(loading, "available_memory", lambda: 1000)
    return list(zip(whole, [load_images(str(path), resolution=6, channels=3) for path in paths], strict=True))


def test_streamed_images_equal_those_in_memory(both):
    indices = torch.tensor([11, 0, 5, 5, 7, 3, 1])
    for whole, streamed in both:
        assert streamed.pixels is None
        assert len(streamed) == len(whole)
        assert torch.equal(streamed.labels, whole.labels)
        assert (streamed.classes, streamed.conversions) == (whole.classes, whole.conversions)
        got = streamed.fetch(indices)
        assert got.dtype == torch.uint8
        assert torch.equal(got, whole.fetch(indices))


@pytest.mark.parametrize("order", [range(8), [5, 2, 2, 7, 0, 6, 1]])
def test_batches_are_the_same_in_whatever_order(both, order):
    for whole, streamed in both:
        with closing(Batches(streamed, 5, 3, flip=True)) as ahead:
            direct = Batches(whole, 5, 3, flip=True)
            for index in order:
                got, want = ahead.at(index), direct.at(index)
                assert torch.equal(got.images, want.images)
                assert torch.equal(got.labels, want.labels)


def test_the_next_batches_are_read_ahead(both):
    _, streamed = both[0]
    with closing(Batches(streamed, 2, 0)) as batches:
        batches.at(0)
        assert sorted(batches._pending) == [1, 2]
        batches.at(1)
        assert sorted(batches._pending) == [2, 3]
        batches.at(9)
        assert sorted(batches._pending) == [10, 11]


def test_no_thread_is_left_after_close(both):
    before = set(threading.enumerate())  # threads of earlier tests may end meanwhile
    for _, streamed in both:
        batches = Batches(streamed, 4, 0)
        first = batches.at(0)
        batches.close()
        batches.close()
        assert not set(threading.enumerate()) - before
        assert torch.equal(batches.at(0).images, first.images)  # still there, one at a time
        assert not set(threading.enumerate()) - before


def test_the_fingerprint_tells_one_set_from_another(classes_folder, paint, little_memory, tmp_path):
    def of(resolution: int = 6) -> str:
        return load_images(str(classes_folder), resolution=resolution, channels=3).fingerprint

    first = of()
    assert of() == first
    assert of(7) != first
    paint(classes_folder / "cat" / "00.png", 50)
    assert of() != first


def test_unreadable_headers_are_found_beforehand(classes_folder, little_memory, capsys, monkeypatch):
    (classes_folder / "cat" / "text.png").write_text("no image")
    (classes_folder / "cat" / "zero.png").touch()
    with pytest.raises(UserError, match="2 images cannot be read"):
        load_images(str(classes_folder), resolution=8, channels=3)
    images = load_images(str(classes_folder), resolution=8, channels=3, skip_bad_images=True)
    assert len(images) == len(images.labels) == 12
    (classes_folder / "cat" / "text.png").unlink()
    (classes_folder / "cat" / "zero.png").unlink()
    monkeypatch.setattr(loading, "available_memory", lambda: 10**9)
    clean = load_images(str(classes_folder), resolution=8, channels=3)
    assert torch.equal(images.fetch(torch.arange(12)), clean.pixels)
    assert "2 unreadable images skipped" in capsys.readouterr().err


def test_a_header_longer_than_usual_is_read_whole(classes_folder, little_memory):
    Image.new("RGB", (8, 8)).save(classes_folder / "cat" / "x.jpg", icc_profile=bytes(300_000))
    assert len(load_images(str(classes_folder), resolution=8, channels=3)) == 13


@pytest.fixture
def cut(classes_folder, paint, little_memory):
    """A set whose image number 1 has only an intact header."""
    path = classes_folder / "cat" / "00b.jpg"
    paint(path, size=(64, 64))
    path.write_bytes(path.read_bytes()[:900])
    return classes_folder


def test_damage_behind_the_header_is_told_when_it_is_met(cut):
    images = load_images(str(cut), resolution=8, channels=3)
    assert len(images) == 13
    images.fetch(torch.tensor([0, 2]))
    with pytest.raises(UserError, match=r"cat/00b\.jpg cannot be read: .*truncated.*--skip-bad-images"):
        images.fetch(torch.tensor([0, 1, 2]))


def test_or_the_next_image_stands_in(cut, capsys):
    images = load_images(str(cut), resolution=8, channels=3, skip_bad_images=True)
    for _ in range(3):
        got = images.fetch(torch.tensor([1, 2]))
        assert torch.equal(got[0], got[1])
    assert capsys.readouterr().err.count("replaced by the next image of the class cat") == 1


def damage(path):
    """Damage an image everywhere except in its header."""
    Image.effect_noise((64, 64), 100).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:1000])


def test_an_image_of_another_class_never_stands_in(classes_folder, little_memory, capsys):
    for name in ("06", "09"):  # the last two cats; the image after them is a dog
        damage(classes_folder / "cat" / f"{name}.png")
    images = load_images(str(classes_folder), resolution=8, channels=3, skip_bad_images=True)
    assert images.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    got = images.fetch(torch.tensor([2, 0, 3]))
    assert torch.equal(got[0], got[1]) and torch.equal(got[2], got[1])
    told = capsys.readouterr().err
    for name in ("06", "09"):
        assert told.count(f"cat/{name}.png cannot be read") == 1


def test_a_class_without_a_whole_image_stops_the_run(classes_folder, little_memory):
    for path in (classes_folder / "dog").iterdir():
        damage(path)
    images = load_images(str(classes_folder), resolution=8, channels=3, skip_bad_images=True)
    images.fetch(torch.tensor([0, 3, 8]))
    with pytest.raises(UserError, match=r"dog/04\.png cannot .*, nor can any other image of the class dog; repair or"):
        images.fetch(torch.tensor([5]))


def test_any_image_stands_in_where_there_are_no_labels(classes_folder, little_memory, capsys):
    damage(classes_folder / "cat" / "09.png")
    images = load_images(str(classes_folder / "cat"), resolution=8, channels=3, skip_bad_images=True)
    got = images.fetch(torch.tensor([3, 0]))
    assert torch.equal(got[0], got[1])
    assert "09.png cannot be read" in (told := capsys.readouterr().err) and "; replaced by the next image\n" in told


def test_a_zip_that_vanished_is_told(both, tmp_path):
    _, streamed = both[1]
    (tmp_path / "set.zip").unlink()
    with pytest.raises(UserError, match=r"set\.zip: No such file"):
        streamed.fetch(torch.tensor([0]))
