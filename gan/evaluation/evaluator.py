"""Score evaluation targets against real images and write report.json

`gan.evaluation.report` turns that file into tables and pages.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from gan.data.image_set import ImageSet
from gan.data.loading import load_images
from gan.distributed import collectives, process_group
from gan.errors import Diverged, UsageError, UserError
from gan.evaluation import by_protocol, report_folder
from gan.evaluation.by_protocol import create_evaluation, protocol_images
from gan.evaluation.comparable import (
    HINT,
    check_listings,
    images_to_score,
    require_same_protocols,
    require_same_sizes,
)
from gan.evaluation.copies import HeldOutSets, copy_pictures
from gan.evaluation.image_streams import grid_indices, image_set_stream
from gan.evaluation.options import EvaluationOptions
from gan.evaluation.per_class import class_labels, require_labelled
from gan.evaluation.record import new_record
from gan.evaluation.repeats import fid_over_draws
from gan.evaluation.report_folder import IMAGES_FOLDER, RECORD_NAME
from gan.evaluation.report_grids import Shown, write_grids
from gan.evaluation.target_warnings import target_warnings
from gan.evaluation.targets import (
    Target,
    list_image_sets,
    read_checkpoint_targets,
    resolve_targets,
    unique_targets,
)
from gan.metrics.feature_pass import keeping_images
from gan.metrics.protocol import Protocol, require_same_protocol
from gan.metrics.reference import Reference, load_statistics
from gan.metrics.score import measure_reference, score
from gan.metrics.score_checks import available_metrics, require_enough_images
from gan.runs.run_dir import default_output_name
from gan.utils.files import removing_new_folders, require_writable, write_json
from gan.utils.progress import say, warn


class Evaluated(NamedTuple):
    """The result of `evaluate`."""

    record: dict[str, Any]
    """Content of report.json; on ranks other than 0 it has no results."""
    error: BaseException | None
    """The KeyboardInterrupt or UserError that stopped the work after at least one target was scored."""
    folder: Path
    """The folder of report.json."""


def evaluate(options: EvaluationOptions, out: Path | None, *, overwrite: bool = False) -> Evaluated:
    """Score all targets; write `report.json` and the grids again after each of them.

    Several ranks extract features together; rank 0 scores and writes.

    Args:
        out: folder of the report; None: that of `report_folder.default_report_folder`.
        overwrite: replace a report in `out`, or in the folder named after the first target.

    Raises:
        UsageError, UserError, KeyboardInterrupt: nothing was scored. No new files are left behind.
    """
    if out is None and overwrite:
        out = report_folder.ROOT / default_output_name(Path(options.targets[0]))
    parent = out or report_folder.ROOT
    if not overwrite:
        collectives.on_rank0(lambda: report_folder.require_no_report(out))
    with removing_new_folders(parent):
        collectives.on_rank0(lambda: require_writable(parent, "--out"))
        evaluation = create_evaluation(options, Evaluation)
        folder = out or collectives.on_rank0(evaluation.default_folder)
        with removing_new_folders(folder / IMAGES_FOLDER), report_folder.reserved(folder):
            evaluation.out = folder
            try:
                evaluation.run()
            except (KeyboardInterrupt, UserError) as error:
                if not evaluation.record["results"]:
                    raise
                evaluation.record["stopped"] = str(error) or "interrupted"
                evaluation.write()
                return Evaluated(evaluation.record, error, folder)
            return Evaluated(evaluation.record, None, folder)


def score_targets(options: EvaluationOptions) -> dict[str, Any]:
    """Score all targets and return the content of report.json; write no files.

    Raises:
        UsageError, UserError, KeyboardInterrupt: not all targets were scored.
    """
    evaluation = create_evaluation(options, Evaluation)
    evaluation.run()
    return evaluation.record


class Evaluation:
    """One report in progress. The constructor rejects everything that can be rejected before features are extracted.

    `out`, the folder of the report, is set before `run`; None: nothing is written.
    """

    out: Path | None = None

    def __init__(self, options: EvaluationOptions) -> None:
        self.options = options
        options.check()
        self.metrics = options.scores
        names = unique_targets(options.targets)
        device = options.extractor.device
        checkpoints = read_checkpoint_targets(names, options, device)
        if options.standing_stats and not checkpoints:
            raise UsageError(f"--standing-stats {options.standing_stats}: is for checkpoints; no target is one")
        if options.per_class:
            require_labelled(entry for entries in checkpoints.values() for entry in entries)
        configs = [entries[-1].config for entries in checkpoints.values() if entries[-1].config]
        self.data = options.real_images(configs)
        if not (self.data or options.ref or self.metrics == ("is",)):
            raise UsageError("--data: name the real images (or --ref FILE.npz), or ask for --metrics is alone")
        self._load_extractor()
        self.metrics = available_metrics(self.metrics, self.extractor, chosen=options.metrics not in (None, ("all",)))
        options = self.options = replace(options, metrics=self.metrics)

        set_options: dict[str, Any] = {"split": options.split, "skip_bad_images": options.skip_bad_images}
        listings = list_image_sets([name for name in names if name not in checkpoints], options.split)
        check_listings(listings.values(), options.num, self.metrics, options.num_source)
        if not options.mixed_protocols:
            runs = [entry for entries in checkpoints.values() for entry in entries]
            require_same_sizes(runs, listings.values(), self.extractor.protocol)
        entries = resolve_targets(names, checkpoints, listings, seed=options.seed, **set_options)
        root = options.data_root or Path(configs[0].data_root if configs else "data")
        self._real: dict[tuple[int, int], ImageSet] = {}  # by resolution and channels
        if self.data and self.metrics != ("is",):
            by_protocol.require_protocol_split(self.data, root, options)
            for side, channels in dict.fromkeys(entry.shape for entry in entries):
                images = load_images(
                    self.data, resolution=side, channels=channels, data_root=root, strict_split=True, **set_options
                )
                self._real[side, channels] = protocol_images(images, options)
        self._held_out = HeldOutSets(options, self.data, self._real, root)
        self._references: dict[tuple[int, int], Reference] = {}
        self._scored: dict[tuple[Any, ...], tuple[str, dict[str, Any], Shown]] = {}
        real = [self._real_count(entry) for entry in entries]
        counts, note = images_to_score(
            entries, real, options.num, equal=not options.mixed_protocols, source=options.num_source
        )
        if note:
            say(f"{note}; --num N chooses the number, --mixed-protocols scores all of each")
        self.entries = [replace(entry, count=count) for entry, count in zip(entries, counts, strict=True)]
        collectives.require_equal(
            [(str(entry.path), entry.count) for entry in self.entries],
            "the targets have different files; copy the same files to every machine, and wait for runs in progress",
        )
        for entry in self.entries:
            require_enough_images(str(entry.path), entry.count or 0, self.metrics)
        self._labels = class_labels(self.entries, self._real) if options.per_class else {}
        if not options.mixed_protocols:
            require_same_protocols(self.entries, self._real, self.extractor.protocol)
        held_out, sets = list(self._held_out.images.values()), list(self._real.values())
        self.record = new_record(
            options, self.data, self.extractor, self.entries, sets, self.statistics, note, held_out=held_out
        )

    def run(self) -> None:
        """Score all entries; raise a UserError if none can be scored."""
        for entry in self.entries:
            try:
                self._score(entry)
            except Diverged as error:
                self._skip(entry, error)
        if not self.record["results"] and process_group.is_rank0():
            raise UserError("; ".join(self.record["passed_over"]))

    def write(self) -> None:
        """Write report.json as it stands."""
        if self.out:
            write_json(self.out / RECORD_NAME, self.record)

    def default_folder(self) -> Path:
        """The folder of the report if the user names none; a message if it is not the one named after the target."""
        name = default_output_name(Path(self.options.targets[0]))
        folder = report_folder.default_report_folder(name, self.record["question"])
        if folder != report_folder.ROOT / name:
            say(f"{report_folder.ROOT / name} has another report; this one goes to {folder}")
        return folder

    def _load_extractor(self) -> None:
        """Load the reference statistics, if any, and the extractor, which must match them."""
        from gan.metrics.extractors import create_extractor  # loads torchvision, which takes a second

        options = self.options
        self.statistics = load_statistics(options.ref) if options.ref else None
        extractor_options = options.extractor
        if self.statistics and self.statistics.protocol:
            extractor_options = extractor_options.like(self.statistics.protocol)
        self.extractor = create_extractor(extractor_options, self.data, is_fixed=bool(options.as_protocol))
        if self.statistics:
            self.statistics.check(self.extractor)
            if {"fid", "fid-infinity"} & set(self.metrics):
                _ = self.statistics.factor  # fails now rather than after hours of work

    def _score(self, entry: Target) -> None:
        """Score one entry and write the record."""
        result, shown = self._score_once(entry)
        if not process_group.is_rank0():
            return
        first = by_protocol.first_of_protocol(self.record["results"], self.options)
        if not self.options.mixed_protocols and first:
            protocols = (Protocol.from_json(first["protocol"]), Protocol.from_json(result["protocol"]))
            require_same_protocol(*protocols, (first["name"], entry.name), hint=HINT)
        real = self._real.get(entry.shape)
        result["grid"] = None
        if self.out:
            write_grids(self.out, len(self.record["results"]) + 1, shown, real, self.record, result)
        result["warnings"] += target_warnings(entry, real, self.extractor, self.options, self.data)
        facts = {"target": entry.target, "path": str(entry.path), "kind": entry.kind, **entry.facts}
        facts |= by_protocol.protocol_facts(self.options)
        self.record["results"].append({**result, **facts, "name": entry.name, "log": entry.log and str(entry.log)})
        self.write()

    def _score_once(self, entry: Target) -> tuple[dict[str, Any], Shown]:
        """The scores of an entry and the images of its grids; equal files under two names are scored once."""
        count, generated = entry.count or 0, entry.kind == "checkpoint"
        labels = self._labels.get(entry.path)
        content = entry.facts.get("sha256") or entry.facts["fingerprint"]
        key = (entry.kind, entry.shape, count, content, labels and labels.generated.tobytes())
        if key in self._scored:
            name, result, shown = self._scored[key]
            say(f"{entry.path}: the same images as {name}, not scored again")
        else:
            shown = Shown()
            result = score(
                keeping_images(entry.stream(count), grid_indices(count, spread=not generated), shown.images),
                self._reference(entry),
                self.extractor,
                self.metrics,
                seed=self.options.seed,
                ema=self.options.ema if generated else None,
                held_out=self._held_out.measured(entry.shape, self.extractor),
                labels=labels,
                is_splits=by_protocol.is_splits(self.options),
            )
            if self.out and "copies" in self.metrics:
                shown.copies = copy_pictures(result, entry.stream(count), self._real[entry.shape])
            if entry.redraw and self.options.repeats > 1:
                result["repeats"] = self._repeats(entry, result.get("fid"))
            self._scored[key] = (str(entry.path), result, shown)
        return {**result, "warnings": list(result.get("warnings", ()))}, shown

    def _repeats(self, entry: Target, first: float | None) -> dict[str, Any]:
        """The FID of a checkpoint over draws of latents; `first` is that of the first draw."""
        redraw, options = entry.redraw, self.options
        assert redraw is not None
        return fid_over_draws(
            first,
            lambda draw: redraw(entry.count or 0, draw),
            options.repeats,
            self._reference(entry),
            self.extractor,
            seed=options.seed,
            ema=options.ema,
        )

    def _skip(self, entry: Target, error: Diverged) -> None:
        """Skip a checkpoint of a diverged generator, unless it is the only one of its target.

        With several ranks the error is raised too, since the other ranks do not know of it.
        """
        if process_group.world_size() > 1 or sum(entry.target == other.target for other in self.entries) == 1:
            raise error
        warn(f"{error}; skipped")
        self.record["passed_over"].append(str(error))
        if self.record["results"]:
            self.write()

    def _real_count(self, entry: Target) -> int | None:
        """The number of real images that an entry is compared with; None if it is unknown or there are none."""
        real = self._real.get(entry.shape)
        return self.statistics.count if self.statistics else len(real) if real else None

    def _reference(self, entry: Target) -> Reference | None:
        """The real side of an entry's scores, measured once for each size of images."""
        real = self._real.get(entry.shape)
        if self.statistics or real is None:
            return self.statistics
        if entry.shape not in self._references:
            stream = image_set_stream(real, str(self.data), self.options.split)
            keep = self.options.per_class
            self._references[entry.shape] = measure_reference(stream, self.extractor, self.metrics, keep_features=keep)
        return self._references[entry.shape]
