"""Links, anchors and images of all pages resolve, and docs/README.md lists every page."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from PIL import Image

from tests.documentation.pages import PAGES, ROOT, anchors, links


def target(page: str, link: str) -> tuple[Path, str]:
    """The file that a relative link names, and its anchor."""
    parts = urlsplit(link)
    return (ROOT / page).parent / unquote(parts.path) if parts.path else ROOT / page, unquote(parts.fragment)


def link_error(page: str, link: str) -> str:
    """Error of a link: no such file or heading, or outside of the repository; empty if it is correct."""
    if urlsplit(link).scheme in ("http", "https", "mailto"):
        return ""
    path, anchor = target(page, link)
    if not path.exists():
        return f"{link}: no such file"
    if not path.resolve().is_relative_to(ROOT):
        return f"{link}: outside of the repository"
    if anchor and path.suffix == ".md" and anchor not in anchors(path.resolve().relative_to(ROOT).as_posix()):
        return f"{link}: no such heading"
    return ""


@pytest.mark.parametrize("page", PAGES)
def test_links_resolve(page: str) -> None:
    assert [error for link in links(page) if (error := link_error(page, link))] == []


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ("docs/metrics.md", ""),
        ("docs/metrics.md#classification-accuracy-score", ""),
        ("#quick-start", ""),
        ("docs/metric.md", "no such file"),
        ("docs/metrics.md#classification", "no such heading"),
        ("#quick", "no such heading"),
        ("..", "outside"),
    ],
)
def test_the_check_of_links(link: str, problem: str) -> None:
    found = link_error("README.md", link)
    assert problem in found and bool(problem) is bool(found)


def test_images_can_be_read() -> None:
    shown = {target(page, link)[0].resolve() for page in PAGES for link in links(page) if "/images/" in link}
    assert shown
    for path in shown:
        if path.suffix != ".svg":
            with Image.open(path) as image:
                image.verify()
        else:
            assert "<svg" in path.read_text(encoding="utf-8")
    assert {path.resolve() for path in (ROOT / "docs" / "images").iterdir()} <= shown, "images that no page shows"


def test_the_index_lists_every_page() -> None:
    listed = {target("docs/README.md", link)[0].resolve() for link in links("docs/README.md")}
    missing = [page for page in PAGES if page.startswith("docs/") and (ROOT / page).resolve() not in listed]
    assert missing == ["docs/README.md"]
