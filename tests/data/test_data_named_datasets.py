from __future__ import annotations

from pathlib import Path
from typing import ClassVar
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision.datasets

from gan.data.datasets import DATASETS, count_classes
from gan.data.loading import load_images
from gan.errors import UsageError, UserError


def test_the_names():
    assert list(DATASETS) == ["digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "svhn", "stl10", "celeba"]


def test_digits():
    images = load_images("digits", resolution=8, channels=1)
    assert len(images) == 1797
    assert images.classes == tuple("0123456789")
    assert (images.pixels.min(), images.pixels.max()) == (0, 255)
    assert images.labels[:10].tolist() == list(range(10))
    assert images.conversions == {}
    assert images.name == "digits"


def test_digits_are_enlarged_smoothly_and_repeated_for_colour():
    grey = load_images("digits", resolution=32, channels=1)
    colour = load_images("digits", resolution=32, channels=3, split="test")
    assert torch.equal(colour.pixels, grey.pixels.expand(-1, 3, -1, -1))
    assert colour.conversions == {"converted to RGB": 1797, "enlarged": 1797}
    steps = grey.pixels.float().diff(dim=3).abs()
    native = load_images("digits", resolution=8, channels=1).pixels.float().diff(dim=3).abs()
    assert steps.mean() < native.mean() / 3  # of four times as many steps, each about a quarter as high


class Fake:
    """Replacement of a torchvision dataset class that records its arguments."""

    made: ClassVar[list[dict]] = []
    there = True

    def __init__(self, root: str, download: bool, **arguments):
        self.made.append({"root": root, "download": download, **arguments})
        if not self.there and not download:
            raise RuntimeError("Dataset not found or corrupted. You can use download=True to download it")
        rng = np.random.default_rng(0)
        self.build(rng, arguments)


class FakeCIFAR(Fake):
    classes: ClassVar[list[str]] = ["plane", "car", "bird"]

    def build(self, rng, arguments):
        self.data = rng.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
        self.targets = [0, 1, 2, 0, 1, 2]


class FakeMNIST(Fake):
    classes: ClassVar[list[str]] = ["0 - zero", "1 - one"]

    def build(self, rng, arguments):
        self.data = torch.from_numpy(rng.integers(0, 256, (4, 28, 28), dtype=np.uint8))
        self.targets = torch.tensor([0, 1, 1, 0])


class FakeSVHN(Fake):
    def build(self, rng, arguments):
        self.data = rng.integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)
        self.labels = np.array([3, 0, 1, 2, 3])


class FakeSTL10(Fake):
    classes: ClassVar[list[str]] = ["airplane", "bird"]

    def build(self, rng, arguments):
        self.data = rng.integers(0, 256, (4, 3, 96, 96), dtype=np.uint8)
        self.labels = np.array([0, 1, -1, -1] if "unlabeled" in arguments["split"] else [0, 1, 1, 0])


@pytest.fixture
def fake(monkeypatch):
    def put(name: str, replacement: type[Fake], there: bool = True) -> list[dict]:
        monkeypatch.setattr(replacement, "made", [])
        monkeypatch.setattr(replacement, "there", there)
        monkeypatch.setattr(torchvision.datasets, name, replacement)
        return replacement.made

    return put


@pytest.mark.parametrize(("name", "dataset"), [("cifar10", "CIFAR10"), ("cifar100", "CIFAR100")])
def test_cifar(fake, tmp_path, name, dataset):
    made = fake(dataset, FakeCIFAR)
    images = load_images(name, resolution=32, channels=3, data_root=tmp_path)
    want = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    assert torch.equal(images.pixels, torch.from_numpy(want).permute(0, 3, 1, 2))
    assert images.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert (images.classes, images.name) == (("plane", "car", "bird"), name)
    assert made == [{"root": str(tmp_path), "download": False, "train": True}]
    load_images(name, resolution=32, channels=3, data_root=tmp_path, split="test")
    assert made[-1]["train"] is False


@pytest.mark.parametrize(("name", "dataset"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_mnist(fake, tmp_path, name, dataset):
    fake(dataset, FakeMNIST)
    images = load_images(name, resolution=32, channels=1, data_root=tmp_path)
    assert images.pixels.shape == (4, 1, 32, 32)
    assert images.classes == ("0 - zero", "1 - one")
    assert images.conversions == {"enlarged": 4}


def test_svhn(fake, tmp_path):
    made = fake("SVHN", FakeSVHN)
    images = load_images("svhn", resolution=32, channels=3, data_root=tmp_path, split="test")
    assert torch.equal(images.pixels[0], torch.from_numpy(FakeSVHN("", False).data[0]))
    assert images.labels.tolist() == [3, 0, 1, 2, 3]
    assert images.classes == tuple("0123")
    assert made[0]["split"] == "test"


def test_stl10_trains_on_the_unlabelled_images_too(fake, tmp_path):
    made = fake("STL10", FakeSTL10)
    images = load_images("stl10", resolution=48, channels=3, data_root=tmp_path)
    assert made[0]["split"] == "train+unlabeled"
    assert images.labels is None and images.classes == ()
    assert load_images("stl10", resolution=48, channels=3, data_root=tmp_path, split="test").labels.tolist() == [
        0,
        1,
        1,
        0,
    ]


def test_celeba_is_read_from_its_files(monkeypatch, tmp_path, paint):
    class FakeCelebA:
        base_folder = "celeba"

        def __init__(self, root: str, split: str, download: bool):
            self.root, self.filename = root, {"train": ["2.jpg", "1.jpg"], "test": ["1.jpg", "2.jpg", "3.jpg"]}[split]

    monkeypatch.setattr(torchvision.datasets, "CelebA", FakeCelebA)
    for number in (1, 2, 3):
        paint(tmp_path / "celeba" / "img_align_celeba" / f"{number}.jpg", number, size=(178, 218))
    images = load_images("celeba", resolution=16, channels=3, data_root=tmp_path)
    assert (len(images), images.labels) == (2, None)
    assert images.conversions == {"cropped": 2, "resized": 2}
    assert len(load_images("celeba", resolution=16, channels=3, data_root=tmp_path, split="test")) == 3


def test_a_missing_set_is_downloaded_and_standard_output_stays_clean(fake, tmp_path, capsys):
    class Talking(FakeCIFAR):
        def build(self, rng, arguments):
            print("Files already downloaded and verified")
            super().build(rng, arguments)

    made = fake("CIFAR10", Talking, there=False)
    assert len(load_images("cifar10", resolution=32, channels=3, data_root=tmp_path)) == 6
    assert [call["download"] for call in made] == [False, True]
    out, err = capsys.readouterr()
    assert out == ""
    assert f"downloading cifar10 to {tmp_path}" in err


@pytest.mark.parametrize(
    "failure",
    [URLError("no network"), ModuleNotFoundError("No module named 'gdown'\nhint"), RuntimeError("File corrupted")],
)
def test_a_failed_download_says_in_one_line_what_to_do(fake, tmp_path, failure):
    class Failing(Fake):
        def build(self, rng, arguments):
            raise failure

    fake("CelebA", Failing, there=False)
    with pytest.raises(UserError) as error:
        load_images("celeba", resolution=32, channels=3, data_root=tmp_path)
    text = str(error.value)
    assert "\n" not in text
    assert str(failure).splitlines()[0].strip("<>") in text
    assert f"into {tmp_path}, or give a folder or zip of images instead" in text
    assert error.value.exit_code == 1


@pytest.mark.parametrize("failure", [ValueError("buffer size"), RuntimeError("shape '[60000, 28, 28]' is invalid")])
def test_damaged_files_are_not_said_to_be_missing(fake, tmp_path, failure):
    """torchvision finds them, so it does not download them again."""

    class Damaged(Fake):
        def build(self, rng, arguments):
            raise failure

    fake("MNIST", Damaged)
    with pytest.raises(UserError, match="mnist: its files in .* cannot be read .*; remove them to download them again"):
        load_images("mnist", resolution=32, channels=1, data_root=tmp_path)


def test_an_unknown_split(tmp_path: Path):
    with pytest.raises(UsageError, match="svhn has no split 'valid'; choose one of train, test"):
        load_images("svhn", resolution=32, channels=3, data_root=tmp_path, split="valid")


def test_classes_are_counted_without_a_download(monkeypatch):
    for name in ("mnist", "fashion-mnist", "cifar10", "cifar100", "svhn", "stl10", "celeba"):
        monkeypatch.delattr(torchvision.datasets, DATASETS[name].dataset)
    counts = {name: count_classes(name) for name in DATASETS}
    assert counts.pop("digits") == len(load_images("digits", resolution=8, channels=1).classes) == 10
    assert list(counts.values()) == [10, 10, 10, 100, 10, 0, 0]
