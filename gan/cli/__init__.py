"""The command line: parses, validates, calls. The only part that knows click; a file for each few commands."""

from __future__ import annotations

from gan.cli import benching, classifying, comparing, data, exporting, scoring, training  # each adds its commands
from gan.cli.group import main

__all__ = ["benching", "classifying", "comparing", "data", "exporting", "main", "scoring", "training"]
