"""`score`: what the command `report` does, from Python"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gan.api.call import ProgressCallback, api_call
from gan.api.sampling import Checkpoint, target_path
from gan.api.settings import PathLike, check_choice, check_device, check_int, optional_path
from gan.api.training import TrainedRun
from gan.config import plugins
from gan.config.choices import FEATURES
from gan.errors import UsageError
from gan.evaluation import evaluator
from gan.evaluation import report as pages
from gan.evaluation.named_protocols import require_no_contradiction
from gan.evaluation.options import EvaluationOptions
from gan.metrics.extractor import ExtractorOptions
from gan.metrics.per_class import ClassScores
from gan.metrics.protocol import Protocol
from gan.metrics.score_table import SCORES
from gan.report.terminal import print_report
from gan.utils.progress import is_shown, say

_KEYS = [key for column in SCORES for key in (column.key, column.spread) if key]


@dataclass(frozen=True, eq=False)
class TargetScores(Mapping[str, float]):
    """The scores of one checkpoint or image set by their names in report.json.

    These are, as far as the metrics were asked for: `fid`; `fid_infinity` and `fid_infinity_interval`, the half-width
    of its 95 % interval; `inception_score` and `inception_score_std`, over splits; `kid` and `kid_std`, over subsets;
    `precision`, `recall` and `coverage`, in 0 to 1, and `density`; of copies `auth_pct`, in 0 to 100, and, with
    held-out images, `ct`.
    """

    name: str
    """Name in tables: of a run with its step."""
    path: Path
    """The checkpoint, folder, zip or npz."""
    step: int | None
    """Training step of a checkpoint; None for image sets."""
    scores: dict[str, float]
    protocol: Protocol = field(repr=False)
    """Protocol of the scores: extractor, images, counts, versions. Scores of other protocols do not compare."""
    warnings: tuple[str, ...] = field(repr=False)
    """Reasons to doubt the scores, such as too few images."""

    fid_draws: tuple[float, ...] = ()
    """With `repeats`, the FID of each draw of latents of a checkpoint; the first is the score."""
    classes: tuple[ClassScores, ...] = field(default=(), repr=False)
    """With `per_class`, the scores of each class, in the order of the real images' classes."""
    as_protocol: str | None = None
    """The named protocol of the scores, with `as_protocol`."""

    def __getitem__(self, key: str) -> float:
        return self.scores[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True)
class ScoreReport:
    """The scores of all targets, in order; of a run each checkpoint. It is iterable, and has a length and indices."""

    results: tuple[TargetScores, ...]
    record: dict[str, Any] = field(repr=False)
    """Content of report.json."""
    folder: Path | None = None
    """Folder of report.json, report.md and report.html, if they were written."""
    messages: tuple[str, ...] = field(default=(), repr=False)
    """Lines that the command prints to standard error, in order."""

    @property
    def page(self) -> Path | None:
        """Path of report.html, if it was written."""
        return self.folder / "report.html" if self.folder else None

    def __iter__(self) -> Iterator[TargetScores]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, index: int) -> TargetScores:
        return self.results[index]


def score(
    targets: Checkpoint | Sequence[Checkpoint],
    *,
    data: PathLike | None = None,
    data_root: PathLike | None = None,
    split: str | None = None,
    ref: PathLike | None = None,
    metrics: str | Sequence[str] | None = None,
    held_out: PathLike | None = None,
    num: int | None = None,
    as_protocol: str | Sequence[str] = (),
    seed: int = 0,
    repeats: int = 1,
    per_class: bool = False,
    features: str = "auto",
    preprocess: str | None = None,
    precision: str = "fp32",
    features_weights: PathLike | None = None,
    inception_weights: PathLike | None = None,
    allow_other_weights: bool = False,
    batch: int | None = None,
    ema: bool = True,
    standing_stats: int = 0,
    mixed_protocols: bool = False,
    skip_bad_images: bool = False,
    device: str = "auto",
    out: PathLike | None = None,
    overwrite: bool = False,
    network: str | Sequence[str] = (),
    norm: str | Sequence[str] = (),
    progress: ProgressCallback | None = None,
    verbose: bool = False,
) -> ScoreReport:
    """Score checkpoints, runs and image sets against real images: what `msn-gan report` does.

    No report is written without `out`; statistics of the real images are cached, as by the command.

    Args:
        targets: one or several: a checkpoint, a run (all its checkpoints), or a folder, zip or npz of images.
        data: real images: a name, folder, zip or npz; None: the training images of the checkpoints.
        data_root: folder of named datasets.
        split: "train" or "test"; None: "train", or that of `as_protocol`.
        ref: statistics in place of `data`, a .npz of `data stats`.
        metrics: some of "fid", "is", "kid", "pr", "fid-infinity" and "copies", or "all"; None: the first four; with
            `ref` fid and is.
        held_out: real images that were not trained on, for the C_T of copies: a name, folder, zip or npz; its test
            split, if it has splits.
        num: images to score, at least 2; None: all; of a checkpoint as many as `data` has, at most 50,000; of several
            targets the smallest of these numbers.
        as_protocol: protocols of the literature, such as "50k-train" or ["50k-train", "10k-test"], each of which sets
            `num`, `split`, `features` and `preprocess` and scores all targets; the names are those of `report --as`.
        seed: of generated images, subsets and splits.
        repeats: draws of latents from each of which the FID of a checkpoint is computed.
        per_class: also FID, precision, recall, density and coverage of each class, as `classes` of each result; the
            real images and each target must have labels of the same class names.
        features: "inception", "digits", "classifier:FILE", "dinov2", "dinov2:s", "dinov2:b", "dinov2:g", "clip", or
            your own as "file.py:name"; "auto": digits for the digits, else inception.
        preprocess: for Inception: "pytorch-fid", "torch-fidelity" or "clean"; None: pytorch-fid.
        precision: of the extractor, "fp32" or "bf16".
        features_weights: file of the weights of inception, dinov2 or clip; None: $MSN_GAN_INCEPTION, $MSN_GAN_DINOV2
            or $MSN_GAN_CLIP, or a download.
        inception_weights: the former name of `features_weights`.
        allow_other_weights: accept weights of Inception or CLIP that were not published.
        batch: images in a batch of the extractor; None: a size that suits the device.
        ema: score the EMA generator, not the trained one.
        standing_stats: batches of latents over which G's batch-norm statistics are recomputed; 0: as trained.
        mixed_protocols: allow scores with different protocols in one report.
        skip_bad_images: skip images that cannot be read.
        device: "auto", "cpu", "cuda" or "mps".
        out: folder for report.json, report.md and report.html; None: no report is written.
        overwrite: replace a report in `out`.
        network: your own networks that the checkpoints have; code runs only if you name it.
        norm: your own norm of the classifier in `features`; likewise.
        progress, verbose: see `gan.train`.

    Raises:
        UsageError: a wrong argument; the message names the flag.
        UserError: a target cannot be scored. With `out`, the targets before it are in the report.
        KeyboardInterrupt: Ctrl-C. With `out`, the targets scored so far are in the report.
    """
    given = [targets] if isinstance(targets, (str, os.PathLike, TrainedRun)) else targets
    names = tuple(str(target_path(target)) for target in given)
    arguments: dict[str, Any] = {"targets": list(names), "data": data, "ref": ref, "metrics": metrics}
    arguments |= {"held_out": held_out, "num": num, "out": out}
    with api_call("score", arguments, progress, verbose) as messages:
        if not names:
            raise UsageError("TARGET: give at least one")
        check_device(device)
        check_choice("--split", split or "train", ("train", "test"))
        check_choice("--precision", precision, ("fp32", "bf16"))
        check_int("--num", num, 2)
        check_int("--seed", seed, 0, 2**32 - 1)
        check_int("--repeats", repeats, 1)
        check_int("--batch", batch, 1)
        check_int("--standing-stats", standing_stats, 0)
        plugins.allow(FEATURES.references(features))
        norms = (norm,) if isinstance(norm, str) else tuple(norm)
        if features_weights is not None and inception_weights is not None:
            raise UsageError("--inception-weights: is the former name of --features-weights; give one")
        weights = optional_path(inception_weights if features_weights is None else features_weights)
        extractor = ExtractorOptions(
            features, preprocess, precision, weights, allow_other_weights, batch, device, norms
        )
        options = EvaluationOptions(
            targets=names,
            extractor=extractor,
            data=None if data is None else str(data),
            data_root=optional_path(data_root),
            split=split or "train",
            metrics=_names(metrics),
            held_out=None if held_out is None else str(held_out),
            num=num,
            as_protocol=_names(as_protocol) or (),
            seed=seed,
            repeats=repeats,
            per_class=per_class,
            ref=optional_path(ref),
            ema=ema,
            standing_stats=standing_stats,
            mixed_protocols=mixed_protocols,
            skip_bad_images=skip_bad_images,
            network=(network,) if isinstance(network, str) else tuple(network),
        )
        require_no_contradiction(options, split=split)
        if out is None:
            record, folder = evaluator.score_targets(options), None
            if is_shown():
                print_report(pages.evaluation_report(record, Path()))
        else:
            record, error, folder = evaluator.evaluate(options, Path(out), overwrite=overwrite)
            print_report(pages.write_evaluation_report(folder))
            say(f"wrote {folder / 'report.html'}, report.md and report.json", link=folder / "report.html")
            if error:
                raise error
    return ScoreReport(tuple(map(_target_scores, record["results"])), record, folder, tuple(messages))


def _names(given: str | Sequence[str] | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    names = given.split(",") if isinstance(given, str) else given
    return tuple(dict.fromkeys(name.strip() for name in names))


def _target_scores(result: Mapping[str, Any]) -> TargetScores:
    """The scores of one result in report.json."""
    return TargetScores(
        name=result["name"],
        path=Path(result["path"]),
        step=result.get("step"),
        scores={key: result[key] for key in _KEYS if key in result},
        protocol=Protocol.from_json(result["protocol"]),
        warnings=(*result["warnings"], *result.get("class_warnings", ())),
        fid_draws=tuple(result.get("repeats", {}).get("fid", ())),
        classes=tuple(ClassScores(**row) for row in result.get("classes", ())),
        as_protocol=result.get("named_protocol"),
    )
