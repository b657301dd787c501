"""The command that messages advise."""

from __future__ import annotations

import os
import sys

import pytest

from gan.runs.command_line import program_name


def other_drive(*_: object) -> str:
    raise ValueError("path is on mount 'D:', start on mount 'C:'")


def test_the_program_of_a_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["msn_gan.py"])
    monkeypatch.setattr(sys, "executable", os.path.abspath("venv/bin/python"))
    assert program_name() == f"{os.path.join('venv', 'bin', 'python')} msn_gan.py"
    monkeypatch.setattr(sys, "executable", os.path.abspath("../python"))
    assert program_name() == "python msn_gan.py"
    monkeypatch.setattr(os.path, "relpath", other_drive)  # Windows, with the interpreter on another drive
    assert program_name() == f"{sys.executable} msn_gan.py"
