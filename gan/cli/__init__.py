"""The command line: parses, validates, calls. The only part that knows click; a file for each few commands.

Commands import what loads torch when they run, so that `--help`, errors of usage and shell completion take no seconds.
"""

from gan.cli import bench, classify, compare, data, export, norm, report, runs, sample, train  # noqa: F401 - each adds its commands
from gan.cli.app import main

__all__ = ["main"]
