"""`msn-gan --version`, and with `--verbose` the details for a bug report."""

from typing import Any

import click

from gan import __version__


def print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    """Print the version and end; with `--verbose`, also packages, machine, devices and the cache folder."""
    if not value or ctx.resilient_parsing:
        return
    click.echo(f"msn-gan {__version__}" if ctx.params.get("verbose") else f"msn-gan, version {__version__}")
    if ctx.params.get("verbose"):
        from gan.utils.environment import environment_lines

        for name, text in environment_lines():
            click.echo(f"{name + ':':<14}{text}")
    ctx.exit()


def version_options(command: Any) -> Any:
    """Add `--version` and `-v`, `--verbose` to the command group."""
    verbose = click.option(
        "-v",
        "--verbose",
        is_flag=True,
        is_eager=True,  # known when --version is handled, in either order
        help="With --version: also packages, machine and devices.",
    )
    version = click.option(
        "--version", is_flag=True, expose_value=False, callback=print_version, help="Show the version and exit."
    )
    return version(verbose(command))
