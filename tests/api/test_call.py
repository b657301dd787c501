"""Calls of the Python API print nothing, and leave the caller's process as it was."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

import gan
from gan.api.call import api_call, out_argument
from tests.conftest import TINY
from tests.helpers.api_calls import SETTINGS, command, quiet, state_of
from tests.helpers.commands import picture
from tests.helpers.states import same_bytes


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gan.GANWarning)
        run = gan.train("r", out=tmp_path, **{**SETTINGS, "report_every": 4, "report_num": 20})
        gan.sample(run, num=2)
        gan.sample(run, num=2, out=tmp_path / "a.png")
        gan.score(run, num=40, metrics="fid", out=tmp_path / "report")
    assert capfd.readouterr() == ("", "")
    assert any(line.startswith("r: dcgan with msn: ") for line in run.messages)


def test_verbose_prints_what_the_command_prints(run: gan.TrainedRun, capsys: pytest.CaptureFixture[str]) -> None:
    command("report", "r", "--num", 40, "--device", "cpu", "--metrics", "fid")
    expected = capsys.readouterr().out
    gan.score("r", num=40, device="cpu", metrics="fid", verbose=True)
    assert capsys.readouterr().out == expected
    gan.sample(run, num=2, out="a.png", verbose=True)
    assert capsys.readouterr() == ("", "wrote a.png\n")


def test_progress_goes_to_the_callback(tmp_path: Path) -> None:
    seen: list[gan.Progress] = []
    gan.train("r", out=tmp_path, progress=seen.append, **SETTINGS)
    steps = [event for event in seen if event.description == "training r"]
    assert [(event.done, event.total) for event in steps] == [(done, 4) for done in range(5)]
    assert steps[0].note == "" and steps[-1].note.startswith("D ")
    gan.load_generator(tmp_path / "checkpoints" / "r").sample(100, progress=seen.append)
    assert [event.done for event in seen if event.description == "sampling"] == [0, 64, 100]


def test_warnings_are_python_warnings_of_the_caller(run: gan.TrainedRun) -> None:
    run.checkpoint.write_bytes(b"damaged")
    for _ in range(2):
        with pytest.warns(gan.GANWarning, match="falling back to the previous one") as caught:
            gan.sample(run, num=2)
        assert [Path(warning.filename) for warning in caught] == [Path(__file__)]


def test_notes_on_images_are_given_in_each_call(image_folder: Path, tmp_path: Path) -> None:
    (image_folder / "notes.txt").write_text("")
    for name in ("a", "b"):
        with pytest.warns(gan.GANWarning, match="ignoring 1 file"):
            run = gan.train(name, data=image_folder, out=tmp_path, preset="quickstart", **{**TINY, "channels": 3})
        assert any("ignoring 1 file" in line for line in run.messages)


def test_warnings_about_the_recipe(tmp_path: Path) -> None:
    for number in range(9):
        picture(tmp_path / "images" / f"{number}.png", size=(8, 8))
    with pytest.warns(gan.GANWarning, match="^9 of 9 images are enlarged more than twofold"):
        gan.train("r", data=tmp_path / "images", out=tmp_path, **{**SETTINGS, "channels": 3})


@quiet
@pytest.mark.usefixtures("state_is_kept")
def test_global_state_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = dict(os.environ)
    run = gan.train("r", out=tmp_path, deterministic=True, **{**SETTINGS, "report_every": 4, "report_num": 20})
    gan.load_generator(run).sample(3)
    gan.score(run, num=40)
    settings = {**SETTINGS, "report_every": 4, "report_num": 20}
    gan.compare("c", norms=["sn"], seeds=1, out=tmp_path, **settings)
    with pytest.raises(gan.UserError):
        gan.train("r", out=tmp_path)
    assert dict(os.environ) == before
    monkeypatch.undo()


def in_thread(work: Callable[[], None]) -> None:
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


@pytest.mark.usefixtures("state_is_kept")
def test_in_a_thread(run: gan.TrainedRun, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A call in a thread is silent, too, and does not silence others."""
    runs: list[gan.TrainedRun] = []

    def say_in_the_main_thread(event: gan.Progress) -> None:
        other = threading.Thread(target=lambda: gan.sample(run, num=2, out=tmp_path / "a.png", verbose=True))
        if event.description == "training mine" and event.done == 2:
            other.start()
            other.join()

    in_thread(lambda: runs.append(gan.train("mine", progress=say_in_the_main_thread, g_lr=0.1, **SETTINGS)))
    assert capfd.readouterr() == ("", f"wrote {tmp_path / 'a.png'}\n")
    same_bytes(state_of(runs[0].checkpoint), state_of(run.checkpoint))


class Stop(Exception):
    pass


def at_step(step: int, action: Callable[[], object]) -> Callable[[gan.Progress], None]:
    """A callback that acts once, after a step of the training."""
    acted: list[int] = []

    def callback(event: gan.Progress) -> None:
        if event.description == "training mine" and event.done == step and not acted:
            acted.append(step)
            action()

    return callback


def stop() -> None:
    raise Stop


@pytest.mark.usefixtures("state_is_kept")
@pytest.mark.parametrize("threaded", [False, True])
def test_a_callback_stops_a_training(threaded: bool, run: gan.TrainedRun) -> None:
    """A checkpoint is saved, from which the run ends with the same bytes."""

    def work() -> None:
        gan.train("mine", progress=at_step(3, stop), g_lr=0.1, **SETTINGS)

    with pytest.raises(Stop):
        in_thread(work) if threaded else work()
    assert gan.TrainedRun("mine").step == 3 and not gan.TrainedRun("mine").finished
    same_bytes(state_of(gan.train("mine", resume=True, device="cpu").checkpoint), state_of(run.checkpoint))


@pytest.mark.usefixtures("state_is_kept")
def test_ctrl_c_saves_a_checkpoint(run: gan.TrainedRun, capfd: pytest.CaptureFixture[str]) -> None:
    callback = at_step(3, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(
        KeyboardInterrupt, match=r"checkpoint saved; gan.train\('mine', resume=True\) continues the run"
    ):
        gan.train("mine", progress=callback, g_lr=0.1, **SETTINGS)
    assert gan.TrainedRun("mine").step == 3 and capfd.readouterr() == ("", "")
    same_bytes(state_of(gan.train("mine", resume=True, device="cpu").checkpoint), state_of(run.checkpoint))


@pytest.mark.usefixtures("state_is_kept")
def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="at once"):
        gan.train("mine", out=tmp_path, progress=at_step(3, twice), **SETTINGS)
    assert gan.train("mine", out=tmp_path, resume=True, device="cpu").finished


@pytest.mark.usefixtures("state_is_kept")
def test_sigterm_is_passed_on_after_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    try:
        callback = at_step(1, lambda: signal.raise_signal(signal.SIGTERM))
        run = gan.train("mine", out=tmp_path, progress=callback, **SETTINGS)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received == [signal.SIGTERM] and run.stopped == signal.SIGTERM
    assert run.step == 1 and not run.finished


@quiet
def test_ctrl_c_in_a_comparison(tmp_path: Path) -> None:
    settings = {**SETTINGS, "norms": ["sn", "msn"], "seeds": 1, "out": tmp_path, "report_every": 4, "report_num": 20}

    def callback(event: gan.Progress) -> None:
        if event.description.endswith("msn-seed0") and event.done == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match=r"gan.compare\('c', out='.*'\) continues the comparison"):
        gan.compare("c", progress=callback, **settings)
    result = gan.compare("c", out=tmp_path, device="cpu")
    assert [row["norm"] for row in result.rows] == ["sn", "msn"] and result.tests


@pytest.mark.parametrize("name", ["train", "compare"])
def test_training_in_several_ranks_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(gan.UsageError, match=f"^gan.{name}: runs in one process, not in 2 ranks"):
        getattr(gan, name)("r")


def test_the_call_that_continues_names_the_folder() -> None:
    assert out_argument(Path()) == out_argument(Path(".")) == ""
    assert f"gan.train('r'{out_argument(Path('a b'))})" == "gan.train('r', out='a b')"


@pytest.mark.parametrize("code", [0, 3, None, "words"])
def test_an_exit_of_the_callback_is_passed_on(code: object) -> None:
    with pytest.raises(SystemExit) as ended, api_call("train", {}, None, False):
        sys.exit(code)  # type: ignore[arg-type]
    assert ended.value.code == code


def test_a_second_signal_is_a_keyboard_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt, match="stopped at once"), api_call("train", {}, None, False):
        sys.exit(128 + signal.SIGINT)
