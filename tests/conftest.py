"""Shared fixtures: one thread (tiny networks gain nothing from more), tiny sets, tiny settings."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan.cli import main
from gan.config.train_config import TrainConfig
from gan.data.image_set import ImageSet
from gan.runtime import Runtime
from tests.helpers.commands import Call

torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes that tests start, several at a time
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # torch 2.9 reads it once, at the first product

TINY = {
    "g_width": 4,
    "d_width": 4,
    "latent_dim": 8,
    "batch": 8,
    "steps": 4,
    "log_every": 2,
    "sample_every": 4,
    "checkpoint_every": 2,
    "precision": "fp32",
}


def pytest_collection_finish() -> None:
    """Leave torch and the collected tests out of garbage collections, of which a comparison makes several."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Undo gc.freeze, so that frozen objects are freed at exit; otherwise libraries report them as leaks."""
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the user's cache. For the whole session: fixtures of modules train and score too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MSN_GAN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def runtime() -> Runtime:
    return Runtime(torch.device("cpu"), bf16=False)


@pytest.fixture
def tiny() -> Callable[..., TrainConfig]:
    """Settings of a run of a few steps of a very small network."""
    return lambda **changes: TrainConfig().replace({**TINY, **changes})


@pytest.fixture
def image_set() -> Callable[..., ImageSet]:
    """A set of random images with three classes."""

    def make(count: int = 24, channels: int = 3, resolution: int = 32, labelled: bool = True) -> ImageSet:
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (count, channels, resolution, resolution), generator=generator)
        labels = torch.arange(count) % 3 if labelled else None
        return ImageSet.of(pixels.to(torch.uint8), labels, ("a", "b", "c") if labelled else ())

    return make


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """A folder of 24 PNGs in three sub-folders."""
    rng = np.random.default_rng(0)
    for index in range(24):
        folder = tmp_path / "images" / "abc"[index % 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"{index:02d}.png")
    return tmp_path / "images"


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command in an empty folder; returns its exit code and what it wrote to standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        return int(stopped.value.code or 0), capsys.readouterr().err

    return run
