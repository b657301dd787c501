"""Failures that are told to the user in one line: what is wrong, where, and what to do."""

from __future__ import annotations


class UserError(Exception):
    """A failure of the input or the machine, not of the program. The command line prints its text and exits with 1."""

    exit_code = 1


class UsageError(UserError):
    """A wrong flag, value or combination of them. The command line prints its text and exits with 2."""

    exit_code = 2


class Diverged(UserError):
    """A loss or gradient is no longer finite."""
