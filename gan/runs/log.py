"""What a run writes while it trains: `log.jsonl` and TensorBoard events, cut back to the checkpoint on resume."""

from __future__ import annotations

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
    """Appends to a run's log. With `step`, what was logged after that step is dropped first.

    Args:
        folder: the run's folder of checkpoints.
        step: the step that the run goes on from.

    Raises:
        UserError: the log cannot be written.
    """

    def __init__(self, folder: Path, step: int) -> None:
        path = folder / LOG
        truncate_log(path, step)
        self._file = open(path, "a", encoding="utf-8")
        self._board = SummaryWriter(str(folder), purge_step=step + 1)

    def write(self, entry: dict[str, Any]) -> None:
        """Append one line; numbers that are not finite become null, as JSON has none.

        Raises:
            UserError: the log cannot be written to.
        """
        line = {key: _finite(value) for key, value in entry.items()}
        try:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        except OSError as error:
            raise _full(self._file.name, error) from error
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
        """Show a uint8 image (3, H, W) in TensorBoard."""
        self._board.add_image(name, image, step)

    def close(self) -> None:
        """Write out what is buffered, as far as the disk has room for it: a full one was told of when it was met."""
        for part in (self._file, self._board):
            with suppress(OSError):
                part.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """The entries of a log, without a last line that was cut off."""
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
    """Drop what a log says of steps after `step`; returns the last step that is left in it, -1 if there is none.

    Raises:
        UserError: it cannot be written.
    """
    kept = [line for line in read_log(path) if line["step"] <= step]
    try:
        with atomic_write(path) as file:
            file.writelines(json.dumps(line).encode() + b"\n" for line in kept)
    except OSError as error:
        raise _full(path, error) from error
    return max((line["step"] for line in kept), default=-1)


def append_entry(path: Path, entry: dict[str, Any]) -> None:
    """Add one line to a file of them; all its numbers are finite.

    Raises:
        UserError: it cannot be written to.
    """
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry, allow_nan=False) + "\n")
    except OSError as error:
        raise _full(path, error) from error


def _full(path: object, error: OSError) -> UserError:
    return UserError(f"{path}: cannot be written: {error.strerror}; make room, then go on (train: with --resume)")


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
