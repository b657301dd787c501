"""The `sample` command behind its flags: images of a checkpoint as a grid, a folder, a zip or an animation."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan.distributed import collectives, process_group
from gan.errors import Diverged, UsageError
from gan.runs.run_dir import default_output_name
from gan.sampling import generate
from gan.sampling.grids import grid_padding, image_grid, to_pil
from gan.sampling.interpolation import interpolate
from gan.sampling.load_generator import load_generator
from gan.utils.files import atomic_folder, atomic_write
from gan.utils.progress import progress, say

_ANIMATIONS = {".gif": 65_535, ".webp": 16_383}  # and the most pixels that a side of theirs may have
_KEYS = 4  # latents that an animation comes by before it is where it began
_FRAME_MS = 50


def write_samples(
    path: Path,
    out: Path | None,
    *,
    num: int | None = None,
    seed: int = 0,
    columns: int | None = None,
    label: str | None = None,
    truncation: float | None = None,
    frames: int | None = None,
    ema: bool = True,
    device: str = "auto",
) -> Path:
    """Write images of a checkpoint; returns where. Several ranks make the images together, and rank 0 writes them.

    Args:
        path: a checkpoint or a run's folder.
        out: a .png (grid), .zip, .gif or .webp (walk) file, or a folder, which must be new or empty. None: a grid
            beside the samples of the run.
        num: images, or walks where `frames` is given.
        label: the class of all images, by name or number.
        frames: steps from one latent to the next.

    Raises:
        UserError: the checkpoint is not usable, or its generator gives NaN.
        OSError: `out` cannot be written. Nothing half-written is left of it, here as there.
    """
    if out is not None:
        collectives.on_rank0(lambda: _check_target(out, walking=frames is not None))
    if truncation is not None and not math.isfinite(truncation):
        raise UsageError(f"--truncation {truncation}: must be a number above 0")
    generator, config, state = load_generator(path, ema=ema, device=device)
    classes: list[str] = state["data"]["classes"]
    fixed = _class_number(label, classes)
    target = out or _beside(path, f"{'walk' if frames else 'sample'}-seed-{seed}.png")
    count = num or (64 if frames is None else 8)
    columns = columns or math.ceil(math.sqrt(count))
    if process_group.is_rank0():
        target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if frames is None:
            batches = _with_progress(
                generator, count, config.latent_dim, seed=seed, classes=len(classes), fixed=fixed, truncation=truncation
            )
            _write_images(target, batches, columns, classes)
        elif process_group.is_rank0():  # a walk is short
            if target.suffix.lower() in _ANIMATIONS:
                _check_size(target, count, columns, config.resolution)
            _write_walk(
                target,
                generator,
                config.latent_dim,
                count,
                frames,
                columns,
                seed=seed,
                classes=len(classes),
                fixed=fixed,
                truncation=truncation,
            )
    except Diverged as error:
        raise Diverged(f"{path}: {error}; try an earlier checkpoint") from error
    say(f"wrote {target}")
    return target


def _beside(path: Path, name: str) -> Path:
    """Where images go by default: to the run's samples, a checkpoint's name before theirs where one was given."""
    of = default_output_name(path)
    return Path("samples") / (of.parent / f"{of.name}-{name}" if path.is_file() else of / name)


def _check_target(out: Path, *, walking: bool) -> None:
    """Find out what is wrong with --out before any work is done."""
    kinds = {".png", *_ANIMATIONS} if walking else {".png", ".zip", ""}
    if out.suffix.lower() not in kinds:
        choices = "a .png grid, a .gif or a .webp" if walking else "a .png grid, a .zip or a folder"
        raise UsageError(f"--out {out}: with{'' if walking else 'out'} --interpolate it must be {choices}")
    if out.suffix and out.is_dir():
        raise UsageError(f"--out {out}: is a folder")
    if not out.suffix and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out}: exists and is not an empty folder; choose another name")


def _check_size(target: Path, count: int, columns: int, side: int) -> None:
    """Find out whether an animation can be as large as was asked for."""
    width = min(columns, count)
    between = grid_padding(side)
    largest = max(width, math.ceil(count / width)) * (side + between) + between
    most = _ANIMATIONS[target.suffix.lower()]
    if largest > most:
        raise UsageError(
            f"{target}: {count:,} walks in {width:,} columns are {largest:,} pixels wide or high, and {target.suffix} "
            f"holds {most:,}; give a smaller --num or another --grid"
        )


def _class_number(label: str | None, classes: list[str]) -> int | None:
    if label is None:
        return None
    if not classes:
        raise UsageError(f"--class {label}: this generator knows no classes (it was not trained with --conditional)")
    if label in classes:
        return classes.index(label)
    if label.isdecimal() and int(label) < len(classes):
        return int(label)
    raise UsageError(f"--class {label}: choose from {', '.join(classes)}, or 0 to {len(classes) - 1}")


def _write_images(
    target: Path, batches: Iterator[tuple[Tensor, Tensor | None]], columns: int, classes: list[str]
) -> None:
    """A grid, a zip or a folder; only rank 0 writes, but every rank makes its share of the batches."""
    if not process_group.is_rank0():
        for _ in batches:
            pass
    elif target.suffix.lower() == ".png":
        images = torch.cat([images for images, _ in batches])
        _save(target, to_pil(image_grid(images, columns)), "PNG")
    elif target.suffix.lower() == ".zip":
        _write_zip(target, batches, classes)
    else:
        _write_folder(target, batches, classes)


def _with_progress(
    generator: nn.Module,
    count: int,
    latent_dim: int,
    *,
    seed: int,
    classes: int,
    fixed: int | None,
    truncation: float | None,
) -> Iterator[tuple[Tensor, Tensor | None]]:
    with progress("sampling", count) as advance:
        for batch in generate.sample_images(
            generator, count, seed, latent_dim=latent_dim, classes=classes, fixed_class=fixed, truncation=truncation
        ):
            yield batch
            advance(len(batch[0]))


def _save(target: Path, image: Any, kind: str, **options: Any) -> None:
    with atomic_write(target) as file:
        image.save(file, kind, **options)


def _named(batches: Iterator[tuple[Tensor, Tensor | None]]) -> Iterator[tuple[str, bytes, int | None]]:
    """Each image as (file name, PNG bytes, label); the name's number is the image's number."""
    index = 0
    for images, labels in batches:
        for place, image in enumerate(images):
            buffer = io.BytesIO()
            to_pil(image).save(buffer, "PNG")
            yield f"{index:08d}.png", buffer.getvalue(), None if labels is None else int(labels[place])
            index += 1


def _dataset_json(labels: list[list[Any]], classes: list[str]) -> bytes:
    return json.dumps({"labels": labels, "classes": classes}).encode()


def _write_zip(target: Path, batches: Iterator[tuple[Tensor, Tensor | None]], classes: list[str]) -> None:
    """A zip of PNGs, with dataset.json as StyleGAN and EDM have it where there are labels. The same bytes each time."""
    labels: list[list[Any]] = []
    with atomic_write(target) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, data, label in _named(batches):
            archive.writestr(zipfile.ZipInfo(name), data)  # ZipInfo: a fixed date
            labels.append([name, label])
        if classes:
            archive.writestr(zipfile.ZipInfo("dataset.json"), _dataset_json(labels, classes))


def _write_folder(target: Path, batches: Iterator[tuple[Tensor, Tensor | None]], classes: list[str]) -> None:
    labels: list[list[Any]] = []
    with atomic_folder(target) as folder:
        for name, data, label in _named(batches):
            (folder / name).write_bytes(data)
            labels.append([name, label])
        if classes:
            (folder / "dataset.json").write_bytes(_dataset_json(labels, classes))


def _write_walk(
    target: Path,
    generator: nn.Module,
    latent_dim: int,
    walks: int,
    frames: int,
    columns: int,
    *,
    seed: int,
    classes: int,
    fixed: int | None,
    truncation: float | None,
) -> None:
    """Walks between latents: a grid with a row for each walk, or an animation that shows all at once and loops."""
    moving = target.suffix.lower() in _ANIMATIONS
    keys = _KEYS if moving else 2
    rows = []
    with progress("sampling", walks, "walks") as advance:
        for number in range(walks):
            indices = range(number * keys, (number + 1) * keys)
            path = interpolate(generate.latents(seed, indices, latent_dim, truncation), frames, closed=moving)
            labels = generate.labels_in_turn([number], classes, fixed)
            rows.append(generate.render(generator, path, None if labels is None else labels.expand(len(path))))
            advance()
    if not moving:
        _save(target, to_pil(image_grid(torch.cat(rows), len(rows[0]))), "PNG")
        return
    pictures = [to_pil(image_grid(torch.stack(shown), columns)) for shown in zip(*rows, strict=True)]
    kind = target.suffix[1:].upper()
    _save(target, pictures[0], kind, save_all=True, append_images=pictures[1:], duration=_FRAME_MS, loop=0)
