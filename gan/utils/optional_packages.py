"""Packages that only some commands need, and the one line that says how to get them."""

from __future__ import annotations

from importlib.util import find_spec

from gan.errors import UserError


def require_packages(flag: str, packages: tuple[str, ...]) -> None:
    """See that packages of the extra `onnx` are there, before any work.

    Args:
        flag: what needs them, as the message calls it.

    Raises:
        UserError: names those that are absent and says how to install them.
    """
    absent = [name for name in packages if find_spec(name) is None]
    if absent:
        raise UserError(f"{flag}: needs {', '.join(absent)}, not installed here; run: pip install {' '.join(absent)}")
