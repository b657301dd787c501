"""Check that optional packages are installed."""

from importlib.util import find_spec

from gan.errors import UserError


def require_packages(flag: str, packages: tuple[str, ...], *, requirement: str = "") -> None:
    """Check that packages are installed, before any work.

    Args:
        flag: that needs them, for the message.
        packages: their modules; one with a dot shows that a version of the package has it.
        requirement: what to install if they are missing, for pip; "": the packages.

    Raises:
        UserError: some are missing; the message says how to install them.
    """
    missing = [name for name in packages if not _is_installed(name)]
    if missing:
        needed, command = requirement or ", ".join(missing), requirement or " ".join(missing)
        raise UserError(f"{flag}: needs {needed}, not installed here; run: pip install {command}")


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package of a module with a dot
        return False
