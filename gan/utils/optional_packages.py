"""Check that optional packages are installed."""

from importlib.util import find_spec

from gan.errors import UserError


def require_packages(flag: str, packages: tuple[str, ...]) -> None:
    """Check that packages are installed, before any work.

    Args:
        flag: that needs them, for the message.

    Raises:
        UserError: some are missing; the message says how to install them.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise UserError(f"{flag}: needs {', '.join(missing)}, not installed here; run: pip install {' '.join(missing)}")
