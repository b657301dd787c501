"""Sample a checkpoint: the `sample` command"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gan.data.source import EXTENSIONS, list_names
from gan.distributed import collectives, process_group
from gan.errors import Diverged, UsageError
from gan.runs.locate import samples_folder
from gan.sampling import generate, writers
from gan.sampling.grids import save_class_grid, save_grid
from gan.sampling.interpolation import interpolate
from gan.sampling.load_generator import LoadedGenerator, load_generator
from gan.sampling.standing_stats import use_standing_statistics
from gan.utils.files import require_new
from gan.utils.progress import progress, say

_IMAGES = 64  # default number of images
_MAX_LISTED = 3  # names of files in a message
_MOST_COLUMNS = 16  # of a grid by class
_FILE_ENDINGS = {*EXTENSIONS, ".zip", ".npz", ".npy", ".tar", ".gz", ".mp4", ".pdf", ".svg"}  # others are of folders
_ANIMATION_LATENTS = 4  # latents that an animation passes before it returns to the first


@dataclass(frozen=True)
class SampleOptions:
    """The command line of `msn-gan sample`, but for the files."""

    num: int | None = None
    """Images, or walks if `frames` is given; None: 64 images or 8 walks."""
    seed: int = 0
    columns: int | None = None
    """Columns of a grid; None: about as many as rows, or, of a conditional generator, a row for each class."""
    label: str | None = None
    """Class of all images, by name or number; None: each class in turn."""
    truncation: float | None = None
    """Latents are drawn from a normal distribution truncated at ± this value."""
    frames: int | None = None
    """Steps of a walk from one latent to the next; None: separate images."""
    ema: bool = True
    best: bool = False
    """Of a run, take the checkpoint with the lowest FID, not the newest."""
    device: str = "auto"
    standing_stats: int = 0
    """Batches of latents over which batch-norm statistics are recomputed; 0: those of the checkpoint."""
    overwrite: bool = False
    """Replace a file, or a folder of sampled images, that exists."""
    network: tuple[str, ...] = ()
    """Networks of the user's own, whose code may run."""


def write_samples(path: Path, out: Path | None, options: SampleOptions) -> Path:
    """Generate images of a checkpoint, write them, and return where. Several ranks generate; rank 0 writes.

    Args:
        path: a checkpoint or a run's folder.
        out: a .png (grid), .zip, .gif or .webp (animated walk) file, or a folder, whose name may have dots. None: a
            grid in the run's samples folder.

    Raises:
        UsageError: `out` exists and is not to be overwritten, or is a folder that has other files.
        UserError: the checkpoint cannot be used, or its generator outputs NaN.
        OSError: `out` cannot be written. In either case no partial file is left.
    """
    _check_truncation(options.truncation)
    is_walk = options.frames is not None
    target = out or _default_out(path, f"{'walk' if is_walk else 'sample'}-seed-{options.seed}.png")
    collectives.on_rank0(lambda: _check_out(target, walks=is_walk, overwrite=options.overwrite))
    generator = load_generator(path, ema=options.ema, device=options.device, best=options.best, network=options.network)
    _apply_standing_stats(generator, options)
    label = _class_index(options.label, generator.classes)
    count = options.num or (_IMAGES if options.frames is None else 8)
    columns = options.columns or math.ceil(math.sqrt(count))
    by_class = options.columns is None and label is None and len(generator.classes) > 1
    if process_group.is_rank0():
        target.parent.mkdir(parents=True, exist_ok=True)
    with _naming_checkpoint(path):
        if options.frames is None:
            images = _images(generator, count, label, options)
            if by_class and target.suffix.lower() == ".png":
                _write_class_grid(target, images, generator.classes)
            else:
                _write_images(target, images, columns, generator.classes, options.overwrite)
        elif process_group.is_rank0():  # a walk has few images
            if target.suffix.lower() in writers.ANIMATION_LIMITS:
                writers.check_animation_size(target, count, columns, generator.config.resolution)
                writers.write_animation(target, _walks(generator, count, label, options, closed=True), columns)
            else:
                walks = _walks(generator, count, label, options, closed=False)
                save_grid(target, torch.cat(walks), len(walks[0]))
    say(f"wrote {target}", link=target)
    return target


def sample_tensor(generator: LoadedGenerator, options: SampleOptions, path: Path) -> Tensor:
    """Generate the images of `write_samples`, uint8 (N, C, H, W) on the CPU, and write nothing.

    Args:
        options: `num`, `seed`, `label`, `truncation` and `standing_stats` are used.
        path: the checkpoint or run of the generator, for messages.

    Raises:
        UsageError: there is no such class, or the truncation is not above 0.
        Diverged: the generator outputs NaN or infinity.
    """
    _check_truncation(options.truncation)
    label = _class_index(options.label, generator.classes)
    _apply_standing_stats(generator, options)
    with _naming_checkpoint(path):
        return torch.cat([images for images, _ in _images(generator, options.num or _IMAGES, label, options)])


def _apply_standing_stats(generator: LoadedGenerator, options: SampleOptions) -> None:
    if options.standing_stats:
        use_standing_statistics(
            generator.network,
            options.standing_stats,
            options.seed,
            latent_dim=generator.config.latent_dim,
            classes=len(generator.classes),
            truncation=options.truncation,
        )


@contextmanager
def _naming_checkpoint(path: Path) -> Iterator[None]:
    """Name the checkpoint or run in the error of a generator that outputs NaN or infinity."""
    try:
        yield
    except Diverged as error:
        raise Diverged(f"{path}: {error}; try an earlier checkpoint") from error


def _check_truncation(truncation: float | None) -> None:
    if truncation is not None and not (math.isfinite(truncation) and truncation > 0):
        raise UsageError(f"--truncation {truncation}: must be a number above 0")


def _default_out(path: Path, name: str) -> Path:
    """A file in the run's samples folder, prefixed with the checkpoint's name if `path` is a file.

    The folder of a checkpoint that is in no folder `checkpoints` is `samples`.
    """
    folder = samples_folder(path)
    if path.is_file():
        return (folder or Path("samples")) / f"{path.stem}-{name}"
    return (folder or Path("samples") / path.resolve().name) / name


def _check_out(out: Path, *, walks: bool, overwrite: bool) -> None:
    """Reject an unusable --out before any work."""
    is_folder = not walks and out.suffix.lower() not in _FILE_ENDINGS
    if not is_folder and out.suffix.lower() not in ({".png", *writers.ANIMATION_LIMITS} if walks else {".png", ".zip"}):
        choices = "a .png grid, a .gif or a .webp" if walks else "a .png grid, a .zip or a folder"
        raise UsageError(f"--out {out}: with{'' if walks else 'out'} --interpolate it must be {choices}")
    if not is_folder and out.is_dir():
        raise UsageError(f"--out {out}: is a folder")
    if not is_folder or not out.is_dir():
        if is_folder and out.exists():
            raise UsageError(f"--out {out}: is a file; choose another name for the folder")
        require_new(out, "--out", overwrite=overwrite)
    elif others := writers.other_files(out):
        listed = list_names(others, _MAX_LISTED)
        raise UsageError(f"--out {out}: contains files that `sample` did not write ({listed}); choose another folder")
    elif out.resolve() == Path.cwd():
        raise UsageError(f"--out {out}: is the current folder; name a new one in it")
    elif not overwrite and any(out.iterdir()):
        raise UsageError(f"--out {out}: contains images; --overwrite replaces all of them, or choose another folder")


def _class_index(label: str | None, classes: Sequence[str]) -> int | None:
    if label is None:
        return None
    if not classes:
        raise UsageError(f"--class {label}: this generator is unconditional (it was not trained with --conditional)")
    if label in classes:
        return classes.index(label)
    if label.isdecimal() and int(label) < len(classes):
        return int(label)
    raise UsageError(f"--class {label}: choose from {', '.join(classes)}, or 0 to {len(classes) - 1}")


def _images(
    generator: LoadedGenerator, count: int, label: int | None, options: SampleOptions
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Batches of images uint8 (N, C, H, W) and their labels (N,)."""
    with progress("sampling", count) as advance:
        for batch in generate.sample_images(
            generator.network,
            count,
            options.seed,
            latent_dim=generator.config.latent_dim,
            classes=len(generator.classes),
            fixed_class=label,
            truncation=options.truncation,
        ):
            yield batch
            advance(len(batch[0]))


def _walks(
    generator: LoadedGenerator, count: int, label: int | None, options: SampleOptions, *, closed: bool
) -> list[Tensor]:
    """Images (F, C, H, W) of each walk between latents; a closed walk returns to its first latent."""
    assert options.frames is not None
    ends = _ANIMATION_LATENTS if closed else 2
    walks = []
    with progress("sampling", count, "walk") as advance:
        for walk in range(count):
            indices = range(walk * ends, (walk + 1) * ends)
            z = generate.latents(options.seed, indices, generator.config.latent_dim, options.truncation)
            z = interpolate(z, options.frames, closed=closed)
            labels = generate.labels_in_turn([walk], len(generator.classes), label)
            walks.append(generate.render(generator.network, z, None if labels is None else labels.expand(len(z))))
            advance()
    return walks


def _write_class_grid(target: Path, batches: Iterator[tuple[Tensor, Tensor | None]], classes: Sequence[str]) -> None:
    """Write a grid by class. Only rank 0 writes, but every rank generates its part of the batches."""
    images, labels = [], []
    for batch, numbers in batches:
        assert numbers is not None
        images.append(batch)
        labels.append(numbers)
    if process_group.is_rank0():
        joined = torch.cat(labels)
        columns = min(_MOST_COLUMNS, int(joined.bincount().max()))
        save_class_grid(target, torch.cat(images), joined, classes, columns)


def _write_images(
    target: Path, batches: Iterator[tuple[Tensor, Tensor | None]], columns: int, classes: Sequence[str], overwrite: bool
) -> None:
    """Write a grid, a zip or a folder. Only rank 0 writes, but every rank generates its part of the batches."""
    if not process_group.is_rank0():
        for _ in batches:
            pass
    elif target.suffix.lower() == ".png":
        save_grid(target, torch.cat([images for images, _ in batches]), columns)
    elif target.suffix.lower() == ".zip":
        writers.write_zip(target, batches, classes)
    else:
        writers.write_folder(target, batches, classes, overwrite=overwrite)
