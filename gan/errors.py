"""Errors that the command line reports in one line: what is wrong, where, and what to do."""


class UserError(Exception):
    """A problem of the input or the machine, not of the program. The command line prints it and exits with 1."""

    exit_code = 1


class UsageError(UserError):
    """A wrong flag, value or combination of them. The command line prints it and exits with 2."""

    exit_code = 2


class GANWarning(UserWarning):
    """A likely problem that does not stop a call from Python, such as an FID from too few images."""


class Diverged(UserError):
    """Training has diverged: a loss, a gradient or a generated image is not finite."""
