"""Images in, scores and their protocol out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gan.distributed import collectives, process_group
from gan.errors import UsageError, UserError
from gan.metrics.extractor import Extractor
from gan.metrics.feature_pass import FeatureStatistics, ImageStream, content_hash, extract_features, require_two_images
from gan.metrics.frechet import count_warning, covariance_factor, frechet_distance
from gan.metrics.inception_score import InceptionScore
from gan.metrics.kid import kernel_distance
from gan.metrics.precision_recall import precision_recall
from gan.metrics.protocol import Protocol
from gan.metrics.reference import Reference, cache_reference, load_cached_reference, reference_cache_path
from gan.utils.progress import progress

METRICS = ("fid", "is", "kid", "pr")
"""Fréchet distance, Inception score, kernel distance, precision and recall."""

IS_SPLITS = 10
KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000
NEIGHBOURS = 3

_IS_SPLIT, _IS_PER_CLASS = 500, 10  # images of a split, and for each class, from which on it is not warned

_REAL = {"fid", "kid", "pr"}  # need a reference
_PAIRS = {"kid", "pr"}  # need the features themselves, of both sides


def measure_reference(
    real: ImageStream, extractor: Extractor, metrics: Sequence[str] = ("fid",), *, cache: bool = True
) -> Reference:
    """The real side of `score`: measure it once, hold many sets against it.

    Several ranks call it together; the features themselves stay with rank 0.

    Args:
        metrics: what it will serve for; KID and precision and recall need the features of every image, which are not
            cached.
        cache: look for statistics of the same pixels in the cache, and leave them there.

    Raises:
        UsageError: no such metric.
        UserError: the images cannot be scored.
    """
    _check_metrics(metrics)
    require_two_images(real)
    keep = bool(_PAIRS & set(metrics))
    if cache and not keep:
        path = reference_cache_path(content_hash(real), real.count, extractor)
        found = collectives.on_rank0(lambda: load_cached_reference(path, real.name, real.split, extractor))
        if found is not None:
            return found
    seen = extract_features(real, extractor, keep_features=keep)
    reference = collectives.on_rank0(lambda: _statistics(real, extractor, seen))
    if cache and process_group.is_rank0():
        cache_reference(reference_cache_path(seen.content, real.count, extractor), reference)
    return replace(reference, features=seen.features)


def _statistics(real: ImageStream, extractor: Extractor, seen: FeatureStatistics) -> Reference:
    return Reference(
        name=real.name,
        mean=seen.moments.mean,
        covariance=seen.moments.covariance,
        content=seen.content,
        count=real.count,
        split=real.split,
        resolution=seen.resolution,
        protocol=extractor.protocol,
    )


def score(
    generated: ImageStream,
    real: ImageStream | Reference | None,
    extractor: Extractor,
    metrics: Sequence[str] = ("fid", "is"),
    *,
    seed: int = 0,
    ema: bool | None = None,
    cache: bool = True,
) -> dict[str, Any]:
    """Score generated images. Several ranks call it together, and rank 0 gets the scores.

    Args:
        generated: the images to be scored.
        real: what they are held against; None will do for the Inception score alone.
        metrics: names in METRICS.
        seed: of the Inception score's splits and KID's subsets.
        ema: whether the images are of a generator's averaged weights; None if not known. It goes into the protocol.
        cache: whether statistics of the real images are cached.

    Returns:
        A dict fit for JSON: `name`; of what was asked for `fid`, `inception_score` and `inception_score_std`, `kid` and
        `kid_std`, `precision` and `recall`; `seconds` and `images_per_second` of the pass over the generated images;
        `warnings`, a list of lines; `protocol`, for `Protocol.from_json`. Nothing on ranks other than 0.

    Raises:
        UsageError: no such metric, or one that needs real images where there are none.
        UserError: images or reference cannot be used.
    """
    _check(generated, real, metrics)
    if not _REAL & set(metrics):
        real = None
    if isinstance(real, ImageStream):
        real = measure_reference(real, extractor, metrics, cache=cache)
    if real is not None:
        real.check(extractor)

    inception = None
    if "is" in metrics:
        inception = InceptionScore(generated.count, extractor.classes, splits=IS_SPLITS, seed=seed)
    began = time.monotonic()
    seen = extract_features(
        generated,
        extractor,
        keep_features=bool(_PAIRS & set(metrics)),
        inception_score=inception,
        like=(real.resolution, real.name) if real else (None, ""),
    )
    seconds = time.monotonic() - began
    if not process_group.is_rank0():
        return {}

    result: dict[str, Any] = {"name": generated.name}
    protocol = replace(
        extractor.protocol, generated_count=generated.count, resolution=seen.resolution, ema=ema, seed=seed
    )
    if inception is not None:
        result["inception_score"], result["inception_score_std"] = inception.result()
        protocol = replace(protocol, is_splits=IS_SPLITS)
    warnings = _warnings_of_images(generated.count, extractor, metrics)
    if real is not None:
        warnings += _warnings(real, generated.count, extractor, metrics)
        scores, protocol = _against(real, seen, metrics, seed, protocol)
        result |= scores
    result["seconds"] = seconds
    result["images_per_second"] = generated.count / seconds
    result["warnings"] = warnings
    result["protocol"] = protocol.to_json()
    return result


def _against(
    real: Reference, seen: FeatureStatistics, metrics: Sequence[str], seed: int, protocol: Protocol
) -> tuple[dict[str, float], Protocol]:
    """The scores that need a reference, and the protocol with what they were made with."""
    scores: dict[str, float] = {}
    protocol = replace(
        protocol,
        reference=real.name,
        reference_content=real.content,
        reference_split=real.split,
        reference_count=real.count,
    )
    if "fid" in metrics:
        factor = covariance_factor(seen.moments.covariance)
        scores["fid"] = frechet_distance(real.mean, real.factor, seen.moments.mean, factor)
    if real.features is None or seen.features is None:
        return scores, protocol
    device = "cuda" if protocol.device == "cuda" else "cpu"  # other accelerators have no float64
    if "kid" in metrics:
        size = min(KID_SUBSET_SIZE, len(real.features), len(seen.features))
        subsets = 1 if size == len(real.features) == len(seen.features) else KID_SUBSETS  # or all would be the same
        with progress("KID", subsets, "subsets") as advance:
            scores["kid"], scores["kid_std"] = kernel_distance(
                real.features,
                seen.features,
                subsets=subsets,
                subset_size=size,
                seed=seed,
                device=device,
                advance=advance,
            )
        protocol = replace(protocol, kid_subsets=subsets, kid_subset_size=size)
    if "pr" in metrics:
        with progress("precision and recall", 2 * len(real.features) + len(seen.features), "rows") as advance:
            scores["precision"], scores["recall"] = precision_recall(
                real.features,
                seen.features,
                neighbours=NEIGHBOURS,
                device=device,
                advance=advance,
                real_radii=real.radii(NEIGHBOURS, device, advance),
            )
        protocol = replace(protocol, neighbours=NEIGHBOURS)
    return scores, protocol


def _warnings(real: Reference, count: int, extractor: Extractor, metrics: Sequence[str]) -> list[str]:
    fewest = min(count, real.count or count)
    lines = []
    if real.protocol is None:
        lines.append(
            f"{real.name} is from another program: preprocessing unknown, so its images may have looked unlike"
        )
    if "fid" in metrics:
        lines += [line for line in (count_warning(fewest, extractor.dimension),) if line]
    if "kid" in metrics and fewest < KID_SUBSET_SIZE:
        lines.append(f"KID over subsets of {fewest} images: there are too few for the usual {KID_SUBSET_SIZE:,}")
    elif "kid" in metrics and fewest < 2 * KID_SUBSET_SIZE:
        lines.append(
            f"KID's ± comes out too small: its subsets, {KID_SUBSET_SIZE:,} of {fewest:,} images, are much alike"
        )
    return lines


def _warnings_of_images(count: int, extractor: Extractor, metrics: Sequence[str]) -> list[str]:
    """What scores lack, whatever they are held against."""
    lines = []
    if "is" in metrics and count < IS_SPLITS * min(_IS_SPLIT, _IS_PER_CLASS * extractor.classes):
        lines.append(
            f"Inception score of {count:,} images misleads: each of its {IS_SPLITS} splits has {count // IS_SPLITS:,}, "
            "too few to tell how the classes are spread, and it comes out too small; compare equal numbers only"
        )
    if extractor.protocol.precision == "bf16":
        lines.append("scored in bf16: these scores compare with others in bf16 only")
    return lines


def _check(generated: ImageStream, real: ImageStream | Reference | None, metrics: Sequence[str]) -> None:
    """All that can be refused before any image is looked at."""
    _check_metrics(metrics)
    require_two_images(generated)
    if real is None and _REAL & set(metrics):
        raise UsageError(f"--metrics {','.join(metrics)}: needs real images to hold {generated.name} against (--data)")
    if isinstance(real, Reference) and real.features is None and _PAIRS & set(metrics):
        raise UsageError(
            f"--metrics {','.join(metrics)}: kid and pr need the real images, {real.name} holds statistics only"
        )
    if "is" in metrics and generated.count < IS_SPLITS:
        raise UserError(f"{generated.name}: {generated.count} images; the Inception score needs at least {IS_SPLITS}")
    counts = [generated.count] + ([real.count] if real is not None and real.count else [])
    if "pr" in metrics and min(counts) <= NEIGHBOURS:
        raise UserError(
            f"{generated.name}: precision and recall need more than {NEIGHBOURS} images of either kind, "
            f"there are {min(counts)}"
        )


def _check_metrics(metrics: Sequence[str]) -> None:
    unknown = [name for name in metrics if name not in METRICS]
    if unknown or not metrics:
        raise UsageError(f"--metrics {','.join(unknown) or '(none)'}: no such metric; there are {', '.join(METRICS)}")
