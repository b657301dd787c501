"""The log of a run: `log.jsonl` and TensorBoard events, truncated to the checkpoint on resume."""

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from gan.errors import UserError
from gan.utils.files import atomic_write

LOG = "log.jsonl"


class RunLogger:
    """Appends entries to a run's log, after removing those of later steps than `step`.

    Args:
        folder: the run's folder of checkpoints.
        step: the step that the run starts or resumes from.

    Raises:
        UserError: the log cannot be written.
    """

    def __init__(self, folder: Path, step: int) -> None:
        path = folder / LOG
        truncate_log(path, step)
        self._file = open(path, "a", encoding="utf-8", newline="\n")
        self._board = SummaryWriter(str(folder), purge_step=step + 1)

    def write(self, entry: dict[str, Any]) -> None:
        """Append one line, with null for numbers that are not finite; a UserError if it cannot be written."""
        line = {key: _finite(value) for key, value in entry.items()}
        try:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        except OSError as error:
            raise _write_error(self._file.name, error) from error
        step = entry["step"]
        for key, value in line.items():
            if isinstance(value, dict) and all(isinstance(number, (int, float)) for number in value.values()):
                for name, number in value.items():
                    self._board.add_scalar(f"{key}/{name}", number, step)
            elif isinstance(value, (int, float)) and key != "step":
                self._board.add_scalar(key, value, step)
        for flag in entry.get("health", ()):
            self._board.add_text("health", flag, step)

    def image(self, name: str, image: Tensor, step: int) -> None:
        """Add a uint8 image (3, H, W) to the TensorBoard events."""
        self._board.add_image(name, image, step)

    def close(self) -> None:
        """Flush and close the files. Errors are ignored: a full disk was reported when it was first met."""
        for writer in (self._file, self._board):
            with suppress(OSError):
                writer.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read the entries of a log, skipping an incomplete last line; empty if there is no log."""
    if not path.exists():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("step"), int):
            entries.append(entry)
    return entries


def truncate_log(path: Path, step: int) -> int:
    """Remove entries after `step`; returns the step of the last one left, else -1. A UserError if that fails."""
    entries = [entry for entry in read_log(path) if entry["step"] <= step]
    try:
        with atomic_write(path) as file:
            file.writelines(json.dumps(entry).encode() + b"\n" for entry in entries)
    except OSError as error:
        raise _write_error(path, error) from error
    return max((entry["step"] for entry in entries), default=-1)


def append_entry(path: Path, entry: dict[str, Any]) -> None:
    """Append one line to a JSON Lines file; its numbers are finite. A UserError if it cannot be written."""
    try:
        with open(path, "a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(entry, allow_nan=False) + "\n")
    except OSError as error:
        raise _write_error(path, error) from error


def _write_error(path: object, error: OSError) -> UserError:
    return UserError(
        f"{path}: cannot be written: {error.strerror}; free disk space, then run the command again "
        "(train: with --resume)"
    )


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
