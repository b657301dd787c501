"""Evaluation targets as image streams: checkpoints, whole runs, folders, zips and npz files"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from gan.config import plugins
from gan.config.choices import NETWORKS
from gan.config.train_config import TrainConfig
from gan.data.datasets import open_path
from gan.data.decode import CROPPED, ENLARGED, RESIZED, TO_GREY, inspect_image
from gan.data.image_set import ImageSet
from gan.data.loading import load_images
from gan.data.source import BadImage
from gan.distributed import collectives
from gan.errors import UsageError, UserError
from gan.evaluation.image_streams import generator_stream, indexed_stream, random_part
from gan.evaluation.options import EvaluationOptions
from gan.evaluation.repeats import draw_seed
from gan.metrics.feature_pass import ImageStream
from gan.runs import checkpoint
from gan.runs.checkpoint import CheckpointFile, train_config_of
from gan.runs.locate import describe_contents
from gan.runs.log import LOG
from gan.runs.own_code import import_named_code, require_used
from gan.runtime import resolve_device
from gan.sampling import generate
from gan.sampling.load_generator import restore_generator, weights_entry
from gan.sampling.standing_stats import use_standing_statistics
from gan.utils.files import expand_home
from gan.utils.progress import warn


@dataclass(frozen=True)
class ImageListing:
    """What the names and the first header of an image set say about it."""

    path: Path
    count: int
    """Number of images, readable or not."""
    resolution: int | None = None
    """Of the first readable image; None: none is readable."""
    grey: bool = False
    """The first readable image is greyscale."""


_FALLBACK_SIZE = 32  # of a set without a readable image: `load_images` then names the unreadable ones


@dataclass(frozen=True, eq=False)
class Target:
    """One set of images to score: those of a checkpoint, a folder or a file.

    `stream(count)` opens it. `count` is the number of its images; None for a generator, which has no fixed number.
    """

    name: str
    """Its name in tables."""
    target: str
    """The path on the command line; the checkpoints of one run share it."""
    path: Path
    kind: str
    """`checkpoint` or `images`."""
    resolution: int
    channels: int
    count: int | None
    stream: Callable[[int], ImageStream]
    redraw: Callable[[int, int], ImageStream] | None = None
    """`redraw(count, draw)` opens images of other latents; None for image sets."""
    classes: tuple[str, ...] = ()
    """Names of its classes; empty if it has no labels."""
    labels: Callable[[int], Tensor | None] = lambda count: None
    """`labels(count)` returns the labels (count,), int64, of the images of `stream(count)`; None without classes."""
    facts: dict[str, Any] = field(default_factory=dict)
    """More entries for the report: step, images seen, hash of the file, conversions."""
    log: Path | None = None
    """The log of its run."""
    config: TrainConfig | None = None
    """The config of its run."""

    @property
    def shape(self) -> tuple[int, int]:
        """Resolution and channels, which the real images must share."""
        return self.resolution, self.channels


def unique_targets(targets: Sequence[str]) -> tuple[str, ...]:
    """Remove paths that were already named, in any spelling, with a message for each."""
    unique: dict[Path, str] = {}
    for target in targets:
        path = expand_home(target).resolve()
        if path in unique:
            warn(f"TARGET {target}: named twice, scored once")
        unique.setdefault(path, target)
    return tuple(unique.values())


def read_checkpoint_targets(targets: Sequence[str], options: EvaluationOptions, device: str) -> dict[str, list[Target]]:
    """Read the checkpoints and runs among targets, as entries by target; check that the other targets exist.

    Each file is read here for its metadata. The first stays in memory until it is scored; the others are read again
    then, since the checkpoints of a run may not fit into memory together.

    Args:
        options: `ema`, `seed`, `standing_stats` and `network` are used.

    Raises:
        UsageError: a target does not exist, or is of a kind that cannot be scored.
        UserError: a checkpoint is damaged, or all checkpoints of a run are.
    """
    reader = _CheckpointReader(options, device)
    entries: dict[str, list[Target]] = {}
    for target in targets:
        path = expand_home(target)
        if not path.exists():
            raise UsageError(f"TARGET {target}: no such checkpoint, run, folder, zip or npz")
        if path.suffix == ".pt" and path.is_file():
            entries[target] = [reader.read(path, str(path))]
        elif path.is_dir() and checkpoint.list_checkpoints(path):
            entries[target] = reader.read_run(path)
        elif path.is_dir() and (path / "config.json").exists() and (path / LOG).exists():
            raise UserError(f"{path}: this run has no checkpoint (step-….pt) yet")
        elif path.is_dir() and (contents := describe_contents(path, "report")):
            raise UsageError(f"TARGET {target}: {contents}")
        elif path.is_file() and path.suffix.lower() not in (".zip", ".npz"):
            raise UsageError(f"TARGET {target}: is not a checkpoint (.pt), run, folder, .zip or .npz")
    networks = [entry.config.network for runs in entries.values() for entry in runs if entry.config]
    require_used(NETWORKS, options.network, networks, "the checkpoints")
    return entries


def list_image_sets(targets: Sequence[str], split: str = "train") -> dict[str, ImageListing]:
    """List the image sets among targets; of each, one header is read.

    Raises:
        UserError: a set cannot be used, or its first image is not square.
    """
    return {target: _list_images(expand_home(target), split) for target in targets}


def resolve_targets(
    targets: Sequence[str],
    checkpoints: Mapping[str, list[Target]],
    listings: Mapping[str, ImageListing],
    *,
    seed: int,
    split: str = "train",
    skip_bad_images: bool = False,
) -> list[Target]:
    """All entries to score, in the order of the targets. Reads the image sets among them; runs no network.

    Args:
        checkpoints: from `read_checkpoint_targets`.
        listings: of the other targets, from `list_image_sets`.
        seed: of the random part of a set that is scored.
        split: of folders and zips whose sub-folders are splits.

    Raises:
        UserError: a file is damaged, or images cannot be read or have different sizes.
    """
    entries: list[Target] = []
    for target in targets:
        if target in checkpoints:
            entries += checkpoints[target]
        else:
            entries.append(_image_target(listings[target], split, seed, skip_bad_images))
    names = [entry.name for entry in entries]
    return [replace(entry, name=str(entry.path)) if names.count(entry.name) > 1 else entry for entry in entries]


class _CheckpointReader:
    """Makes targets of checkpoint files, and keeps the first file in memory until it is scored."""

    def __init__(self, options: EvaluationOptions, device: str) -> None:
        # Resolved before files are read: on a CPU, freed memory is then reused, which makes reading faster.
        self._ema, self._seed, self._device = options.ema, options.seed, resolve_device(device)
        self._network, self._standing_stats = options.network, options.standing_stats
        self._first: Path | None = None
        self._in_memory: CheckpointFile | None = None

    def read_run(self, folder: Path) -> list[Target]:
        """The whole checkpoints of a run; damaged ones are named and skipped, unless all are."""
        entries = []
        for path in checkpoint.list_checkpoints(folder):
            try:
                entries.append(self.read(path, str(folder)))
            except (UsageError, plugins.PluginError):  # the user's own code, which all checkpoints of a run share
                raise
            except UserError as error:
                warn(f"{error}; skipped")
        if not entries:
            raise UserError(f"{folder}: none of its checkpoints can be scored")
        return entries

    def read(self, path: Path, target: str) -> Target:
        file = checkpoint.read_checkpoint(path)
        state, config = file.state, train_config_of(file.state, path)
        import_named_code(NETWORKS, config.network, self._network, state, path)
        if self._first is None:
            needed = {"kind", "config", "data", "plugins", weights_entry(ema=self._ema)}
            self._first = path
            self._in_memory = file._replace(state={key: state[key] for key in needed & state.keys()})
        log = path.parent / LOG
        classes = tuple(state["data"]["classes"]) if config.conditional else ()
        return Target(
            name=f"{path.resolve().parent.name}, step {state['step']:,}",
            target=target,
            path=path,
            kind="checkpoint",
            resolution=config.resolution,
            channels=config.channels,
            count=None,
            stream=lambda count: self._stream(path, count, 0),
            redraw=lambda count, draw: self._stream(path, count, draw),
            classes=classes,
            labels=lambda count: generate.labels_in_turn(range(count), len(classes)),
            facts={
                "step": state["step"],
                "images_seen": state["step"] * config.n_dis * config.batch,
                "sha256": file.sha256,
                "data_fingerprint": state["data"]["fingerprint"],
                **plugins.file_entry(state.get("plugins", {})),
            },
            log=log if log.exists() else None,
            config=config,
        )

    def _stream(self, path: Path, count: int, draw: int) -> ImageStream:
        in_memory = None
        if path == self._first:
            in_memory, self._in_memory = self._in_memory, None
        file = collectives.on_rank0(lambda: in_memory or checkpoint.read_checkpoint(path))
        generator, config, classes = restore_generator(file, ema=self._ema, device=self._device, network=self._network)
        seed, inputs = draw_seed(self._seed, draw), {"latent_dim": config.latent_dim, "classes": len(classes)}
        if self._standing_stats:
            use_standing_statistics(generator, self._standing_stats, seed, **inputs)
        stream = generator_stream(generator, count, seed, name=str(path), **inputs)
        return replace(stream, protocol={"standing_stats": self._standing_stats})


def _image_set_target(path: Path, images: ImageSet, seed: int) -> Target:
    """A target of loaded images, of which a random part is scored if fewer are wanted."""
    count, labels = len(images), images.labels
    return Target(
        name=path.resolve().name,
        target=str(path),
        path=path,
        kind="images",
        resolution=images.resolution,
        channels=images.channels,
        count=count,
        stream=lambda wanted: indexed_stream(images.fetch, random_part(count, wanted, seed), str(path)),
        classes=() if labels is None else images.classes,
        labels=lambda wanted: None if labels is None else labels[random_part(count, wanted, seed)],
        facts={"conversions": images.conversions, "notes": list(images.notes), "fingerprint": images.fingerprint},
    )


def _image_target(listing: ImageListing, split: str, seed: int, skip_bad_images: bool) -> Target:
    path, side = listing.path, listing.resolution or _FALLBACK_SIZE
    options: dict[str, Any] = {"resolution": side, "split": split, "skip_bad_images": skip_bad_images}
    images = load_images(path, channels=1 if listing.grey else 3, **options)
    if listing.grey and images.conversions.get(TO_GREY):
        images = load_images(path, channels=3, **options)  # the first is greyscale, others are not
    cropped, *resized = (images.conversions.get(kind, 0) for kind in (CROPPED, RESIZED, ENLARGED))
    other_sizes = max(cropped, sum(resized))  # an image may be both cropped and resized
    if other_sizes:
        raise UserError(
            f"{path}: images of different sizes: {other_sizes:,} of {len(images):,} are not {side}x{side} as the first "
            "is; bring them to one size with `msn-gan data pack`"
        )
    return _image_set_target(path, images, seed)


def _list_images(path: Path, split: str) -> ImageListing:
    source = open_path(path, split=split)
    count = len(source.listing.names)
    with source.opened() as read:
        for index in range(count):
            try:
                info = inspect_image(read(index))
            except BadImage:
                continue
            width, height = info.size
            if width != height:
                raise UserError(
                    f"{path}: images of {width}x{height} pixels, not square; crop them with `msn-gan data pack`"
                )
            return ImageListing(path, count, width, info.mode == "L")
    return ImageListing(path, count)
