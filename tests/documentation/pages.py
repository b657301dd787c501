"""The pages of the documentation: their code blocks, links, images and anchors, read by a Markdown parser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt  # of rich
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
PAGES = tuple(
    str(path.relative_to(ROOT).as_posix())
    for path in sorted(
        {
            *ROOT.glob("*.md"),
            *(ROOT / "docs").rglob("*.md"),
            *(ROOT / "examples").rglob("*.md"),
            ROOT / "checkpoints" / "README.md",
            ROOT / "samples" / "README.md",
        }
    )
)


@dataclass(frozen=True)
class Block:
    """A code block of a page.

    Attributes:
        page: the page's path from the root of the clone.
        line: number of its first line on the page.
        kind: the language of a fenced block; "sh" for an indented one.
        text: its content.
    """

    page: str
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file_name(self) -> str | None:
        """The name in a first line such as `# my_norm.py`: the block is that file."""
        found = re.match(r"# (\w[\w-]*\.\w+)\n", self.text)
        return found[1] if found and self.kind != "sh" else None


@cache
def tokens(page: str) -> tuple[Token, ...]:
    """The tokens of a page, those inside paragraphs and table cells too."""
    parser = MarkdownIt("commonmark").enable("table")
    found = parser.parse((ROOT / page).read_text(encoding="utf-8"))
    return tuple(inner for token in found for inner in (token, *(token.children or ())))


@cache
def blocks(page: str) -> tuple[Block, ...]:
    """The code blocks of a page in their order."""
    return tuple(
        Block(page, (token.map or [0])[0] + 1, token.info.split()[0] if token.info.strip() else "sh", token.content)
        for token in tokens(page)
        if token.type in ("fence", "code_block")
    )


def all_blocks() -> list[Block]:
    return [block for page in PAGES for block in blocks(page)]


def links(page: str) -> Iterator[str]:
    """Targets of links and images."""
    for token in tokens(page):
        if token.type in ("link_open", "image"):
            yield str(token.attrs["href" if token.type == "link_open" else "src"])


@cache
def anchors(page: str) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: list[str] = []
    for before, token in zip(tokens(page), tokens(page)[1:], strict=False):
        if before.type == "heading_open":
            text = "".join(child.content for child in token.children or () if child.type in ("text", "code_inline"))
            name = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            repeated = sum(re.sub(r"-\d+$", "", other) == name for other in found)
            found.append(f"{name}-{repeated}" if repeated else name)
    return frozenset(found)
