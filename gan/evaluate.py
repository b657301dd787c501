"""Scores of targets: their images, the network's view of them, the numbers, and the protocol they were made under.

`report` writes what it finds into a folder, which `gan.report` turns into tables and pages.
"""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan import exchange, ranks, sampling
from gan.config import TrainConfig
from gan.data import ImageSet, load
from gan.errors import UsageError, UserError
from gan.files import replacing
from gan.looking import Looking, published, require_writable
from gan.metrics.protocol import Protocol, require_alike
from gan.metrics.reference import Reference, load_statistics
from gan.metrics.score import IS_SPLITS, METRICS, NEIGHBOURS, measure_reference, score
from gan.metrics.stream import ImageStream, content_of
from gan.runs import versions
from gan.targets import Entry, resolve, settings_of, stream_of

RECORD = "report.json"
IMAGES = "report-images"
SCHEMA = 1  # of report.json
MOST = 50_000  # images of a generator, unless told otherwise

_SHOWN = 64  # images in a grid
_COLUMNS = 8
_HINT = "--num N scores equal numbers; --mixed-protocols puts them into one report all the same"


@dataclass(frozen=True)
class Request:
    """What `msn-gan report` is asked for."""

    targets: tuple[str, ...]
    looking: Looking = field(default_factory=Looking)
    data: str | None = None
    """The real images; None: those that the checkpoints were trained on."""
    data_root: Path | None = None
    split: str = "train"
    metrics: tuple[str, ...] | None = None
    """None: all, or fid and is against `ref`."""
    num: int | None = None
    seed: int = 0
    ref: Path | None = None
    """Statistics of the real images, in place of `data`."""
    ema: bool = True
    mixed_protocols: bool = False
    skip_bad_images: bool = False


def report(request: Request, out: Path) -> tuple[dict[str, Any], BaseException | None]:
    """Score all targets and write `report.json`, and grids beside it, anew after each of them.

    Several ranks look at the images together; rank 0 scores and writes.

    Returns:
        the content of report.json, and what stopped the work, if something did once there was a score to keep:
        KeyboardInterrupt or a UserError. The record then is of what was done before. On ranks other than 0 it has no
        results.

    Raises:
        UsageError, UserError: nothing could be scored; KeyboardInterrupt likewise. Nothing new is left behind.
    """
    made = [folder for folder in (out / IMAGES, out, *out.parents) if not folder.exists()]
    exchange.from_lead(lambda: require_writable(out, "--out"))
    job: _Job | None = None
    try:
        job = _Job(request, out)
        for number, (entry, count) in enumerate(job.todo):
            job.score(number, entry, count)
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

    def __init__(self, request: Request, out: Path) -> None:
        self.request, self.out = request, out
        self.metrics = request.metrics or (("fid", "is") if request.ref else METRICS)
        _check_flags(request, self.metrics)
        settings = settings_of(request.targets)
        self.data = request.data or _data_of(request, settings)
        if not (self.data or request.ref or self.metrics == ("is",)):
            raise UsageError("--data: name the real images (or --ref FILE.npz), or ask for --metrics is alone")
        self.extractor = request.looking.extractor(self.data)
        self.saved = load_statistics(request.ref) if request.ref else None
        if self.saved:
            self.saved.check(self.extractor)

        self.entries = resolve(
            request.targets,
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
                self.real[shape] = load(
                    self.data,
                    resolution=shape[0],
                    channels=shape[1],
                    data_root=root,
                    split=request.split,
                    skip_bad_images=request.skip_bad_images,
                )
        self.measured: dict[tuple[int, int], Reference] = {}
        self.todo = [(entry, self._count(entry)) for entry in self.entries]
        exchange.require_agreed(
            [(str(entry.path), count) for entry, count in self.todo],
            "they find other targets; give every machine the same files, and wait for a run that goes on",
        )
        self._check_counts()
        if not request.mixed_protocols:
            self._require_alike()
        self.record = self._begin()

    def score(self, number: int, entry: Entry, count: int) -> None:
        """Score one entry and write the record."""
        kept: list[Tensor] = []
        real = self._reference(entry)
        generator = entry.kind == "checkpoint"
        result = score(
            _keeping(entry.stream(count), kept, spread=not generator),
            real,
            self.extractor,
            self.metrics,
            seed=self.request.seed,
            ema=self.request.ema if generator else None,
        )
        if not ranks.leads():
            return
        if not self.request.mixed_protocols and self.record["results"]:
            first = self.record["results"][0]
            pair = (Protocol.from_json(first["protocol"]), Protocol.from_json(result["protocol"]))
            require_alike(*pair, (first["name"], entry.name), hint=_HINT)
        grid = f"{IMAGES}/{number + 1:03d}.png"
        (self.out / IMAGES).mkdir(exist_ok=True)
        sampling.save_grid(self.out / grid, torch.cat(kept), _COLUMNS)
        self._show_real(entry)
        if self.extractor.name == "inception" and not published(self.extractor.hash):
            result["warnings"].append("not the published Inception weights: these scores compare with each other only")
        if generator and self.request.data is None and self._other_data(entry):
            result["warnings"].append(f"{self.data} is not, or not any more, what {entry.name} was trained on")
        facts = {"target": entry.target, "path": str(entry.path), "kind": entry.kind, "grid": grid, **entry.facts}
        self.record["results"].append({**result, **facts, "name": entry.name, "log": entry.log and str(entry.log)})
        self.write()

    def write(self) -> None:
        """Write report.json as it stands."""
        with replacing(self.out / RECORD) as file:
            file.write(json.dumps(self.record, indent=2).encode() + b"\n")

    def _begin(self) -> dict[str, Any]:
        request = self.request
        real = next(iter(self.real.values()), None)
        return {
            "schema": SCHEMA,
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
            "stopped": None,
            "real_grid": None,
            "results": [],
            "versions": versions(),
        }

    def _count(self, entry: Entry) -> int:
        num = self.request.num
        if entry.count is not None:
            if num and num > entry.count:
                raise UserError(f"{entry.path}: --num {num:,} images are asked for, it has {entry.count:,}")
            return num or entry.count
        if self.saved:
            most = self.saved.count or MOST
        else:
            most = len(self.real[entry.resolution, entry.channels]) if self.real else MOST
        return num or min(MOST, most)

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
        content = {shape: content_of(stream_of(real, real.name)) for shape, real in self.real.items() if several}
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
            require_alike(first[0], protocol, (first[1], entry.name), hint=_HINT)

    def _reference(self, entry: Entry) -> Reference | None:
        shape = (entry.resolution, entry.channels)
        if self.saved or not self.real:
            return self.saved
        if shape not in self.measured:
            stream = stream_of(self.real[shape], str(self.data), self.request.split)
            self.measured[shape] = measure_reference(stream, self.extractor, self.metrics)
        return self.measured[shape]

    def _other_data(self, entry: Entry) -> bool:
        real = self.real.get((entry.resolution, entry.channels))
        if real is None or real.pixels is None or self.request.split != "train":
            return False
        return real.fingerprint != entry.facts["data_fingerprint"]

    def _show_real(self, entry: Entry) -> None:
        real = self.real.get((entry.resolution, entry.channels))
        if real is None or self.record["real_grid"]:
            return
        self.record["real_grid"] = f"{IMAGES}/real.png"
        chosen = torch.linspace(0, len(real) - 1, min(_SHOWN, len(real))).long()  # of all classes
        sampling.save_grid(self.out / self.record["real_grid"], real.fetch(chosen), _COLUMNS)


def _keeping(stream: ImageStream, kept: list[Tensor], *, spread: bool) -> ImageStream:
    """The same stream; the images of a grid are put into `kept` when they come by.

    Args:
        spread: take them from all over the stream, whose images may be sorted by class; else its first ones.
    """
    count = min(_SHOWN, stream.count)
    chosen = torch.linspace(0, stream.count - 1, count).long() if spread else torch.arange(count)

    def batches() -> Iterator[Tensor]:
        start = 0
        for batch in stream.batches():
            here = chosen[(chosen >= start) & (chosen < start + len(batch))] - start
            if len(here):
                kept.append(batch[here])
            start += len(batch)
            yield batch

    return replace(stream, batches=batches)


def _data_of(request: Request, settings: list[TrainConfig]) -> str | None:
    """What the checkpoints were trained on, where nothing else is named."""
    names = list(dict.fromkeys(config.data for config in settings))
    if request.ref or not names:
        return None
    if len(names) > 1:
        raise UsageError(f"--data: name the real images; the runs were trained on {' and '.join(names)}")
    return names[0]


def _check_flags(request: Request, metrics: tuple[str, ...]) -> None:
    unknown = [name for name in metrics if name not in METRICS]
    if unknown:
        raise UsageError(f"--metrics {','.join(unknown)}: no such metric; there are {', '.join(METRICS)}")
    if request.ref and request.data:
        raise UsageError("--ref takes the place of --data; give one of them")
    if request.ref and {"kid", "pr"} & set(metrics):
        raise UsageError("--ref: kid and pr need the real images themselves (--data); statistics serve fid alone")
