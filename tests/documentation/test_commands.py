"""Every command on the pages is accepted by its program's parser; each block runs, or the plan says why not."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.documentation import parsers, plan
from tests.documentation.pages import PAGES, ROOT, Block, all_blocks, blocks, tokens
from tests.documentation.shell import commands

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
SHELL = [block for block in all_blocks() if block.kind == "sh" and plan.is_code(block)]


@pytest.mark.parametrize("page", [page for page in PAGES if any(block.page == page for block in SHELL)])
def test_programs_accept_their_commands(page: str) -> None:
    for block in SHELL:
        if block.page == page:
            for command in commands(block):
                assert not (told := parsers.parser_error(command.words)), f"{block}: {command}: {told}"


def test_commands_in_sentences_are_accepted() -> None:
    """Those with a flag. They may leave out what it is applied to; a capital is a number."""
    found = 0
    for page in PAGES:
        for token in tokens(page):
            if token.type == "code_inline" and re.match(r"msn-gan [a-z]+ .*--", token.content):
                told = parsers.parser_error(shlex.split(re.sub(r"\b[A-Z]\b", "1", token.content)))
                is_cut = re.match(r"Missing argument|Option '[a-z-]+' requires an argument", told)
                assert not told or is_cut, f"{page}: {token.content}: {told}"
                found += 1
    assert found


@pytest.mark.parametrize(
    "line",
    [
        "msn-gan trane",
        "msn-gan train --stepz 3",
        "msn-gan train --steps many",
        "torchrun --ranks 3 msn_gan.py train",
        "torchrun --standalone msn_gan.py train --stepz 3",
        "python benchmarks/nothing.py",
        "python benchmarks/train_speed.py --warmup soon",
        "python msn_gan.py train --stepz 3",
        "pip install --fast .",
        "pip install .[most]",
        "make everything",
        "tensorboard --folder checkpoints",
    ],
)
def test_the_parsers_refuse(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    (command,) = commands(Block("a page", 1, "sh", line))
    assert parsers.parser_error(command.words)


@pytest.mark.parametrize("text", ["unknown-program --flag", "msn-gan train (", "true"])
def test_blocks_that_are_not_understood(text: str) -> None:
    with pytest.raises(AssertionError, match="a page:1"):
        commands(Block("a page", 1, "sh", text))


def test_commands_are_what_bash_makes_of_them() -> None:
    text = "for n in a 'b c'; do\n  msn-gan train \"$n\" \\\n    --data {x,y}.zip  # twice\ndone\n"
    text += "export A=3\nmsn-gan runs $A\n"
    found = [command.words for command in commands(Block("a page", 1, "sh", text))]
    assert found == [
        ("msn-gan", "train", "a", "--data", "x.zip", "y.zip"),
        ("msn-gan", "train", "b c", "--data", "x.zip", "y.zip"),
        ("msn-gan", "runs", "3"),
    ]


@pytest.mark.parametrize("table", [plan.NOT_RUN, plan.OTHER_RUN], ids=["NOT_RUN", "OTHER_RUN"])
def test_the_plan_names_commands_of_the_pages(table: dict[str, str] | set[str]) -> None:
    texts = [str(command) for block in SHELL for command in commands(block)]
    assert [words for words in table if not any(text.startswith(words) for text in texts)] == []


def test_the_plan_names_blocks_of_the_pages() -> None:
    texts = [block.text for block in all_blocks()]
    assert [words for words in plan.NO_CODE if not any(text.startswith(words) for text in texts)] == []
    assert set(plan.BEFORE) <= set(PAGES)


def test_what_shortens_commands_are_flags() -> None:
    needed = {name: ["r"] for name in ("compare", "train", "classify", "report")}
    needed |= {
        f"benchmarks/{name}.py": ["--data", "a.zip"] for name in ("train_speed", "equal_seconds", "bf16_quality")
    }
    needed["benchmarks/equal_seconds.py"] += ["--features", "digits"]
    needed["benchmarks/bf16_quality.py"] += ["--features", "digits"]
    needed["benchmarks/kept_memory.py"] = ["--preset best"]
    for name, flags in plan.SHORT.items():
        program = "python" if name.endswith(".py") else "msn-gan"
        assert not (told := parsers.parser_error([program, name, *needed.get(name, []), *flags.split()])), (
            f"{name}: {told}"
        )
    words = ["torchrun", *plan.shortened_torchrun(["--standalone", "msn_gan.py", "train", "r"])]
    assert not (told := parsers.parser_error(words)), told


def test_every_block_is_of_a_kind_that_is_run() -> None:
    """Python blocks run in test_python.py, or are a file; the files of a page are written before its commands run."""
    for block in all_blocks():
        if block.kind == "python" and block.file_name is None and block.page != "docs/python.md":
            examples = [path.read_text(encoding="utf-8") for path in (ROOT / "examples").glob("*.py")]
            assert block.text in examples, f"{block}: is neither a file with its name in the first line nor an example"
        elif block.kind not in ("sh", "python", "mermaid"):
            assert block.kind == "toml" and block.file_name, f"{block}: nothing runs {block.kind}"


@pytest.mark.parametrize("path", sorted((ROOT / "examples").rglob("*.py")), ids=lambda path: path.name)
def test_examples_are_valid_and_used(path: Path) -> None:
    compile(path.read_text(encoding="utf-8"), str(path), "exec")
    folder = path.parents[1].name if path.parent.name == "src" else path.name
    used = any(folder in block.text or path.read_text(encoding="utf-8") == block.text for block in all_blocks())
    assert used, f"{path}: no page uses it"
    assert blocks("README.md")
