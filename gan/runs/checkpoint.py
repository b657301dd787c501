"""Checkpoints: one file with a schema version, written whole or not at all, and loaded without running code.

A file is what `torch.save` writes, followed by a line with its SHA-256. torch reads past that line, so
`torch.load(path, weights_only=True)` opens a checkpoint in any other program.

It holds a dict with `schema` (the version) and `kind`. A checkpoint of kind `gan` is what
`gan.training.trainer.Trainer.state` gives. One of kind `classifier` (`gan.models.classifiers.classifier_state`) has
`model` (a name in CLASSIFIERS), `norm` (a name in NORMS), `classes` (a list of names), `channels` (1 or 3),
`resolution` (pixels) and `weights` (the network's state dict); images come to it in [-1, 1]. More entries may stand
beside these: `classify` adds `training`, what the network came from. While it trains, it keeps checkpoints of kind
`classifier-training` (`gan.experiments.classify.trainer`).
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gan.config.train_config import TrainConfig
from gan.errors import UsageError, UserError
from gan.utils.files import atomic_write
from gan.utils.progress import say

SCHEMA = 1
_MARK = b"\nmsn-gan sha256 "
_FOOTER_BYTES = len(_MARK) + 64 + 1


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies: `step-00001000.pt`."""
    return folder / f"step-{step:08d}.pt"


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run's folder, oldest first."""
    return sorted(folder.glob("step-????????.pt"))


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically: to a temporary file beside it, flushed to the disk, then renamed.

    Args:
        path: the file's final name; whatever was there before stays whole until the new file is.
        state: tensors, numbers, strings and containers of them; `schema` is added.

    Raises:
        UserError: the file cannot be written (the disk is full, say). Nothing is left of it.
    """
    buffer = io.BytesIO()
    torch.save({"schema": SCHEMA, **state}, buffer)
    body = buffer.getbuffer()
    footer = _footer(body)
    try:
        with atomic_write(path) as file:
            file.write(body)
            file.write(footer)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written: {error.strerror}; earlier checkpoints are whole. "
            "Make room or choose another place, then go on (train: with --resume)"
        ) from error


def _footer(body: memoryview) -> bytes:
    return _MARK + hashlib.sha256(body).hexdigest().encode() + b"\n"


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint, all tensors on the CPU. No code in the file is ever run.

    Raises:
        UserError: one line on what is wrong with the file: absent, cut off, altered, foreign, of a newer schema.
    """
    try:
        data = path.read_bytes()
    except IsADirectoryError as error:
        raise UserError(f"{path}: is a folder, not a checkpoint file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    body, footer = memoryview(data)[:-_FOOTER_BYTES], data[-_FOOTER_BYTES:]
    if not footer.startswith(_MARK):
        raise UserError(f"{path}: is not a whole msn-gan checkpoint (cut off, or written by another program)")
    if footer != _footer(body):
        raise UserError(f"{path}: is damaged (its SHA-256 does not match); use an earlier checkpoint of the run")
    try:
        state = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UserError(
            f"{path}: is refused: it is no checkpoint, or holds more than tensors and plain values"
        ) from error
    schema = state.get("schema") if isinstance(state, dict) else None
    if not isinstance(schema, int):
        raise UserError(f"{path}: is not an msn-gan checkpoint (it has no schema version)")
    if schema > SCHEMA:
        raise UserError(f"{path}: was written by a newer msn-gan (schema {schema}, this one reads {SCHEMA}); upgrade")
    return state


def newest_checkpoint(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest whole checkpoint of a run and its state; damaged ones are named and passed over.

    Raises:
        UserError: there are checkpoints, but none is whole.
    """
    candidates = list_checkpoints(folder)
    for path in reversed(candidates):
        try:
            return path, load_checkpoint(path)
        except UserError as error:
            say(f"{error}; falling back to the one before")
    if candidates:
        raise UserError(f"{folder}: none of its {len(candidates)} checkpoints is whole; start again under another name")
    return None


def find_checkpoint(path: Path) -> tuple[Path, dict[str, Any]]:
    """A checkpoint file, or the newest whole one of a run's folder: where it is, and its state.

    Raises:
        UserError: there is no whole checkpoint at `path`.
    """
    if not path.exists():
        raise UserError(f"{path}: no such checkpoint or run; give a step-….pt, or a run's folder as checkpoints/RUN")
    if not path.is_dir():
        return path, load_checkpoint(path)
    found = newest_checkpoint(path)
    if found is None:
        raise UserError(f"{path}: holds no checkpoint (step-….pt)")
    return found


def restore_weights(network: nn.Module, state: dict[str, Any], entry: str, where: object) -> None:
    """Give a network the weights that a checkpoint has as `entry`.

    Args:
        where: what messages call the checkpoint.

    Raises:
        UserError: it has no such entry, or weights of another network.
    """
    try:
        network.load_state_dict(state[entry])
    except (RuntimeError, KeyError) as error:
        raise UserError(f"{where}: its weights do not fit its settings ({str(error).splitlines()[0]})") from error


def set_aside_later(folder: Path, step: int) -> None:
    """Rename the checkpoints of later steps than that from which a run goes on, which are those that `newest` refused.

    So they do not count among the checkpoints that are kept, nor are they written over: whoever can repair one has it
    still.

    Raises:
        UserError: one cannot be renamed.
    """
    for path in list_checkpoints(folder):
        if path.name <= checkpoint_path(folder, step).name:
            continue
        aside = path.with_name(f"{path.name}.refused")
        try:
            path.replace(aside)
        except OSError as error:
            raise UserError(f"{path}: cannot be renamed to {aside.name} ({error.strerror}); remove it") from error
        say(f"{path}: renamed to {aside.name}, the run goes on from step {step}")


def prune_checkpoints(folder: Path, keep: int, best: Collection[str] = (), *, step: int | None = None) -> None:
    """Remove all but the newest `keep` checkpoints and those whose file names are in `best`.

    Args:
        step: the newest that is known to be whole; those of later steps are neither counted nor removed.
    """
    counted = [
        path for path in list_checkpoints(folder) if step is None or path.name <= checkpoint_path(folder, step).name
    ]
    for path in counted[:-keep]:
        if path.name not in best:
            path.unlink(missing_ok=True)


def train_config_of(state: dict[str, Any], path: Path) -> TrainConfig:
    """The settings that a checkpoint was written with.

    Raises:
        UserError: it is a checkpoint of another kind, or its settings are not known to this version.
    """
    if state.get("kind") != "gan":
        raise UserError(f"{path}: is not a checkpoint of a GAN (kind: {state.get('kind', 'none')})")
    try:
        return TrainConfig.from_dict(state["config"])
    except (KeyError, UsageError) as error:
        raise UserError(f"{path}: its settings do not fit this version of msn-gan: {error}") from error
