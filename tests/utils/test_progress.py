"""Messages: a path is a hyperlink on a terminal, and plain text elsewhere."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from gan.utils import progress


def test_a_path_is_a_link_on_a_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, color_system="standard", highlight=False, legacy_windows=False)
    monkeypatch.setattr(progress, "_console", console)
    monkeypatch.chdir(tmp_path)
    page = Path("a [b]/report.html")
    progress.say(f"wrote {page} and more", link=page)
    text = screen.getvalue()
    before, _, rest = text.partition("\x1b]8;")
    assert before == "wrote " and rest.endswith("\x1b]8;;\x1b\\ and more\n")
    assert f";{(tmp_path / page).as_uri()}\x1b\\{page}" in rest


def test_plain_text_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    progress.say("wrote out/report.html", link=Path("out/report.html"))
    progress.say("wrote nothing", link=Path("out/report.html"))
    assert capsys.readouterr().err == "wrote out/report.html\nwrote nothing\n"
