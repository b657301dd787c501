"""The results of `norm check` as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import shorten
from typing import Any

import torch

from gan.config import plugins
from gan.config.choices import NORMS
from gan.norm_check.runner import Checked
from gan.norm_check.subject import FAILS
from gan.utils.environment import hardware_info, program_versions
from gan.utils.markdown_table import markdown_table

_WIDTH = 80  # of a figure in the table


def failed_names(results: Sequence[Checked]) -> list[str]:
    """Names of the properties that do not hold."""
    return [result.name for result in results if result.finding.verdict == FAILS]


def check_table(results: Sequence[Checked]) -> str:
    """A row for each property: its name, the verdict, and a figure or what is wrong.

    What is too long for the table is below it, once for all properties that fail in the same way.
    """
    rows: list[tuple[str, str, str]] = []
    below: dict[str, str] = {}
    for name, finding, _ in results:
        text = shorten(finding.text, _WIDTH, placeholder=" …")
        if text != finding.text:
            below.setdefault(finding.text, name)
            text = text if below[finding.text] == name else f"as {below[finding.text]}"
        rows.append((name, finding.verdict, text))
    lines = [f"{name}: {text}" for text, name in below.items()]
    return "\n\n".join([markdown_table(("property", "verdict", "figure"), rows, pad=True), *lines])


def check_record(norm: str, device: torch.device, results: Sequence[Checked]) -> dict[str, Any]:
    """The results with the source of the norm, hardware and versions, for a JSON file."""
    return {
        "norm": NORMS.canonical(norm),
        "sources": plugins.record(NORMS.references(norm), "SPEC"),
        "holds": not failed_names(results),
        "properties": {
            name: {"verdict": finding.verdict, "text": finding.text, **finding.values, "seconds": round(seconds, 3)}
            for name, finding, seconds in results
        },
        "device": str(device),
        "hardware": hardware_info(device),
        "versions": program_versions(),
    }
