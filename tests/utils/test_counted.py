"""Counts with their noun."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gan.utils.counted import counted, plural


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (1, "epoch", "1 epoch"),
        (2, "epoch", "2 epochs"),
        (0, "image", "0 images"),
        (1200, "image", "1,200 images"),
        (1, "process", "1 process"),
        (3, "process", "3 processes"),
        (3, "class", "3 classes"),
        (3, "batch", "3 batches"),
        (2, "real image", "2 real images"),
    ],
)
def test_counted(count: int, noun: str, text: str) -> None:
    assert counted(count, noun) == text
    assert text.endswith(noun if count == 1 else plural(noun))


def test_no_message_makes_a_plural_of_its_own() -> None:
    """An `s` that depends on a count is written in `counted` alone."""
    own = re.compile(r"""['"]s['"] \*|['"]{2} if \w+ == 1 else ['"]e?s['"]""")
    package = Path(__file__).parents[2] / "gan"
    assert [path for path in package.rglob("*.py") if own.search(path.read_text())] == []
