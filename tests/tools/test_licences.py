"""The page of licences lists every dependency of pyproject.toml."""

from __future__ import annotations

import re
from email.message import Message
from pathlib import Path

import licences
import pytest

PYPROJECT = (Path(__file__).parents[2] / "pyproject.toml").read_text()


def test_each_dependency_is_on_the_page() -> None:
    block = PYPROJECT.split("dependencies = [", 1)[1].split("\n]", 1)[0]
    names = re.findall(r'^\s*"([\w-]+)', block, re.M)
    assert len(names) == 15 and "tomli" in names
    text = licences.PAGE.read_text(encoding="utf-8")
    assert licences.missing(text) == []
    assert all(f"| {name} |" in text for name in names)


def test_a_package_that_is_not_on_the_page() -> None:
    text = licences.PAGE.read_text(encoding="utf-8").replace("| scipy |", "| scip |")
    assert licences.missing(text) == ["scipy"]


@pytest.mark.parametrize(
    "fields, expected",
    [
        ({"License-Expression": "MIT", "License": "other"}, "MIT"),
        ({"Classifier": "License :: OSI Approved :: BSD License", "License": "Copyright\n..."}, "BSD License"),
        ({"License": "Apache\n  2.0"}, "Apache 2.0"),
        ({}, "not stated"),
    ],
)
def test_the_licence_in_metadata(fields: dict[str, str], expected: str) -> None:
    message = Message()
    for name, value in fields.items():
        message[name] = value
    assert licences.licence(message) == expected
