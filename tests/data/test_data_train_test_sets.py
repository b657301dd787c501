"""Training and test sets of classifiers, and the error message for each kind of unsuitable images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gan.data.image_set import ImageSet
from gan.data.train_test_sets import load_train_and_test
from gan.errors import UsageError, UserError


def sets(data: str, **given: Any) -> tuple[ImageSet, ImageSet]:
    """Load both sets at 8 pixels for a batch size of 4, the digits in grey."""
    return load_train_and_test(data, **{"resolution": 8, "channels": 1 if data == "digits" else 3, "batch": 4, **given})


def paint(folder: Path, classes: str, count: int = 4, seed: int = 0) -> Path:
    """A folder of random images, `count` per class; the red channel encodes the class's letter."""
    rng = np.random.default_rng(seed)
    for letter in classes:
        (folder / letter).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            pixels[..., 0] = ord(letter)
            Image.fromarray(pixels).save(folder / letter / f"{number}.png")
    return folder


@pytest.fixture
def train(tmp_path: Path) -> Path:
    return paint(tmp_path / "train-set", "abc")


def test_a_fifth_of_the_digits_of_each_class_is_held_out() -> None:
    learned, tested = sets(data="digits")
    assert len(learned) + len(tested) == 1797 and learned.resolution == 8 and learned.channels == 1
    assert learned.labels is not None and tested.labels is not None
    shares = tested.labels.bincount() / (learned.labels.bincount() + tested.labels.bincount())
    assert len(shares) == 10 and shares.min() > 0.19 and shares.max() <= 0.2
    assert learned.pixels is not None and tested.pixels is not None
    seen = {image.numpy().tobytes() for image in learned.pixels}
    assert len([image for image in tested.pixels if image.numpy().tobytes() in seen]) < 5  # few digits are alike
    again = sets(data="digits", test_data="digits")
    assert [part.fingerprint for part in again] == [learned.fingerprint, tested.fingerprint]


def test_sub_folders_train_and_test(tmp_path: Path) -> None:
    paint(tmp_path / "set" / "train", "ab", 5)
    paint(tmp_path / "set" / "test", "ab", 3, seed=1)
    learned, tested = sets(data=str(tmp_path / "set"))
    assert (len(learned), len(tested)) == (10, 6)


def test_classes_are_matched_by_name(train: Path, tmp_path: Path) -> None:
    other = paint(tmp_path / "other", "abc", 3, seed=1)
    names = sorted(path.relative_to(other).as_posix() for path in other.rglob("*.png"))
    rows = [[name, "cab".index(name[0])] for name in names]
    (other / "dataset.json").write_text(json.dumps({"labels": rows, "classes": ["c", "a", "b"]}))
    learned, tested = sets(data=str(train), test_data=str(other))
    assert learned.classes == tested.classes == ("a", "b", "c")
    for images in (learned, tested):
        assert images.pixels is not None and images.labels is not None
        assert torch.equal(images.pixels[:, 0, 0, 0].long() - ord("a"), images.labels)


def test_a_limit_takes_the_first_of_each_class(train: Path, tmp_path: Path) -> None:
    shutil.rmtree(train / "b")
    paint(train, "b", 1)
    other = paint(tmp_path / "other", "abc", seed=1)
    whole, _ = sets(data=str(train), test_data=str(other))
    few, tested = sets(data=str(train), test_data=str(other), limit=6)
    assert few.labels is not None and few.labels.tolist() == [0, 0, 0, 1, 2, 2] and len(tested) == 12
    assert whole.pixels is not None and few.pixels is not None
    assert torch.equal(few.pixels[:3], whole.pixels[:3]) and torch.equal(few.pixels[4:], whole.pixels[5:7])
    assert len(sets(data=str(train), test_data=str(other), limit=500)[0]) == 9


def refused(kind: type[UserError], message: str, **given: Any) -> None:
    with pytest.raises(kind) as caught:
        sets(**given)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_other_classes(train: Path, tmp_path: Path) -> None:
    other = paint(tmp_path / "other", "abd")
    message = "its classes differ from the training images' (only in the training images: c; only in the test images"
    refused(UserError, message, data=str(train), test_data=str(other))
    shutil.rmtree(other / "d")
    refused(UserError, "(only in the training images: c)", data=str(train), test_data=str(other))


def test_one_class(train: Path, tmp_path: Path) -> None:
    single = paint(tmp_path / "single" / "only", "a")
    rows = [[path.name, 0] for path in sorted(single.rglob("*.png"))]
    (single / "a" / "dataset.json").write_text(json.dumps({"labels": rows, "classes": ["a", "b", "c"]}))
    message = "has only one class (a); a classifier needs at least two"
    refused(UserError, f"--data {single}: {message}", data=str(single), test_data=str(train))
    refused(UserError, f"--test-data {single}: {message}", data=str(train), test_data=str(single))


def test_no_labels(train: Path, tmp_path: Path) -> None:
    loose = tmp_path / "loose"
    shutil.copytree(train / "a", loose)
    message = "has no labels, or only one class; put each of two or more classes into a sub-folder of its own"
    refused(UserError, f"--data {loose}: {message}", data=str(loose), test_data=str(train))
    refused(UserError, f"--test-data {loose}: {message}", data=str(train), test_data=str(loose))


def test_no_test_images(train: Path) -> None:
    refused(
        UsageError, f"--test-data: {train} has no test split; give other images of the same classes", data=str(train)
    )
    message = "--test-data: these are the training images; give other images of the same classes"
    refused(UsageError, message, data=str(train), test_data=str(train))
    refused(UsageError, "--test-data nowhere: no such folder, zip or npz", data=str(train), test_data="nowhere")
    refused(UsageError, "--data nowhere: no such folder, zip or npz", data="nowhere")


def test_too_few_images(train: Path, tmp_path: Path) -> None:
    both = {"data": str(train), "test_data": str(paint(tmp_path / "other", "abc", seed=1))}
    refused(UsageError, "--batch 13: more than the 12 training images; use --batch 12 or less", batch=13, **both)
    refused(UsageError, "--batch 8: more than the 6 training images", batch=8, limit=6, **both)
    refused(UsageError, "--limit 2: use at least 3, one image of each class", limit=2, **both)
