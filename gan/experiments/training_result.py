"""`result.json` of a finished training: written once at its end, so that its presence means that it is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gan.errors import UserError
from gan.experiments.provenance import provenance
from gan.runtime import Runtime
from gan.utils.files import write_json

RESULT = "result.json"
REMEDY = "remove this folder to train it again"


def write_result(folder: Path, facts: Mapping[str, Any], runtime: Runtime) -> None:
    """Mark a training as done: write its `result.json`, with the machine and the versions of this process.

    Args:
        folder: folder of the training.
        facts: what the log does not have; `diverged` is None, or says where the training diverged.

    Raises:
        UserError: the file cannot be written.
    """
    write_json(folder / RESULT, {**facts, **provenance(runtime)})


@contextmanager
def refuse_damaged(folder: Path, file: str = "files") -> Iterator[None]:
    """Report any failure to read the files of a training as one error that names its folder and the remedy.

    Raises:
        UserError: in place of OSError and of what malformed content raises.
    """
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise UserError(f"{folder}: damaged {file} ({type(error).__name__}: {error}); {REMEDY}") from error
