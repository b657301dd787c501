"""Checkpoints: one file with a schema version, written atomically and loaded without running code.

A file is the output of `torch.save`, followed by a line with its SHA-256. torch ignores that line, so any program can
open a checkpoint with `torch.load(path, weights_only=True)`.

It contains a dict with `schema` (the version of this format), `program` (`msn-gan` and its version) and `kind`. A
checkpoint of kind `gan` is the result of `gan.training.trainer.Trainer.state`. One of kind `classifier`
(`gan.models.classifiers.classifier_state`) has `model` (a name in CLASSIFIERS), `norm` (a name in NORMS), `classes` (a
list of names), `channels` (1 or 3), `resolution` (pixels) and `weights` (the network's state dict); its inputs are in
[-1, 1]. Further entries are allowed: `classify` adds `training`, the provenance of the network, with its test accuracy
in `quality`. During training it keeps checkpoints of kind `classifier-training`
(`gan.experiments.classify.trainer`). If a network or its training needs the user's own code, `plugins` describes the
sources (`gan.config.plugins`); it is never imported because of that entry.
"""

import hashlib
import io
import pickle
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from gan import __version__
from gan.config.train_config import TrainConfig
from gan.errors import UsageError, UserError
from gan.runs.checkpoint_names import checkpoint_path as checkpoint_path
from gan.runs.checkpoint_names import list_checkpoints as list_checkpoints
from gan.utils.counted import counted
from gan.utils.files import atomic_write
from gan.utils.progress import warn, working
from gan.utils.written_by import PROGRAM_KEY, does_not_fit, load_error_text, written_by

CLASSIFIER_FILE = "classifier.pt"  # in the folder of each training of `classify`
SCHEMA = 1
_MARK = b"\nmsn-gan sha256 "
_FOOTER_BYTES = len(_MARK) + 64 + 1


class CheckpointFile(NamedTuple):
    """A checkpoint that was read from a file."""

    path: Path
    state: dict[str, Any]
    sha256: str
    """Of the whole file, hex."""


class NewerSchemaError(UserError):
    """A checkpoint has a format that this version does not know. It is intact, unlike other files that are refused."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically: to a temporary file beside it, flushed to the disk, then renamed.

    The bytes of the file depend on the values of `state` alone.

    Args:
        path: final path; an existing file there is replaced only by the complete new one.
        state: tensors, numbers, strings and containers of them; `schema` and `program` are added.

    Raises:
        UserError: the file cannot be written, for example because the disk is full. No partial file is left.
    """
    buffer = io.BytesIO()
    torch.save(_interned({"schema": SCHEMA, PROGRAM_KEY: f"msn-gan {__version__}", **state}), buffer)
    body = buffer.getbuffer()
    footer = _footer(hashlib.sha256(body).hexdigest())
    try:
        with atomic_write(path) as file:
            file.write(body)
            file.write(footer)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written: {error.strerror}; earlier checkpoints are intact. "
            "Free disk space or choose another folder, then run the command again (train: with --resume)"
        ) from error


def _interned(value: Any) -> Any:
    """The same value with equal strings as one object.

    pickle writes an object that it has met as a reference, so the file would depend on where strings came from: a
    constant of the program, or a configuration that was read.
    """
    if type(value) is str:
        return sys.intern(value)
    if type(value) is dict:
        return {_interned(key): _interned(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_interned(item) for item in value)
    return value


def _footer(sha256: str) -> bytes:
    return _MARK + sha256.encode() + b"\n"


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The state in a checkpoint; see `read_checkpoint`."""
    return read_checkpoint(path).state


def read_checkpoint(path: Path) -> CheckpointFile:
    """Read a checkpoint, all tensors on the CPU. No code in the file is ever run.

    Raises:
        UserError: the file is absent, truncated, altered, not a checkpoint, or of a newer schema.
    """
    with working(f"reading {path}"):
        return _read_checkpoint(path)


def _read_checkpoint(path: Path) -> CheckpointFile:
    try:
        data = path.read_bytes()
    except IsADirectoryError as error:
        raise UserError(f"{path}: is a folder, not a checkpoint file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    body, footer = memoryview(data)[:-_FOOTER_BYTES], data[-_FOOTER_BYTES:]
    if not footer.startswith(_MARK):
        raise UserError(f"{path}: is not a complete msn-gan checkpoint (truncated, or written by another program)")
    sha256 = hashlib.sha256(body)
    if footer != _footer(sha256.hexdigest()):
        raise UserError(f"{path}: is damaged (its SHA-256 does not match); use an earlier checkpoint of the run")
    try:
        state = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UserError(
            f"{path}: is refused: it is not a checkpoint, or contains more than tensors and plain values"
        ) from error
    schema = state.get("schema") if isinstance(state, dict) else None
    if not isinstance(schema, int):
        raise UserError(f"{path}: is not an msn-gan checkpoint (it has no schema version)")
    if schema > SCHEMA:
        raise NewerSchemaError(
            f"{path}: has the newer schema {schema}, this version reads up to {SCHEMA} ({written_by(state)}); "
            "upgrade msn-gan"
        )
    sha256.update(footer)
    return CheckpointFile(path, state, sha256.hexdigest())


def newest_checkpoint(folder: Path) -> CheckpointFile | None:
    """Read the newest valid checkpoint of a run, skipping invalid ones with a message; None if there is none.

    Raises:
        NewerSchemaError: a newer version of the program went on with the run; its progress is not to be trained again.
        UserError: there are checkpoints, but none is valid.
    """
    paths = list_checkpoints(folder)
    for path in reversed(paths):
        try:
            return read_checkpoint(path)
        except NewerSchemaError:
            raise
        except UserError as error:
            warn(f"{error}; falling back to the previous one")
    if paths:
        raise UserError(
            f"{folder}: 0 of {counted(len(paths), 'checkpoint')} can be read; start again under another name"
        )
    return None


def restore_weights(network: nn.Module, state: dict[str, Any], entry: str, path: object) -> None:
    """Load the state dict in an entry of a checkpoint into a network.

    Args:
        path: of the checkpoint, for messages.

    Raises:
        UserError: there is no such entry, or it does not fit the network.
    """
    try:
        network.load_state_dict(state[entry])
    except (RuntimeError, KeyError) as error:
        reason = f"the weights do not fit the config: {load_error_text(error)}"
        raise does_not_fit(path, reason, state, "train again under another name") from error


def set_aside_later(folder: Path, step: int) -> None:
    """Rename checkpoints after the step that a run resumes from, which `newest_checkpoint` skipped as invalid.

    They then do not count as kept checkpoints, and are not overwritten, so that they can still be repaired.

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
        warn(f"{path}: renamed to {aside.name}; the run resumes from step {step}")


def prune_checkpoints(folder: Path, keep: int, best: Collection[str] = (), *, step: int | None = None) -> None:
    """Remove all but the newest `keep` checkpoints and those whose file names are in `best`.

    Args:
        step: of the newest valid checkpoint; later ones are neither counted nor removed.
    """
    paths = [
        path for path in list_checkpoints(folder) if step is None or path.name <= checkpoint_path(folder, step).name
    ]
    for path in paths[:-keep]:
        if path.name not in best:
            path.unlink(missing_ok=True)


def train_config_of(state: dict[str, Any], path: Path) -> TrainConfig:
    """The config in the checkpoint of a GAN.

    Raises:
        UserError: the checkpoint is of another kind, or its config does not fit this version of the program.
    """
    if state.get("kind") != "gan":
        use = f"; to score images in its features: report --features classifier:{path}"
        is_classifier = state.get("kind") == "classifier"
        raise UserError(
            f"{path}: is not a checkpoint of a GAN (kind: {state.get('kind', 'none')}){use if is_classifier else ''}"
        )
    try:
        return TrainConfig.from_dict(state["config"])
    except KeyError as error:
        raise does_not_fit(path, error, state, "train again under another name") from error
    except UsageError as error:
        raise does_not_fit(path, f"its config: {error}", state, "train again under another name") from error
