"""A run that the command has trained, and the state of the process."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gan
from tests.helpers.api_calls import GREY, command


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run `r` that the command has trained."""
    root = tmp_path_factory.mktemp("trained")
    command("train", "r", "--out", root, "--g-lr", "0.1", *GREY)
    return root


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> gan.TrainedRun:
    """A copy of that run in the current folder."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return gan.TrainedRun("r")


@pytest.fixture
def state_is_kept() -> Iterator[None]:
    """Global state of torch, numpy, Python and the process is the same after a test as before."""

    def state() -> list[Any]:
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
        generators = (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate())
        flags = (torch.are_deterministic_algorithms_enabled(), torch.get_num_threads(), torch.is_grad_enabled())
        environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
        return [handlers, generators, flags, environment]

    before = state()
    yield
    assert state() == before
