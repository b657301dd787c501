"""Scores of targets: their images, the network's view of them, the numbers, and the protocol they were made under.

`report` writes what it finds into a folder, which `gan.evaluation.report` turns into tables and pages.
"""

from __future__ import annotations

import shlex
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan.data import ImageSet, load_images
from gan.data.decode import TO_GREY
from gan.distributed import collectives, process_group
from gan.errors import Diverged, UsageError, UserError
from gan.evaluation.image_streams import image_set_stream
from gan.evaluation.options import EvaluationOptions
from gan.evaluation.targets import Target, resolve_targets, train_configs_of, unique_targets
from gan.metrics.feature_pass import content_hash, keeping_images
from gan.metrics.protocol import Protocol, require_same_protocol
from gan.metrics.reference import Reference, load_statistics
from gan.metrics.score import IS_SPLITS, NEIGHBOURS, measure_reference, score
from gan.sampling.grids import save_grid
from gan.utils.environment import program_versions
from gan.utils.files import require_writable, write_json
from gan.utils.progress import say

RECORD_NAME = "report.json"
IMAGES_FOLDER = "report-images"
RECORD_SCHEMA = 1  # of report.json
MOST_GENERATED = 50_000  # images of a generator, unless told otherwise

_SHOWN = 64  # images in a grid
_COLUMNS = 8
_HINT = "--num N scores equal numbers; --mixed-protocols puts them into one report all the same"


def evaluate(request: EvaluationOptions, out: Path) -> tuple[dict[str, Any], BaseException | None]:
    """Score all targets and write `report.json`, and grids beside it, anew after each of them.

    Several ranks look at the images together; rank 0 scores and writes.

    Returns:
        the content of report.json, and what stopped the work, if something did once there was a score to keep:
        KeyboardInterrupt or a UserError. The record then is of what was done before. On ranks other than 0 it has no
        results.

    Raises:
        UsageError, UserError: nothing could be scored; KeyboardInterrupt likewise. Nothing new is left behind.
    """
    made = [folder for folder in (out / IMAGES_FOLDER, out, *out.parents) if not folder.exists()]
    collectives.on_rank0(lambda: require_writable(out, "--out"))
    job: _Job | None = None
    try:
        job = _Job(request, out)
        for number, (entry, count) in enumerate(job.todo):
            try:
                job.score(number, entry, count)
            except Diverged as error:
                job.pass_over(entry, error)
        if not job.record["results"] and process_group.is_rank0():
            raise UserError("; ".join(job.record["passed_over"]))
    except BaseException as error:
        if job is None or not job.record["results"]:
            for folder in made:
                with suppress(OSError):
                    folder.rmdir()
            raise
        if not isinstance(error, (KeyboardInterrupt, UserError)):
            raise
        job.record["stopped"] = str(error) or "interrupted"
        job.write()
        return job.record, error
    return job.record, None


class _Job:
    """A report on its way: all that can be refused before the first pass is refused when it is made."""

    def __init__(self, request: EvaluationOptions, out: Path) -> None:
        self.request, self.out = request, out
        request.check()
        self.metrics = request.scores
        targets = unique_targets(request.targets)
        settings = train_configs_of(targets)
        self.data = request.data_of(settings)
        if not (self.data or request.ref or self.metrics == ("is",)):
            raise UsageError("--data: name the real images (or --ref FILE.npz), or ask for --metrics is alone")
        self.saved = load_statistics(request.ref) if request.ref else None
        looking = request.looking.like(self.saved.protocol) if self.saved and self.saved.protocol else request.looking
        self.extractor = looking.extractor(self.data)
        if self.saved:
            self.saved.check(self.extractor)
            if "fid" in self.metrics:
                self.saved.require_factor()

        self.entries = resolve_targets(
            targets,
            ema=request.ema,
            seed=request.seed,
            device=request.looking.device,
            split=request.split,
            skip_bad_images=request.skip_bad_images,
        )
        root = request.data_root or Path(settings[0].data_root if settings else "data")
        self.real: dict[tuple[int, int], ImageSet] = {}
        if self.data and self.metrics != ("is",):
            for shape in dict.fromkeys((entry.resolution, entry.channels) for entry in self.entries):
                self.real[shape] = load_images(
                    self.data,
                    resolution=shape[0],
                    channels=shape[1],
                    data_root=root,
                    split=request.split,
                    skip_bad_images=request.skip_bad_images,
                )
        self.measured: dict[tuple[int, int], Reference] = {}
        self.todo = [(entry, self._count(entry)) for entry in self.entries]
        collectives.require_equal(
            [(str(entry.path), count) for entry, count in self.todo],
            "they find other targets; give every machine the same files, and wait for a run that goes on",
        )
        self._check_counts()
        if not request.mixed_protocols:
            self._require_alike()
        self.record = self._begin()

    def score(self, number: int, entry: Target, count: int) -> None:
        """Score one entry and write the record."""
        kept: list[Tensor] = []
        real = self._reference(entry)
        generator = entry.kind == "checkpoint"
        result = score(
            keeping_images(entry.stream(count), _shown(count, spread=not generator), kept),
            real,
            self.extractor,
            self.metrics,
            seed=self.request.seed,
            ema=self.request.ema if generator else None,
        )
        if not process_group.is_rank0():
            return
        if not self.request.mixed_protocols and self.record["results"]:
            first = self.record["results"][0]
            pair = (Protocol.from_json(first["protocol"]), Protocol.from_json(result["protocol"]))
            require_same_protocol(*pair, (first["name"], entry.name), hint=_HINT)
        grid = f"{IMAGES_FOLDER}/{number + 1:03d}.png"
        (self.out / IMAGES_FOLDER).mkdir(exist_ok=True)
        save_grid(self.out / grid, torch.cat(kept), _COLUMNS)
        self._show_real(entry)
        if self.extractor.name == "inception" and not _is_published(self.extractor.hash):
            result["warnings"].append("not the published Inception weights: these scores compare with each other only")
        shown = self._real_of(entry)
        if not generator and shown is not None and (greyed := shown.conversions.get(TO_GREY, 0)):
            result["warnings"].append(
                f"its images are grey, so {greyed:,} real ones were made grey for it: colour is not scored"
            )
        if generator and self.request.data is None and self._other_data(entry):
            result["warnings"].append(f"{self.data} is not, or not any more, what {entry.name} was trained on")
        facts = {"target": entry.target, "path": str(entry.path), "kind": entry.kind, "grid": grid, **entry.facts}
        self.record["results"].append({**result, **facts, "name": entry.name, "log": entry.log and str(entry.log)})
        self.write()

    def pass_over(self, entry: Target, error: Diverged) -> None:
        """Go on without a snapshot that gives no images, if its run has others.

        Raises:
            Diverged: it has none, or other ranks do not know of it.
        """
        snapshots = sum(entry.target == other.target for other in self.entries)
        if snapshots == 1 or process_group.world_size() > 1:
            raise error
        say(f"{error}; passed over")
        self.record["passed_over"].append(str(error))
        if self.record["results"]:
            self.write()

    def write(self) -> None:
        """Write report.json as it stands."""
        write_json(self.out / RECORD_NAME, self.record)

    def _begin(self) -> dict[str, Any]:
        request = self.request
        real = next(iter(self.real.values()), None)
        return {
            "schema": RECORD_SCHEMA,
            "made": time.strftime("%Y-%m-%d %H:%M:%S %z"),
            "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            "settings": {
                "data": self.data,
                "split": request.split if self.data else None,
                "ref": str(request.ref) if request.ref else None,
                "metrics": list(self.metrics),
                "features": self.extractor.name,
                "seed": request.seed,
                "ema": request.ema,
                "batch": self.extractor.batch_size,
                "mixed_protocols": request.mixed_protocols,
            },
            "reference": {"name": self.data, "images": len(real), "conversions": real.conversions} if real else None,
            "planned": len(self.todo),
            "passed_over": [],
            "stopped": None,
            "real_grid": None,
            "results": [],
            "versions": program_versions(),
        }

    def _count(self, entry: Target) -> int:
        num = self.request.num
        if entry.count is not None:
            if num and num > entry.count:
                raise UserError(f"{entry.path}: --num {num:,} images are asked for, it has {entry.count:,}")
            return num or entry.count
        if self.saved:
            most = self.saved.count or MOST_GENERATED
        else:
            most = len(self.real[entry.resolution, entry.channels]) if self.real else MOST_GENERATED
        return num or min(MOST_GENERATED, most)

    def _check_counts(self) -> None:
        least, why = 2, "a score"
        for name, fewest, what in (("is", IS_SPLITS, "the Inception score"), ("pr", NEIGHBOURS + 1, "--metrics pr")):
            if name in self.metrics and fewest > least:
                least, why = fewest, what
        for entry, count in self.todo:
            if count < least:
                raise UserError(f"{entry.path}: {count} images; {why} needs at least {least}")

    def _require_alike(self) -> None:
        """Refuse before hours of work what would be refused after them."""
        several = len(self.real) > 1
        content = {
            shape: content_hash(image_set_stream(real, real.name)) for shape, real in self.real.items() if several
        }
        first: tuple[Protocol, str] | None = None
        for entry, count in self.todo:
            size = f"{entry.resolution}x{entry.resolution}"
            protocol = replace(
                self.extractor.protocol,
                generated_count=count,
                resolution=size,
                reference_content=content.get((entry.resolution, entry.channels)),
            )
            first = first or (protocol, entry.name)
            require_same_protocol(first[0], protocol, (first[1], entry.name), hint=_HINT)

    def _reference(self, entry: Target) -> Reference | None:
        shape = (entry.resolution, entry.channels)
        if self.saved or not self.real:
            return self.saved
        if shape not in self.measured:
            stream = image_set_stream(self.real[shape], str(self.data), self.request.split)
            self.measured[shape] = measure_reference(stream, self.extractor, self.metrics)
        return self.measured[shape]

    def _real_of(self, entry: Target) -> ImageSet | None:
        return self.real.get((entry.resolution, entry.channels))

    def _other_data(self, entry: Target) -> bool:
        real = self._real_of(entry)
        if real is None or real.pixels is None or self.request.split != "train":
            return False
        return real.fingerprint != entry.facts["data_fingerprint"]

    def _show_real(self, entry: Target) -> None:
        real = self._real_of(entry)
        if real is None or self.record["real_grid"]:
            return
        self.record["real_grid"] = f"{IMAGES_FOLDER}/real.png"
        save_grid(self.out / self.record["real_grid"], real.fetch(_shown(len(real), spread=True)), _COLUMNS)


def _shown(count: int, *, spread: bool) -> Tensor:
    """Numbers of the images of a grid, of so many: from all over them, as they may be sorted by class; or the first."""
    shown = min(_SHOWN, count)
    return torch.linspace(0, count - 1, shown).long() if spread else torch.arange(shown)


def _is_published(sha256: str) -> bool:
    """Whether these are the Inception weights that scores are quoted with."""
    from gan.metrics.inception_weights import SHA256  # imported here: it loads torchvision, which takes a second

    return sha256 == SHA256
