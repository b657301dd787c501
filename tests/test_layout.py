"""Imports between packages go one way, and the architecture page draws them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "gan"

# From the ground up; a package imports from itself or from those below it.
ORDER = [
    "norm",
    "nn",
    "errors",
    "config",
    "utils",
    "report",
    "distributed",
    "runtime",
    "data",
    "models",
    "runs",
    "bench",
    "dynamics",
    "norm_check",
    "metrics",
    "sampling",
    "evaluation",
    "export",
    "training",
    "experiments",
    "api",
    "cli",
    "__main__",
]
LEVEL = {name: level for level, name in enumerate(ORDER)}
FILES = sorted(ROOT.rglob("*.py"))


def part(path: Path) -> str:
    """The part of the program that a file belongs to: norm, models, data, ..."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_go_one_way(path: Path) -> None:
    if path == ROOT / "__init__.py":
        return
    mine = part(path)
    for name in imports(path):
        pieces = name.split(".")
        if pieces[0] != "gan" or pieces[1] == mine or pieces[1].startswith("__"):
            continue
        assert LEVEL[pieces[1]] <= LEVEL[mine], f"{mine} imports {pieces[1]}"


def test_only_the_command_line_knows_click() -> None:
    knowing = {part(path) for path in FILES if any(name.split(".")[0] == "click" for name in imports(path))}
    assert knowing == {"cli"}


def test_norm_imports_torch_alone() -> None:
    """Its own files by relative imports, so that the folder can be copied."""
    found = {name.split(".")[0] for path in (ROOT / "norm").glob("*.py") for name in imports(path)}
    assert found == {"__future__", "collections", "copy", "math", "torch", "typing"}


def test_training_imports_no_metrics() -> None:
    for name in ("trainer", "loop", "classify", "models", "data", "config"):
        for path in FILES:
            assert part(path) != name or not any("gan.metrics" in found for found in imports(path))


def test_the_picture_is_the_code() -> None:
    """docs/architecture.md draws the imports between packages, without those that follow from others."""
    imported: dict[str, set[str]] = {}
    for path in FILES:
        names = {name.split(".")[1] for name in imports(path) if name.startswith("gan.") and name[4] != "_"}
        imported.setdefault(part(path), set()).update(names - {part(path)})

    def reachable(package: str) -> set[str]:
        return set().union(*({other} | reachable(other) for other in imported.get(package, ())))

    expected = {
        (package, other)
        for package, others in imported.items()
        for other in others
        if not any(other in reachable(between) for between in others)
    }
    text = (ROOT.parent / "docs" / "architecture.md").read_text()
    lines = text.split("```mermaid")[1].split("```")[0].splitlines()
    pairs = [line.strip().split(" --> ") for line in lines if "-->" in line]
    assert {(package, other) for package, others in pairs for other in others.split(" & ")} == {
        pair for pair in expected if not pair[0].startswith("__")
    }


def test_the_files_that_the_architecture_names_exist() -> None:
    text = (ROOT.parent / "docs" / "architecture.md").read_text()
    rows = {row.split("|")[1].strip(" `"): row for row in text.splitlines() if row.startswith("| `")}
    walks = text.split("## Three walks")[1]
    named = re.findall(r"`(\w+/[\w/]+\.py)(?:: (\w+))?", walks)
    named += [(f"{package}/{name}", "") for package, row in rows.items() for name in re.findall(r"`(\w+\.py)`", row)]
    named = [(path, symbol) for path, symbol in named if not path.split("/")[0].endswith(".py")]
    assert len(named) > 60
    for path, symbol in named:
        assert (ROOT / path).exists(), path
        defined = rf"^ *(?:def|class) {symbol}\b|^{symbol}\b.* = "
        assert not symbol or re.search(defined, (ROOT / path).read_text(), re.M), (path, symbol)
