"""Check commands of the documentation with their programs' own parsers, without running them."""

from __future__ import annotations

import argparse
import re
import runpy
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from unittest.mock import patch

import click

from gan.cli import main
from tests.documentation.pages import ROOT


class _Parsed(BaseException):
    """A script has parsed its arguments; it shall do nothing more."""


def parser_error(words: Sequence[str]) -> str:
    """Error message of the program's parser for a command; empty if the command is accepted.

    Raises:
        KeyError: nothing is known about the program.
    """
    program, *arguments = words
    if arguments[:1] == ["msn_gan.py"] and program == "python":
        program, arguments = "msn-gan", arguments[1:]
    return _PROGRAMS[program](arguments)


def _msn_gan(arguments: Sequence[str]) -> str:
    """Parse as click does: sub-commands, flags and types of values. `…` stands for further flags."""
    if not arguments:
        return ""
    command: click.Command = main
    context = click.Context(main, info_name="msn-gan")
    words = [word for word in arguments if word != "…"]
    try:
        while isinstance(command, click.Group) and words:
            _, found, words = command.resolve_command(context, words)
            assert found is not None
            command = found
        command.make_context("msn-gan", words, parent=context)
    except click.exceptions.Exit as error:  # --help
        return "" if error.exit_code == 0 else str(error)
    except click.ClickException as error:
        return error.format_message()
    return ""


def _torchrun(arguments: Sequence[str]) -> str:
    from torch.distributed.run import get_args_parser

    try:
        parsed = get_args_parser().parse_args(list(arguments))
    except SystemExit:
        return "torchrun refuses its flags"
    script = [word for word in (parsed.training_script, *parsed.training_script_args) if word != "--"]
    return f"torchrun runs {script[0]}" if script[0] != "msn_gan.py" else _msn_gan(script[1:])


def _python(arguments: Sequence[str]) -> str:
    """Run a script as far as its arguments are parsed."""
    name, *rest = arguments
    if name == "-m":
        return "" if rest[0] == "venv" else f"python -m {rest[0]}"
    script = next((path for path in (ROOT / name, ROOT / "examples" / name) if path.is_file()), None)
    if script is None:
        return f"{name}: no such file"
    if "argparse" not in script.read_text(encoding="utf-8"):
        return ""
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(*given: object, **options: object) -> None:
        parse(*given, **options)  # type: ignore[call-overload]
        raise _Parsed

    try:
        with (
            patch.object(sys, "argv", [name, *rest]),
            patch.object(argparse.ArgumentParser, "parse_args", parse_and_stop),
        ):
            runpy.run_path(str(script), run_name="__main__")
    except _Parsed:
        return ""
    except SystemExit:
        return f"{name} refuses its flags"
    return f"{name} has not parsed its flags"


def _pip(arguments: Sequence[str]) -> str:
    """Flags that pip has, extras that pyproject.toml has, and files that exist."""
    if flags := [word for word in arguments if word.startswith("-") and word not in _pip_flags()]:
        return f"pip has no {', '.join(flags)}"
    metadata = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = re.findall(r"^(\w+) = ", metadata.split("[project.optional-dependencies]")[1].split("\n[")[0], re.M)
    for word in arguments:
        if found := re.fullmatch(r"(.*)\[(.+)\]", word):
            if unknown := set(found[2].split(",")) - set(extras):
                return f"pyproject.toml has no extra {', '.join(unknown)}"
        if ("/" in word or word.endswith(".txt")) and "://" not in word and not (ROOT / word).exists():
            return f"{word}: no such file"
    return "" if arguments[0] == "install" else f"pip {arguments[0]}"


@cache
def _pip_flags() -> frozenset[str]:
    done = subprocess.run([sys.executable, "-m", "pip", "install", "--help"], capture_output=True, text=True)
    return frozenset(re.findall(r"(?<!\w)--?[a-z][a-z-]*", done.stdout))


def _make(arguments: Sequence[str]) -> str:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    unknown = [word for word in arguments if "=" not in word and not re.search(rf"^{re.escape(word)}:", text, re.M)]
    return f"the Makefile has no {', '.join(unknown)}" if unknown else ""


def _tensorboard(arguments: Sequence[str]) -> str:
    from tensorboard.plugins.core.core_plugin import CorePluginLoader

    parser = argparse.ArgumentParser(exit_on_error=False)
    CorePluginLoader().define_flags(parser)
    _, unknown = parser.parse_known_args(list(arguments))
    return f"tensorboard has no {unknown}" if unknown else ""


def _pre_commit(arguments: Sequence[str]) -> str:
    exists = Path(ROOT / ".pre-commit-config.yaml").exists()
    return "" if list(arguments) == ["install"] and exists else f"pre-commit {arguments}"


_PROGRAMS = {
    "msn-gan": _msn_gan,
    "torchrun": _torchrun,
    "python": _python,
    "python3": _python,
    "pip": _pip,
    "make": _make,
    "tensorboard": _tensorboard,
    "pre-commit": _pre_commit,
}
