"""The command group: errors in one line, exit codes, and options that several commands share."""

import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Collection
from difflib import get_close_matches
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click
from click.core import ParameterSource

from gan.cli.version import version_options
from gan.config import plugins
from gan.config.choices import DEVICES
from gan.distributed import process_group
from gan.errors import UsageError, UserError
from gan.utils.memory import is_out_of_memory

OVER_RANKS = {"train", "sample", "report"}
"""Commands that several ranks can run together."""


_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]
_QUIET_SECONDS = 1.0  # of loading torch without a line
_LIKENESS = 0.8  # of a suggestion to what was typed, by difflib's ratio
_OUT_OF_MEMORY = "not enough memory: use a smaller --batch, --num or network"


class _Signalled(BaseException):
    """The process was asked to end by a signal."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number)
        self.signal = number


class Numbers(click.ParamType):
    """Comma-separated numbers of one type, such as `example`."""

    name = "numbers"

    def __init__(self, number_type: type[int] | type[float], example: str) -> None:
        self.number_type = number_type
        self.example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        try:
            return value if isinstance(value, tuple) else tuple(self.number_type(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers such as {self.example}", param, ctx)


class Names(click.ParamType):
    """Comma-separated names, such as fid,is; without duplicates unless `repeats`."""

    name = "names"

    def __init__(self, *, repeats: bool = False) -> None:
        self.repeats = repeats

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        names = tuple(part.strip() for part in value.split(","))
        return names if self.repeats else tuple(dict.fromkeys(names))


class Jobs(click.ParamType):
    """A number of jobs; None for `auto`."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value == "auto":
            return None
        if isinstance(value, int) or (value.isdecimal() and int(value) > 0):
            return int(value)
        self.fail(f"{value!r}: give a number of trainings from 1, or auto", param, ctx)


class _Commands(click.Group):
    """A command group that reports errors in one line and exits with the code of their type."""

    def main(self, *args: Any, **extra: Any) -> Any:
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # characters that an ASCII output lacks become question marks
        try:
            if process_group.launched_ranks() == 1:
                for number in _SIGNALS:
                    if signal.getsignal(number) == signal.SIG_DFL:
                        signal.signal(number, _raise_signalled)
            announcement = threading.Timer(_QUIET_SECONDS, _announce_loading)
            announcement.daemon = True
            announcement.start()
            code = super().main(*args, **{**extra, "standalone_mode": False})
            sys.exit(code if isinstance(code, int) else 0)
        except UserError as error:
            _fail(str(error), error.exit_code)
        except click.ClickException as error:
            if type(error).__name__ == "NoArgsIsHelpError":  # since click 8.2; before, it exits with 0
                click.echo(error.format_message())
                sys.exit(0)
            _drop_far_suggestions(error)
            _fail(f"{error.format_message()} (see --help)", error.exit_code)
        except (KeyboardInterrupt, click.Abort, _Signalled) as error:
            _end_stopped(error)
        except SystemExit as error:
            if message := plugins.error_message(error):  # a user's own code ended the process
                _fail(message, 1)
            raise
        except Exception as error:
            # Python 3.11 and older wrap what is raised in a class body, so also a signal while torch is imported.
            if isinstance(error.__cause__, (KeyboardInterrupt, _Signalled)):
                _end_stopped(error.__cause__)
            if is_out_of_memory(error):
                _fail(_out_of_memory(error), 1)
            if message := plugins.error_message(error):
                _fail(message, 1)
            if isinstance(error, OSError):
                _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), 1)
            _fail(f"{type(error).__name__}: {error}; this is a bug, msn-gan --debug COMMAND shows the traceback", 1)


def _announce_loading() -> None:
    """Print a line if torch is still being imported, which takes seconds when its files are not in memory."""
    spec = getattr(sys.modules.get("torch"), "__spec__", None)
    is_first = os.environ.get("RANK", "0") == "0" and "--worker" not in sys.argv
    if getattr(spec, "_initializing", False) and is_first:
        click.echo("loading torch ...", err=True)


def _drop_far_suggestions(error: click.ClickException) -> None:
    """Keep the suggestions for an unknown flag or command that are close to it: a typing error away."""
    if possibilities := getattr(error, "possibilities", None):
        name = getattr(error, "option_name", "") or getattr(error, "command_name", "")
        possibilities[:] = get_close_matches(name, possibilities, cutoff=_LIKENESS)


def _raise_signalled(number: int, _: FrameType | None) -> NoReturn:
    """Raise instead of exiting, so that partial files are removed."""
    raise _Signalled(signal.Signals(number))


def _end_stopped(error: BaseException) -> NoReturn:
    if isinstance(error, _Signalled):
        _fail(f"stopped by {error.signal.name}", 128 + error.signal)
    _fail("interrupted", 130)


def _out_of_memory(error: Exception) -> str:
    size = re.search(r"tried to allocate (\d+) bytes", str(error))
    return _OUT_OF_MEMORY + (f" ({int(size[1]) / 1e9:,.1f} GB were requested at once)" if size else "")


def _fail(message: str, code: int) -> NoReturn:
    if "--debug" in sys.argv[1:2]:
        traceback.print_exc()
    if process_group.reports_failure():
        click.echo(f"msn-gan: {message}", err=True)
    process_group.end_process(code)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@version_options
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def main(ctx: click.Context, debug: bool, verbose: bool) -> None:
    """Train GANs with spectral and mean spectral normalization, sample from them, and compare normalizations."""
    if verbose:
        raise UsageError("--verbose: is for --version; leave it out")
    if ctx.invoked_subcommand not in OVER_RANKS and process_group.launched_ranks() > 1:
        raise UsageError(
            f"{ctx.invoked_subcommand}: runs in one process; torchrun is for {', '.join(sorted(OVER_RANKS))}"
        )


def given_flags(besides: Collection[str]) -> list[str]:
    """The flags of the current command that the user gave, without those of some parameters."""
    context = click.get_current_context()
    parameters = [each for each in context.command.params if each.name not in besides]
    given = [each for each in parameters if context.get_parameter_source(each.name) is ParameterSource.COMMANDLINE]
    return [each.opts[0] for each in given]


device_option = click.option(
    "--device", type=click.Choice(DEVICES), default="auto", show_default=True, help="Device to run on."
)
split_option = click.option("--split", type=click.Choice(("train", "test")), default="train", show_default=True)
skip_option = click.option("--skip-bad-images", is_flag=True, help="Skip images that cannot be read.")
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace what exists at the output's path.")
standing_stats_option = click.option(
    "--standing-stats",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Recompute the batch-norm statistics of G over N batches of 64 latents.",
)
jobs_option = click.option(
    "--jobs",
    type=Jobs(),
    default=1,
    metavar="N|auto",
    help="Trainings at a time, each in a process with its share of the cores, or a GPU of its own; auto: one for each "
    "GPU, else as many as are measured to be fastest.  [1]",
)
network_option = click.option(
    "--network",
    type=Names(),
    default=(),
    help="Your own network that was trained, as file.py:name or package.module:name; code runs only if you name it.",
)
out_root = click.option(
    "--out",
    "root",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Folder of checkpoints/ and samples/.  [default: current folder]",
)


def worker_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what a process does that --jobs has started, and the user's own code that it may run."""
    own_code = click.option("--own-code", multiple=True, hidden=True)
    return click.option("--worker", hidden=True)(own_code(command))


def require_one_of_jobs_and_only(jobs: int | None, only: str | None) -> None:
    """Raise a UsageError if both --jobs and --only are given."""
    if only is not None and jobs != 1:
        raise UsageError(f"--only {only}: is one training; leave out --jobs")
