"""SECURITY.md: no file is read in a way that could run code in it, except one that the user names as code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SAFE = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}
REFUSED = {"pickle.load", "pickle.loads", "pickle.Unpickler", "torch.jit.load", "torch.package", "eval", "exec"}


def unsafe_calls(source: str) -> Iterator[str]:
    """The calls in Python source, with their line, that could run code of a file."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        given = {
            keyword.arg: ast.literal_eval(keyword.value)
            for keyword in node.keywords
            if keyword.arg in dict(SAFE.values())
        }
        if name in REFUSED or (name in SAFE and SAFE[name] not in given.items()):
            yield f"line {node.lineno}: {name}"


def test_no_file_runs_code() -> None:
    sources = sorted((ROOT / "gan").rglob("*.py"))
    texts = {path: path.read_text(encoding="utf-8") for path in sources}
    assert sum(text.count("weights_only=True") for text in texts.values()) >= 5  # the calls are found
    found = [f"{path.relative_to(ROOT)}, {call}" for path, text in texts.items() for call in unsafe_calls(text)]
    assert (
        len(found) == 1 and found[0].startswith("gan/config/plugins.py") and found[0].endswith(": exec")
    )  # named code


@pytest.mark.parametrize(
    "source, expected",
    [
        ("torch.load(path)", ["line 1: torch.load"]),
        ("torch.load(path, weights_only=False)", ["line 1: torch.load"]),
        ("torch.load(path, map_location='cpu', weights_only=True)", []),
        ("np.load(path, allow_pickle=True)", ["line 1: np.load"]),
        ("np.load(path, allow_pickle=False)", []),
        ("x = 1\npickle.loads(data)", ["line 2: pickle.loads"]),
        ("network.eval()", []),
    ],
)
def test_what_is_found(source: str, expected: list[str]) -> None:
    assert list(unsafe_calls(source)) == expected
