"""The group of all commands: failures in one line, exit codes, and the flags that several commands share."""

from __future__ import annotations

import re
import signal
import sys
import traceback
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click

from gan import __version__
from gan.distributed import process_group
from gan.errors import UsageError, UserError
from gan.runtime import DEVICES
from gan.utils.memory import is_out_of_memory

OVER_RANKS = {"train", "sample", "report"}
"""Commands that the ranks of a job run together."""


_ENDS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows has no SIGHUP
_NO_ROOM = "not enough memory: a smaller --batch, --num or network needs less"


class _Ended(BaseException):
    """A signal has asked the process to end."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number)
        self.signal = number


class Numbers(click.ParamType):
    """Numbers of one kind with commas between them, as in `example`."""

    name = "numbers"

    def __init__(self, kind: type[int] | type[float], example: str) -> None:
        self.kind = kind
        self.example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        try:
            return value if isinstance(value, tuple) else tuple(self.kind(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers such as {self.example}", param, ctx)


class Names(click.ParamType):
    """Names with commas between them, as fid,is; each once, unless `repeats` are kept."""

    name = "names"

    def __init__(self, *, repeats: bool = False) -> None:
        self.repeats = repeats

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        names = tuple(part.strip() for part in value.split(","))
        return names if self.repeats else tuple(dict.fromkeys(names))


class _Commands(click.Group):
    """A group that tells failures in one line and exits with the code that the kind of failure has."""

    def main(self, *args: Any, **extra: Any) -> Any:
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a table in ASCII has question marks, not an error
        try:
            if process_group.launched_ranks() == 1:
                for number in _ENDS:
                    if signal.getsignal(number) == signal.SIG_DFL:
                        signal.signal(number, _end)
            code = super().main(*args, **{**extra, "standalone_mode": False})
            sys.exit(code if isinstance(code, int) else 0)
        except UserError as error:
            _fail(str(error), error.exit_code)
        except click.ClickException as error:
            _fail(f"{error.format_message()} (see --help)", error.exit_code)
        except (KeyboardInterrupt, click.Abort):
            _fail("interrupted", 130)
        except _Ended as error:
            _fail(f"ended by {error.signal.name}", 128 + error.signal)
        except OSError as error:
            _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), 1)
        except Exception as error:
            if is_out_of_memory(error):
                _fail(_no_room(error), 1)
            _fail(f"{type(error).__name__}: {error}; this should not happen, --debug shows where", 1)


def _end(number: int, _: FrameType | None) -> NoReturn:
    """Let what is half-written be cleared away; without this the process would end at once."""
    raise _Ended(signal.Signals(number))


def _no_room(error: Exception) -> str:
    asked = re.search(r"tried to allocate (\d+) bytes", str(error))
    return _NO_ROOM + (f" ({int(asked[1]) / 1e9:,.1f} GB at once were asked for)" if asked else "")


def _fail(message: str, code: int) -> NoReturn:
    if "--debug" in sys.argv[1:2]:
        traceback.print_exc()
    if process_group.reports_failure():
        click.echo(f"msn-gan: {message}", err=True)
    process_group.end_process(code)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="msn-gan")
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
@click.pass_context
def main(ctx: click.Context, debug: bool) -> None:
    """Train GANs under spectral and mean spectral normalization, sample from them, and compare them fairly."""
    if ctx.invoked_subcommand not in OVER_RANKS and process_group.launched_ranks() > 1:
        raise UsageError(
            f"{ctx.invoked_subcommand}: runs in one process; torchrun is for {', '.join(sorted(OVER_RANKS))}"
        )


device_option = click.option(
    "--device", type=click.Choice(DEVICES), default="auto", show_default=True, help="Where to run."
)
split_option = click.option("--split", type=click.Choice(("train", "test")), default="train", show_default=True)
skip_option = click.option("--skip-bad-images", is_flag=True, help="Go on without the images that cannot be read.")
out_root = click.option(
    "--out",
    "root",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Folder that holds checkpoints/ and samples/.  [default: here]",
)
