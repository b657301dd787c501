"""A report as one HTML file: no other file, no script and no network; for phones, for paper, by day and by night."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape
from pathlib import Path

from gan.report.document import Figure, Report, Table

_CSS = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1c1e21; --soft: #5c6370; --line: #d9dce1; --mark: #eef4fb;
  --warn: #8a4b00; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #16181c; --ink: #e4e6ea; --soft: #9aa1ad; --line: #3a3f47; --mark: #1d2a3a; --warn: #f0b367; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 70rem; margin: 0 auto; padding: 1rem clamp(.8rem, 3vw, 2rem) 3rem; }
h1 { font-size: clamp(1.3rem, 4vw, 1.8rem); line-height: 1.2; margin: .5rem 0 .2rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .6rem; }
p, ul { margin: .4rem 0; }
.soft, figcaption, ul.notes { color: var(--soft); font-size: .9rem; }
ul.notes { padding-left: 1.2rem; }
.stopped { color: var(--warn); font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { padding: .35rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; font-size: .85rem; }
td { font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; padding-left: 0; position: sticky; left: 0;
  background: var(--ground); }
td:first-child { white-space: normal; min-width: 7rem; overflow-wrap: anywhere; }
td.best { background: var(--mark); font-weight: 700; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); gap: 1.2rem; }
.pictures.small { grid-template-columns: repeat(auto-fill, minmax(min(100%, 10rem), 1fr)); gap: .9rem; }
p.summary { font-size: 1.05rem; margin: .6rem 0; max-width: 46rem; }
details { margin: .8rem 0; }
summary { cursor: pointer; }
details > :not(summary) { margin-top: .6rem; }
figure { margin: 0; min-width: 0; }
figcaption { margin-bottom: .3rem; }
figure img { display: block; width: 100%; image-rendering: pixelated; border-radius: 4px; }
svg.chart { display: block; width: 100%; max-width: 30rem; height: auto; overflow: visible; }
dl { display: grid; grid-template-columns: minmax(7rem, 12rem) 1fr; gap: .25rem 1rem; margin: 0; font-size: .9rem; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
pre { overflow-x: auto; padding: .8rem; border: 1px solid var(--line); border-radius: 6px; font-size: .85rem;
  white-space: pre-wrap; overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  table { font-size: .85rem; }
  th { white-space: normal; }
  th, td { padding: .35rem .4rem; }
}
@media (max-width: 30rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; } }
"""


def html_page(view: Report) -> str:
    """The whole page; pictures are read from their files and put into it.

    Raises:
        OSError: a picture cannot be read.
    """
    parts = [
        f"<h1>{escape(view.title)}</h1>",
        f'<p class="soft">Made {escape(view.made)} by msn-gan.</p>',
        f'<p class="stopped">{escape(view.stopped)}</p>' if view.stopped else "",
        *(f'<p class="summary">{escape(line)}</p>' for line in view.summary),
    ]
    for table in (view.first, *view.tables):
        parts += [f"<h2>{escape(table.heading)}</h2>", _table(table), _notes(table)]
    if view.grids:
        parts += ["<h2>Images</h2>", _pictures(view.grids, view.side_by_side)]
    for heading, grids in view.more_grids:
        parts.append(f"<details><summary>{escape(heading)}</summary>{_pictures(grids, view.side_by_side)}</details>")
    if view.charts:
        parts += ["<h2>Curves</h2>", _pictures(view.charts)]
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in view.protocols)
    parts += [f"<h2>{escape(view.facts_heading)}</h2>", f"<dl>{items}</dl>"]
    parts += ["<h2>Command</h2>", f"<pre>{escape(view.command)}</pre>"]
    if view.commands:
        lines = "".join(f"<p>{escape(name)}</p><pre>{escape(command)}</pre>" for name, command in view.commands)
        parts.append(f"<details><summary>Commands of the single runs</summary>{lines}</details>")
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(view.title)}</title>\n<style>{_CSS}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.header)
    rows = []
    for number, cells in enumerate(table.rows):
        marks = (' class="best"' if (number, at) in table.best else "" for at in range(len(cells)))
        rows.append("".join(f"<td{mark}>{escape(cell)}</td>" for mark, cell in zip(marks, cells, strict=True)))
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    # A region that scrolls must be reached by keyboard too.
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.heading)}">'
        f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _notes(table: Table) -> str:
    items = (f"<li>{escape(note)}</li>" for note in table.notes)
    return f'<ul class="notes">{"".join(items)}</ul>'


def _pictures(pictures: Iterable[Figure], small: bool = False) -> str:
    figures = []
    for picture in pictures:
        inside = picture.svg if picture.path is None else _image(picture.path, picture.alt)
        figures.append(f"<figure><figcaption>{escape(picture.caption)}</figcaption>{inside}</figure>")
    return f'<div class="pictures{" small" if small else ""}">' + "\n".join(figures) + "</div>"


def _image(path: Path, alt: str) -> str:
    content = base64.b64encode(path.read_bytes()).decode()
    return f'<img src="data:image/png;base64,{content}" alt="{escape(alt)}">'
