"""The command that messages advise."""

from __future__ import annotations

import os
import shlex
import sys

import pytest

from gan.runs.command_line import program_name, split_words


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


@pytest.mark.parametrize(
    "text", ["--norm sn --r1 0.1", "--augment 'a b.py:f' \"c d\"", "a\\ b # c", "--data=x,y ''", ""]
)
def test_words_as_a_shell_splits_them(text: str) -> None:
    assert split_words(text) == shlex.split(text)


def test_words_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "name", "nt")
    assert split_words(r"--norm C:\norms\my.py:soft") == ["--norm", r"C:\norms\my.py:soft"]
    assert split_words(shlex.join(["--norm", r"C:\my norms\my.py:soft"])) == ["--norm", r"C:\my norms\my.py:soft"]
    assert split_words(r'--norm "C:\my norms\my.py:soft"') == ["--norm", r"C:\my norms\my.py:soft"]
