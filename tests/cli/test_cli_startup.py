"""Start of the program: help, errors of usage, shell completion and `data info` load none of the slow packages."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import startup

from gan import __version__
from gan.cli import app, main
from gan.config.choices import NORMS
from gan.config.presets import PRESETS
from tests.helpers.commands import Call

_SLOW = ("torch", "torchvision", "matplotlib", "scipy", "sklearn", "torchmetrics", "tensorboard", "pytorch_fid")
_SCRIPT = """
import contextlib, io, json, sys
from gan.__main__ import run

loaded = {}
for arguments in json.loads(sys.argv[1]):
    before = set(sys.modules)
    sys.argv = ["msn-gan", *arguments]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()):
        try:
            run()
        except SystemExit as end:
            code = end.code
    loaded[" ".join(arguments)] = [code, out.getvalue(), sorted(set(sys.modules) - before)]
json.dump(loaded, sys.stdout)
"""


def test_starting_loads_no_slow_package(image_folder: Path) -> None:
    helps = [(*words, "--help") for words in startup.commands()]
    assert ("--help",) in helps and ("train", "--help") in helps and ("data", "info", "--help") in helps
    errors = [("train", "--unknown"), ("unknown",), ("sample",), ("train", "--steps", "x"), ("data", "info")]
    info = ("data", "info", str(image_folder))
    commands = [*helps, *errors, ("--version",), info]
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, json.dumps(commands)], capture_output=True, text=True, check=True
    )
    results = json.loads(done.stdout)
    assert len(results) == len(commands)
    for name, (code, _, modules) in results.items():
        assert code == (2 if tuple(name.split()) in errors else 0), name
        assert not {module.split(".")[0] for module in modules} & set(_SLOW), name
    assert "images:" in results[" ".join(info)][1]


@pytest.mark.parametrize(
    "cause, code, message",
    [(KeyboardInterrupt(), 130, "interrupted"), (app._Signalled(signal.SIGTERM), 143, "stopped by SIGTERM")],
)
def test_a_signal_while_torch_is_imported(
    cause: BaseException, code: int, message: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.11 wraps it if it comes while a class of torch is created."""

    def run(*arguments: object, **options: object) -> None:
        raise RuntimeError("Error calling __set_name__") from cause

    monkeypatch.setattr("gan.training.train.train_run", run)
    assert call("train") == (code, f"msn-gan: {message}\n")


@pytest.mark.parametrize("words", [("--version", "--verbose"), ("-v", "--version")])
def test_the_verbose_version(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(list(words))
    output = capsys.readouterr().out
    assert not end.value.code and output.startswith(f"msn-gan {__version__}\n")
    for name in ("Python:", "packages:", "CPU:", "threads:", "cache folder:"):
        assert f"\n{name}" in output


def test_the_plain_version_and_a_lone_verbose(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"msn-gan, version {__version__}\n"
    assert call("--verbose", "runs") == (2, "msn-gan: --verbose: is for --version; leave it out\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell(shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("_MSN_GAN_COMPLETE", f"{shell}_source")
    with pytest.raises(SystemExit) as end:
        main([], prog_name="msn-gan")
    assert end.value.code == 0 and f"_MSN_GAN_COMPLETE={shell}_complete" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, expected",
    [
        ("da", ["plain,data"]),
        ("data in", ["plain,info"]),
        ("data info ca", ["file,ca"]),
        ("train --norm-", ["plain,--norm-layers"]),
        ("train --norm ", [f"plain,{name}" for name in NORMS]),
        ("train --preset ", [f"plain,{name}" for name in PRESETS]),
        ("train --data ca", ["file,ca"]),
        ("train --steps ", []),
        ("compare r --norms sn,ms", ["plain,sn,msn", "plain,sn,msn-affine"]),
        ("report --metrics f", ["plain,fid", "plain,fid-infinity"]),
        ("report check", ["file,check"]),
    ],
)
def test_completion(
    words: str, expected: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_MSN_GAN_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", f"msn-gan {words}")
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" "))))
    with pytest.raises(SystemExit):
        main([], prog_name="msn-gan")
    assert capsys.readouterr().out.split() == expected


def test_the_benchmark_runs_the_same_program(tmp_path: Path) -> None:
    (case,) = [case for case in startup.cases(tmp_path) if case.name == "data info --help"]
    assert 0 < startup.seconds(case)
    with pytest.raises(SystemExit, match="exit code 0"):
        startup.seconds(case._replace(code=2))
