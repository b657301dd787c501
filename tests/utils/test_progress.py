"""Progress on standard error: what is being done is said after a second, also where no bar is drawn."""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from gan.data.thread_map import thread_map
from gan.utils import progress as module
from gan.utils.listener import Listener, Progress, listening
from gan.utils.progress import progress, rate_text, working


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_QUIET_SECONDS", 0.05)
    monkeypatch.setattr(module, "_LEAST_SECONDS", 0.05)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    monkeypatch.setattr(module, "_console", Console(file=stream, force_terminal=True, width=100))
    return stream


def wait_for(capsys: pytest.CaptureFixture[str]) -> str:
    text, deadline = "", time.monotonic() + 10
    while not text and time.monotonic() < deadline:
        time.sleep(0.01)
        text = capsys.readouterr().err
    return text


def test_a_line_says_what_is_done_before_the_first_item_is(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("KID", 100, "subset"):
        assert wait_for(capsys) == "KID: 0/100\n"


def test_resumed_work_says_where_it_starts(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("training r", 60, start=13):
        assert wait_for(capsys) == "training r: 13/60\n"


def test_work_without_items_is_announced(capsys: pytest.CaptureFixture[str]) -> None:
    with working("reading step-8.pt"):
        assert wait_for(capsys) == "reading step-8.pt ...\n"


def test_a_call_from_python_hears_of_work_without_items(capsys: pytest.CaptureFixture[str]) -> None:
    messages: list[str] = []
    with listening(Listener(messages.append, messages.append, is_shown=True)), working("reading step-8.pt"):
        assert wait_for(capsys) == "reading step-8.pt ...\n"
    assert messages == ["reading step-8.pt ..."]


def test_short_work_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with working("reading"), progress("sampling", 2) as advance:
        advance(2)
    time.sleep(0.15)
    assert capsys.readouterr().err == ""


def test_short_pieces_of_work_in_a_row_are_announced(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes less than a second; together a person would wait for long without a line."""
    monkeypatch.setattr(module, "_QUIET_SECONDS", 0.5)
    module.say("start")
    for number in range(10):
        with working(f"part {number}"):
            time.sleep(0.12)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "start" and 1 <= len(lines) - 1 <= 3 and all(line.startswith("part ") for line in lines[1:])


def test_the_line_is_not_printed_after_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError), working("reading"):
        raise ValueError
    time.sleep(0.15)
    assert capsys.readouterr().err == ""


def test_on_a_terminal_it_is_a_spinner_that_is_cleared(terminal: io.StringIO) -> None:
    with working("reading step-8.pt"), progress("sampling", 2) as advance:
        advance(1)
        time.sleep(0.2)
    assert "reading step-8.pt" in terminal.getvalue() and "sampling" in terminal.getvalue()


def test_nothing_is_printed_on_other_ranks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(module, "_silenced", True)
    with working("reading"):
        time.sleep(0.15)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("rate", "unit", "text"),
    [
        (52.4, "image", "52 images/s"),
        (2.0, "process", "2 processes/s"),
        (1.0, "process", "1.0 s per process"),
        (0.4, "turn", "2.5 s per turn"),
        (0.0, "turn", ""),
    ],
)
def test_rates(rate: float, unit: str, text: str) -> None:
    assert rate_text(rate, unit) == text


def test_a_path_is_a_link_on_a_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, color_system="standard", highlight=False, legacy_windows=False)
    monkeypatch.setattr(module, "_console", console)
    monkeypatch.chdir(tmp_path)
    page = Path("a [b]/report.html")
    module.say(f"wrote {page} and more", link=page)
    text = screen.getvalue()
    before, _, rest = text.partition("\x1b]8;")
    assert before == "wrote " and rest.endswith("\x1b]8;;\x1b\\ and more\n")
    assert f";{(tmp_path / page).as_uri()}\x1b\\{page}" in rest


def test_plain_text_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    module.say("wrote out/report.html", link=Path("out/report.html"))
    module.say("wrote nothing", link=Path("out/report.html"))
    assert capsys.readouterr().err == "wrote out/report.html\nwrote nothing\n"


def test_a_listener_gets_everything_in_place_of_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    messages: list[str] = []
    warnings: list[str] = []
    events: list[Progress] = []
    with listening(Listener(messages.append, warnings.append, events.append)):
        module.say("wrote a.png")
        module.warn("enlarged", printed="warning: enlarged")
        with working("reading"), progress("sampling", 3, start=1) as advance:
            advance(1, "D 1")
            advance()
    assert capsys.readouterr().err == ""
    assert (messages, warnings) == (["wrote a.png"], ["enlarged"])
    assert events == [Progress("sampling", done, 3, note) for done, note in ((1, ""), (2, "D 1"), (3, "D 1"))]
    module.warn("enlarged", printed="warning: enlarged")
    assert capsys.readouterr().err == "warning: enlarged\n"


def test_a_listener_hears_the_threads_that_decode(capsys: pytest.CaptureFixture[str]) -> None:
    """The first two runs are slow, so that the others run in threads."""
    messages: list[str] = []

    def process(run: range) -> None:
        time.sleep(0.05)
        module.say(f"{threading.current_thread() is threading.main_thread()}")

    with listening(Listener(messages.append, messages.append)):
        list(thread_map(process, 64))
    assert messages == ["True", "True", "False", "False"] and capsys.readouterr().err == ""


def test_a_message_is_new_once_in_a_call() -> None:
    for _ in range(2):
        with listening(Listener(print, print)):
            assert module.is_new("ignoring 1 file") and not module.is_new("ignoring 1 file")
