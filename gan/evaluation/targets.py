"""What a user may ask scores of, as streams of images: checkpoints, whole runs, folders, zips and npz files."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gan.config.train_config import TrainConfig
from gan.data import load_images
from gan.data.datasets import open_path
from gan.data.decode import CROPPED, ENLARGED, RESIZED, TO_GREY, inspect_image
from gan.data.source import BadImage
from gan.errors import UsageError, UserError
from gan.evaluation.image_streams import _stream, generator_stream, random_part
from gan.metrics.feature_pass import ImageStream
from gan.runs import checkpoint
from gan.runs.checkpoint import train_config_of
from gan.runs.log import LOG
from gan.sampling.load_generator import load_generator
from gan.utils.progress import say


@dataclass(frozen=True, eq=False)
class Target:
    """One thing that gets scores: the images of a snapshot, of a folder or of a file.

    `stream(count)` opens it; until then no network is loaded. `count` is the number of its images, None for a
    generator, which has as many as are asked for.
    """

    name: str
    """What tables call it."""
    target: str
    """The target that it belongs to: snapshots of one run share theirs."""
    path: Path
    kind: str
    """`checkpoint` or `images`."""
    resolution: int
    channels: int
    count: int | None
    stream: Callable[[int], ImageStream]
    facts: dict[str, Any] = field(default_factory=dict)
    """What the report says of it besides: step, images seen, hash of the file, conversions."""
    log: Path | None = None
    """The log of the run it is of."""


def unique_targets(targets: Sequence[str]) -> tuple[str, ...]:
    """Targets without those that were named before, in whatever way; says which it leaves out."""
    found: dict[Path, str] = {}
    for target in targets:
        path = Path(target).expanduser().resolve()
        if path in found:
            say(f"TARGET {target}: named twice, scored once")
        found.setdefault(path, target)
    return tuple(found.values())


def train_configs_of(targets: Sequence[str]) -> list[TrainConfig]:
    """The settings of the checkpoints and runs among targets; quick, so that other checks can come before reading.

    Raises:
        UsageError: a target does not exist, or is nothing that scores could be made of.
        UserError: a checkpoint is damaged.
    """
    found = []
    for target in targets:
        path = Path(target).expanduser()
        if not path.exists():
            raise UsageError(f"TARGET {target}: no such checkpoint, run, folder, zip or npz")
        if path.suffix == ".pt" and path.is_file():
            found.append(train_config_of(checkpoint.load_checkpoint(path), path))
        elif path.is_dir() and (newest := checkpoint.newest_checkpoint(path)):
            found.append(train_config_of(newest[1], newest[0]))
        elif path.is_dir() and (path / "config.json").exists() and (path / LOG).exists():
            raise UserError(f"{path}: this run has no checkpoint (step-….pt) yet")
        elif path.is_file() and path.suffix.lower() not in (".zip", ".npz"):
            raise UsageError(f"TARGET {target}: is no checkpoint (.pt), run, folder, .zip or .npz")
    return found


def resolve_targets(
    targets: Sequence[str], *, ema: bool, seed: int, device: str, split: str = "train", skip_bad_images: bool = False
) -> list[Target]:
    """The entries that targets stand for, in their order. Images are read; networks are not run.

    Args:
        targets: paths of checkpoints, of folders of a run (all its snapshots), of folders of images, zips or npz files.
        ema: take the averaged generators.
        seed: of the generated images, and of those that are scored where a set has more than are asked for.
        split: of folders and zips whose sub-folders are splits.

    Raises:
        UserError: a file is damaged, or images cannot be read or are of unlike sizes.
    """
    found: list[Target] = []
    for target in targets:
        path = Path(target).expanduser()
        if path.is_dir() and checkpoint.list_checkpoints(path):
            found += _run(path, ema=ema, seed=seed, device=device)
        elif path.suffix == ".pt" and path.is_file():
            found.append(_snapshot(path, ema=ema, seed=seed, device=device))
        elif path.suffix.lower() == ".npz":
            found.append(_array(path, seed))
        else:
            found.append(_images(path, split, seed, skip_bad_images))
    return _unlike_names(found)


def _run(path: Path, *, ema: bool, seed: int, device: str) -> list[Target]:
    entries = []
    for file in checkpoint.list_checkpoints(path):
        try:
            entries.append(replace(_snapshot(file, ema=ema, seed=seed, device=device), target=str(path)))
        except UserError as error:
            say(f"{error}; passed over")
    if not entries:
        raise UserError(f"{path}: none of its checkpoints is whole")
    return entries


def _snapshot(path: Path, *, ema: bool, seed: int, device: str) -> Target:
    state = checkpoint.load_checkpoint(path)
    config = train_config_of(state, path)

    def stream(count: int) -> ImageStream:
        generator, config, state = load_generator(path, ema=ema, device=device)
        classes = len(state["data"]["classes"])
        return generator_stream(generator, count, seed, name=str(path), latent_dim=config.latent_dim, classes=classes)

    log = path.parent / LOG
    return Target(
        name=f"{path.resolve().parent.name}, step {state['step']:,}",
        target=str(path),
        path=path,
        kind="checkpoint",
        resolution=config.resolution,
        channels=config.channels,
        count=None,
        stream=stream,
        facts={
            "step": state["step"],
            "images_seen": state["step"] * config.n_dis * config.batch,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "data_fingerprint": state["data"]["fingerprint"],
        },
        log=log if log.exists() else None,
    )


def _images(path: Path, split: str, seed: int, skip_bad_images: bool) -> Target:
    side, grey = _first_size(path, split)
    options: dict[str, Any] = {"resolution": side, "split": split, "skip_bad_images": skip_bad_images}
    images = load_images(str(path), channels=1 if grey else 3, **options)
    if grey and images.conversions.get(TO_GREY):
        images = load_images(str(path), channels=3, **options)  # the first was grey, others are not
    unlike = max(images.conversions.get(kind, 0) for kind in (RESIZED, ENLARGED, CROPPED))
    if unlike:
        raise UserError(
            f"{path}: images of different sizes, {unlike:,} of {len(images):,} are not {side}x{side} as the first "
            "is; bring them to one size with `msn-gan data pack`"
        )
    return Target(
        name=path.name,
        target=str(path),
        path=path,
        kind="images",
        resolution=side,
        channels=images.channels,
        count=len(images),
        stream=lambda count: _stream(images.fetch, random_part(len(images), count, seed), str(path)),
        facts={"conversions": images.conversions, "fingerprint": images.fingerprint},
    )


def _first_size(path: Path, split: str) -> tuple[int, bool]:
    """Side of the first image that can be read, and whether it is grey. 32, where none can: `load` will name them."""
    source = open_path(path, split=split)
    with source.opened() as read:
        for index in range(len(source.listing.names)):
            try:
                seen = inspect_image(read(index))
            except BadImage:
                continue
            width, height = seen.size
            if width != height:
                raise UserError(
                    f"{path}: images of {width}x{height} pixels, not square; crop them with `msn-gan data pack`"
                )
            return width, seen.mode == "L"
    return 32, False


def _array(path: Path, seed: int) -> Target:
    """An npz with images uint8 (N, H, W, 3 or 1), as the ADM code and those after it write their samples."""
    try:
        with np.load(path, allow_pickle=False) as entries:
            if "mu" in entries:
                raise UserError(f"{path}: holds statistics, not images; a reference is given with --ref")
            arrays = [array for array in (entries[key] for key in entries) if array.ndim == 4]
    except (OSError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: no npz of images, or damaged ({error})") from error
    if len(arrays) != 1 or arrays[0].dtype != np.uint8 or arrays[0].shape[3] not in (1, 3):
        raise UserError(f"{path}: no images in it; one array uint8 (N, H, W, 3) is expected")
    pixels = torch.from_numpy(arrays[0]).permute(0, 3, 1, 2)  # (N, H, W, C) -> (N, C, H, W)
    if pixels.shape[2] != pixels.shape[3]:
        raise UserError(f"{path}: images of {pixels.shape[3]}x{pixels.shape[2]} pixels; they must be square")
    return Target(
        name=path.name,
        target=str(path),
        path=path,
        kind="images",
        resolution=pixels.shape[2],
        channels=pixels.shape[1],
        count=len(pixels),
        stream=lambda count: _stream(pixels.__getitem__, random_part(len(pixels), count, seed), str(path)),
    )


def _unlike_names(entries: list[Target]) -> list[Target]:
    """Where two have one name, both get their path as name."""
    names = [entry.name for entry in entries]
    return [replace(entry, name=str(entry.path)) if names.count(entry.name) > 1 else entry for entry in entries]
