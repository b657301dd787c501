"""Images, and a run of two ranks that was left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.ranked_runs import SMALL, train


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 24 images in three classes."""
    from tests.conftest import image_folder

    return image_folder.__wrapped__(tmp_path_factory.mktemp("data"))  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """The folder of a run of two ranks that was never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    ended = train(folder, 2, *SMALL, "--data", data)
    assert [end.code for end in ended] == [0, 0], ended[0].told
    assert "fp32 on 2 ranks on cpu" in ended[0].told and "done: samples are in" in ended[0].told
    assert ended[1].told == "" and ended[1].printed == ""
    return folder
