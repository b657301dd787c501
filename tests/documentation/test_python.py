"""The code on docs/python.md runs as it stands there, block after block."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

import gan

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.filterwarnings("ignore::gan.GANWarning")
@pytest.mark.slow
def test_every_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    handler = signal.getsignal(signal.SIGINT)
    for number, block in enumerate(BLOCKS, 1):
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), names)
    assert len(BLOCKS) == PAGE.read_text(encoding="utf-8").count("```python")
    assert signal.getsignal(signal.SIGINT) == handler
    output = capsys.readouterr()
    assert output.err == ""
    # What the comments beside the prints say.
    printed = [line.rstrip() for line in output.out.splitlines()]
    for block in BLOCKS:
        for comment in re.findall(r"^ *print\(.*\)  +# (.*)$", block, re.MULTILINE):
            if comment.startswith("--"):
                assert all(
                    any(line.startswith(part.split("...")[0]) for line in printed) for part in comment.split(", and ")
                )
            elif not comment.startswith("reasons"):
                assert comment in printed, comment


def test_every_public_name_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in ("train", "load_generator", "sample", "score", "compare", "TrainedRun", "Progress", "GANWarning"):
        assert name in gan.__all__ and f"gan.{name}" in text, name
