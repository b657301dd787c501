"""Score evaluation targets against real images and write report.json

`gan.evaluation.report` turns that file into tables and pages.
"""

import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan.data.decode import TO_GREY
from gan.data.image_set import ImageSet
from gan.data.loading import load_images
from gan.distributed import collectives, process_group
from gan.errors import Diverged, UsageError, UserError
from gan.evaluation.image_streams import image_set_stream
from gan.evaluation.options import MOST_GENERATED, EvaluationOptions
from gan.evaluation.targets import Target, read_checkpoint_targets, resolve_targets, unique_targets
from gan.metrics.feature_pass import content_hash, keeping_images
from gan.metrics.protocol import Protocol, require_same_protocol
from gan.metrics.reference import Reference, load_statistics
from gan.metrics.score import measure_reference, require_enough_images, score
from gan.sampling.grids import save_grid
from gan.utils.environment import program_versions
from gan.utils.files import removing_new_folders, require_writable, write_json
from gan.utils.progress import say

RECORD_NAME = "report.json"
IMAGES_FOLDER = "report-images"
RECORD_SCHEMA = 1  # of report.json

_GRID_IMAGES = 64
_GRID_COLUMNS = 8
_HINT = "--num N scores equal numbers; --mixed-protocols allows different protocols in one report"


def evaluate(options: EvaluationOptions, out: Path) -> tuple[dict[str, Any], BaseException | None]:
    """Score all targets; write `report.json` and the grids again after each of them.

    Several ranks extract features together; rank 0 scores and writes.

    Returns:
        the content of report.json, and the KeyboardInterrupt or UserError that stopped the work, if there was one and
        at least one target had been scored. On ranks other than 0 the record has no results.

    Raises:
        UsageError, UserError, KeyboardInterrupt: nothing was scored. No new files are left behind.
    """
    with removing_new_folders(out / IMAGES_FOLDER):
        collectives.on_rank0(lambda: require_writable(out, "--out"))
        evaluation = Evaluation(options, out)
        try:
            evaluation.run()
        except (KeyboardInterrupt, UserError) as error:
            if not evaluation.record["results"]:
                raise
            evaluation.record["stopped"] = str(error) or "interrupted"
            evaluation.write()
            return evaluation.record, error
        return evaluation.record, None


class Evaluation:
    """One report in progress. The constructor rejects everything that can be rejected before features are extracted."""

    def __init__(self, options: EvaluationOptions, out: Path) -> None:
        self.options, self.out = options, out
        options.check()
        self.metrics = options.scores
        names = unique_targets(options.targets)
        device = options.extractor.device
        checkpoints = read_checkpoint_targets(names, ema=options.ema, seed=options.seed, device=device)
        configs = [entries[-1].config for entries in checkpoints.values() if entries[-1].config]
        self.data = options.real_images(configs)
        if not (self.data or options.ref or self.metrics == ("is",)):
            raise UsageError("--data: name the real images (or --ref FILE.npz), or ask for --metrics is alone")
        self._load_extractor()

        set_options: dict[str, Any] = {"split": options.split, "skip_bad_images": options.skip_bad_images}
        entries = resolve_targets(names, checkpoints, seed=options.seed, **set_options)
        root = options.data_root or Path(configs[0].data_root if configs else "data")
        self._real: dict[tuple[int, int], ImageSet] = {}  # by resolution and channels
        if self.data and self.metrics != ("is",):
            for side, channels in dict.fromkeys(entry.shape for entry in entries):
                images = load_images(
                    self.data, resolution=side, channels=channels, data_root=root, strict_split=True, **set_options
                )
                self._real[side, channels] = images
        self._references: dict[tuple[int, int], Reference] = {}
        self.entries = [replace(entry, count=self._count(entry)) for entry in entries]
        collectives.require_equal(
            [(str(entry.path), entry.count) for entry in self.entries],
            "the targets have different files; copy the same files to every machine, and wait for runs in progress",
        )
        for entry in self.entries:
            require_enough_images(str(entry.path), entry.count or 0, self.metrics)
        if not options.mixed_protocols:
            self._require_same_protocols()
        self.record = self._new_record()

    def run(self) -> None:
        """Score all entries; raise a UserError if none can be scored."""
        for index, entry in enumerate(self.entries):
            try:
                self._score(index, entry)
            except Diverged as error:
                self._skip(entry, error)
        if not self.record["results"] and process_group.is_rank0():
            raise UserError("; ".join(self.record["passed_over"]))

    def write(self) -> None:
        """Write report.json as it stands."""
        write_json(self.out / RECORD_NAME, self.record)

    def _load_extractor(self) -> None:
        """Load the reference statistics, if any, and the extractor, which must match them."""
        from gan.metrics.extractors import create_extractor  # loads torchvision, which takes a second

        options = self.options
        self.statistics = load_statistics(options.ref) if options.ref else None
        extractor_options = options.extractor
        if self.statistics and self.statistics.protocol:
            extractor_options = extractor_options.like(self.statistics.protocol)
        self.extractor = create_extractor(extractor_options, self.data)
        if self.statistics:
            self.statistics.check(self.extractor)
            if "fid" in self.metrics:
                _ = self.statistics.factor  # fails now rather than after hours of work

    def _score(self, index: int, entry: Target) -> None:
        """Score one entry and write the record."""
        shown: list[Tensor] = []
        count, generated = entry.count or 0, entry.kind == "checkpoint"
        result = score(
            keeping_images(entry.stream(count), _grid_indices(count, spread=not generated), shown),
            self._reference(entry),
            self.extractor,
            self.metrics,
            seed=self.options.seed,
            ema=self.options.ema if generated else None,
        )
        if not process_group.is_rank0():
            return
        if not self.options.mixed_protocols and self.record["results"]:
            first = self.record["results"][0]
            protocols = (Protocol.from_json(first["protocol"]), Protocol.from_json(result["protocol"]))
            require_same_protocol(*protocols, (first["name"], entry.name), hint=_HINT)
        grid = f"{IMAGES_FOLDER}/{index + 1:03d}.png"
        (self.out / IMAGES_FOLDER).mkdir(exist_ok=True)
        save_grid(self.out / grid, torch.cat(shown), _GRID_COLUMNS)
        real = self._real.get(entry.shape)
        if real is not None and not self.record["real_grid"]:
            self.record["real_grid"] = f"{IMAGES_FOLDER}/real.png"
            images = real.fetch(_grid_indices(len(real), spread=True))
            save_grid(self.out / self.record["real_grid"], images, _GRID_COLUMNS)
        result["warnings"] += self._warnings(entry, real)
        facts = {"target": entry.target, "path": str(entry.path), "kind": entry.kind, "grid": grid, **entry.facts}
        self.record["results"].append({**result, **facts, "name": entry.name, "log": entry.log and str(entry.log)})
        self.write()

    def _warnings(self, entry: Target, real: ImageSet | None) -> list[str]:
        """Warnings about the extractor and the real images of an entry."""
        lines = []
        generated = entry.kind == "checkpoint"
        if self.extractor.name == "inception" and not _is_published(self.extractor.hash):
            lines.append("not the published Inception weights: compare only with scores of the same weights")
        if not generated and real is not None and (greyed := real.conversions.get(TO_GREY, 0)):
            lines.append(
                f"its images are greyscale, so {greyed:,} real images were converted to greyscale: colour is not scored"
            )
        if generated and self.options.data is None and self.options.split == "train" and real is not None:
            if real.pixels is not None and real.fingerprint != entry.facts["data_fingerprint"]:
                lines.append(f"{self.data} does not have the images that {entry.name} was trained on")
        return lines

    def _skip(self, entry: Target, error: Diverged) -> None:
        """Skip a checkpoint of a diverged generator, unless it is the only one of its target.

        With several ranks the error is raised too, since the other ranks do not know of it.
        """
        if process_group.world_size() > 1 or sum(entry.target == other.target for other in self.entries) == 1:
            raise error
        say(f"{error}; skipped")
        self.record["passed_over"].append(str(error))
        if self.record["results"]:
            self.write()

    def _new_record(self) -> dict[str, Any]:
        options = self.options
        real = next(iter(self._real.values()), None)
        reference = None
        if real:
            facts = {"images": len(real), "conversions": real.conversions, "notes": list(real.notes)}
            reference = {"name": self.data, **facts}
        return {
            "schema": RECORD_SCHEMA,
            "made": time.strftime("%Y-%m-%d %H:%M:%S %z"),
            "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            "settings": {
                "data": self.data,
                "split": options.split if self.data else None,
                "ref": str(options.ref) if options.ref else None,
                "metrics": list(self.metrics),
                "features": self.extractor.name,
                "seed": options.seed,
                "ema": options.ema,
                "batch": self.extractor.batch_size,
                "mixed_protocols": options.mixed_protocols,
            },
            "reference": reference,
            "planned": len(self.entries),
            "passed_over": [],
            "stopped": None,
            "real_grid": None,
            "results": [],
            "versions": program_versions(),
        }

    def _count(self, entry: Target) -> int:
        """The number of images to score."""
        num = self.options.num
        if entry.count is not None:
            if num and num > entry.count:
                raise UserError(f"{entry.path}: has {entry.count:,} images, fewer than --num {num:,}")
            return num or entry.count
        real = self._real.get(entry.shape)
        available = self.statistics.count if self.statistics else len(real) if real else None
        return num or min(MOST_GENERATED, available or MOST_GENERATED)

    def _require_same_protocols(self) -> None:
        """Check before hours of work that the entries can be compared with each other."""
        content: dict[tuple[int, int], str] = {}
        if len(self._real) > 1:
            content = {shape: content_hash(image_set_stream(real, real.name)) for shape, real in self._real.items()}
        protocols = [
            replace(
                self.extractor.protocol,
                generated_count=entry.count,
                resolution=f"{entry.resolution}x{entry.resolution}",
                reference_content=content.get(entry.shape),
            )
            for entry in self.entries
        ]
        first = self.entries[0].name
        for entry, protocol in zip(self.entries, protocols, strict=True):
            require_same_protocol(protocols[0], protocol, (first, entry.name), hint=_HINT)

    def _reference(self, entry: Target) -> Reference | None:
        """The real side of an entry's scores, measured once for each size of images."""
        real = self._real.get(entry.shape)
        if self.statistics or real is None:
            return self.statistics
        if entry.shape not in self._references:
            stream = image_set_stream(real, str(self.data), self.options.split)
            self._references[entry.shape] = measure_reference(stream, self.extractor, self.metrics)
        return self._references[entry.shape]


def _grid_indices(count: int, *, spread: bool) -> Tensor:
    """Indices of the images in a grid: the first ones, or spread over the set, which may be sorted by class."""
    shown = min(_GRID_IMAGES, count)
    return torch.linspace(0, count - 1, shown).long() if spread else torch.arange(shown)


def _is_published(sha256: str) -> bool:
    """True if these are the published Inception weights."""
    from gan.metrics.inception_weights import SHA256  # loads torchvision, which takes a second

    return sha256 == SHA256
