"""Compute scores of generated images, with their protocol"""

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from gan.distributed import collectives, process_group
from gan.metrics import fid_infinity
from gan.metrics.copies import HeldOut, copy_facts, copy_scores
from gan.metrics.extractor import Extractor
from gan.metrics.feature_pass import FeatureStatistics, ImageStream, content_hash, extract_features
from gan.metrics.frechet import covariance_factor, frechet_distance
from gan.metrics.inception_score import InceptionScore
from gan.metrics.kid import kernel_distance
from gan.metrics.per_class import ClassLabels, class_scores, class_warnings
from gan.metrics.precision_recall import DENSITY_NEIGHBOURS, NEIGHBOURS, manifold_scores
from gan.metrics.reference import Reference, cache_reference, load_cached_reference, reference_cache_path
from gan.metrics.score_checks import (
    IS_SPLITS,
    KID_SUBSET_SIZE,
    NEED_GENERATED_FEATURES,
    NEED_REFERENCE,
    check_inputs,
    require_enough_images,
    require_logits,
    score_warnings,
)
from gan.metrics.score_table import NEED_REAL_FEATURES, require_known_metrics
from gan.utils.progress import progress, working

KID_SUBSETS = 100


def measure_reference(
    real: ImageStream,
    extractor: Extractor,
    metrics: Sequence[str] = ("fid",),
    *,
    keep_features: bool = False,
    cache: bool = True,
) -> Reference:
    """Measure the reference of `score`, once for many sets of generated images.

    Several ranks call it together; only rank 0 gets the features themselves.

    Args:
        metrics: the metrics that it is for; kid, pr and copies need the features of every image, which are not cached.
        keep_features: keep the features of every image for any metrics, as scores of each class need them.
        cache: read statistics of the same pixels from the cache, or write them to it.

    Raises:
        UsageError: no such metric.
        UserError: the images cannot be scored.
    """
    require_known_metrics(metrics)
    require_enough_images(real.name, real.count, ())
    keep_features = keep_features or bool(NEED_REAL_FEATURES & set(metrics))
    if cache and not keep_features:
        path = reference_cache_path(content_hash(real), real.count, extractor)
        cached = collectives.on_rank0(lambda: load_cached_reference(path, real.name, real.split, extractor))
        if cached is not None:
            return cached
    statistics = extract_features(real, extractor, keep_features=keep_features)
    reference = collectives.on_rank0(
        lambda: Reference(
            name=real.name,
            mean=statistics.moments.mean,
            covariance=statistics.moments.covariance,
            content=statistics.content,
            count=real.count,
            split=real.split,
            resolution=statistics.resolution,
            protocol=extractor.protocol,
        )
    )
    if cache and process_group.is_rank0():
        cache_reference(reference_cache_path(statistics.content, real.count, extractor), reference)
    return replace(reference, features=statistics.features)


def score(
    generated: ImageStream,
    real: ImageStream | Reference | None,
    extractor: Extractor,
    metrics: Sequence[str] = ("fid", "is"),
    *,
    seed: int = 0,
    ema: bool | None = None,
    labels: ClassLabels | None = None,
    is_splits: int = IS_SPLITS,
    cache: bool = True,
    held_out: HeldOut | None = None,
) -> dict[str, Any]:
    """Score generated images. Several ranks call it together, and rank 0 gets the scores.

    Args:
        generated: the images to score.
        real: the real images or their statistics; may be None for the Inception score alone.
        metrics: names in METRICS.
        seed: of the Inception score's splits, KID's subsets, and the images shown by `copies`.
        ema: True if the generator has EMA weights; None if unknown. It is recorded in the protocol.
        labels: classes of the real and of the generated images, to score each class too, from the features of the same
            pass. A `Reference` must then have features.
        is_splits: number of splits of the Inception score; its standard deviation over one split is 0.
        cache: cache the statistics of the real images.
        held_out: real images that were not trained on, for the C_T of `copies`.

    Returns:
        A dict fit for JSON: `name`; for the given metrics `fid`, `fid_infinity` and `fid_infinity_interval`,
        `inception_score` and `inception_score_std`, `kid` and `kid_std`, `precision`, `recall`, `density` and
        `coverage`, and those of `copy_scores`; with `labels` also
        `classes`, a list with the fields of `ClassScores` of each class, and `class_warnings`, a list of lines;
        `seconds` and `images_per_second` of the pass over the generated images; `warnings`, a list of lines;
        `protocol`, for `Protocol.from_json`. It is empty on ranks other than 0.

    Raises:
        UsageError: no such metric, or real images are needed but not given.
        UserError: images or reference cannot be used.
    """
    check_inputs(generated, real, metrics, labels)
    require_logits(metrics, extractor)
    if not NEED_REFERENCE & set(metrics):
        real = None
    if isinstance(real, ImageStream):
        real = measure_reference(real, extractor, metrics, keep_features=labels is not None, cache=cache)
    if real is not None:
        real.check(extractor)

    inception = None
    if "is" in metrics:
        inception = InceptionScore(generated.count, extractor.classes, splits=is_splits, seed=seed)
    start = time.perf_counter()  # unlike time.monotonic, never equal after work
    statistics = extract_features(
        generated,
        extractor,
        keep_features=labels is not None or bool(NEED_GENERATED_FEATURES & set(metrics)),
        inception_score=inception,
        required_size=(real.resolution, real.name) if real else (None, ""),
    )
    seconds = time.perf_counter() - start
    if not process_group.is_rank0():
        return {}

    result: dict[str, Any] = {"name": generated.name}
    facts: dict[str, Any] = {**generated.protocol, "generated_count": generated.count, "ema": ema, "seed": seed}
    facts["resolution"] = statistics.resolution
    if inception is not None:
        result["inception_score"], result["inception_score_std"] = inception.result()
        facts["is_splits"] = is_splits
    if real is not None:
        result |= _reference_scores(real, statistics, extractor, metrics, seed, facts, held_out)
        if labels is not None:
            result |= _class_scores(real, statistics, labels, extractor, metrics)
    result["seconds"] = seconds
    result["images_per_second"] = generated.count / seconds
    result["warnings"] = score_warnings(real, generated.count, extractor, metrics, is_splits)
    if held_out is not None and "copies" in metrics:
        result["warnings"] += held_out.warnings()
    result["protocol"] = replace(extractor.protocol, **facts).to_json()
    return result


def _reference_scores(
    real: Reference,
    generated: FeatureStatistics,
    extractor: Extractor,
    metrics: Sequence[str],
    seed: int,
    facts: dict[str, Any],
    held_out: HeldOut | None,
) -> dict[str, Any]:
    """The scores that need a reference; adds the fields of their protocol to `facts`."""
    scores: dict[str, Any] = {}
    facts["reference"] = real.name
    facts |= {f"reference_{name}": getattr(real, name) for name in ("content", "split", "count")}
    if "fid" in metrics:
        with working("FID"):
            factor = covariance_factor(generated.moments.covariance)
            scores["fid"] = frechet_distance(real.mean, real.factor, generated.moments.mean, factor)
    if "fid-infinity" in metrics:
        assert generated.features is not None
        facts |= {"fid_infinity_subsets": fid_infinity.SUBSETS}
        with progress("FID∞", fid_infinity.SUBSETS, "subset") as advance:
            found = fid_infinity.fid_infinity(real.mean, real.factor, generated.features, seed=seed, advance=advance)
        scores |= {"fid_infinity": found.fid, "fid_infinity_interval": found.interval}
    if real.features is None or generated.features is None:
        return scores
    device = _float64_device(extractor)
    if "kid" in metrics:
        size = min(KID_SUBSET_SIZE, len(real.features), len(generated.features))
        # Subsets of all images would be equal to each other.
        subsets = 1 if size == len(real.features) == len(generated.features) else KID_SUBSETS
        facts |= {"kid_subsets": subsets, "kid_subset_size": size}
        with progress("KID", subsets, "subset") as advance:
            scores["kid"], scores["kid_std"] = kernel_distance(
                real.features, generated.features, subsets, size, seed=seed, device=device, advance=advance
            )
    if "pr" in metrics:
        facts |= {"neighbours": NEIGHBOURS, "density_neighbours": DENSITY_NEIGHBOURS}
        with progress("precision and recall", 2 * len(real.features) + len(generated.features), "row") as advance:
            nearest = real.nearest_distances(device, advance)
            manifold = manifold_scores(
                real.features, generated.features, device=device, advance=advance, real_nearest=nearest
            )
        scores |= manifold._asdict()
    if "copies" in metrics:
        facts |= copy_facts(held_out)
        scores |= copy_scores(real, generated.features, held_out, seed=seed, device=device)
    return scores


def _class_scores(
    real: Reference, generated: FeatureStatistics, labels: ClassLabels, extractor: Extractor, metrics: Sequence[str]
) -> dict[str, Any]:
    """The scores of each class that need a reference, and warnings about them."""
    assert real.features is not None and generated.features is not None
    with progress("scores of each class", len(labels.classes), "class") as advance:
        scores = class_scores(
            real.features,
            generated.features,
            labels,
            metrics,
            neighbours=NEIGHBOURS,
            device=_float64_device(extractor),
            advance=advance,
        )
    warnings = class_warnings(scores, extractor.dimension, metrics, NEIGHBOURS)
    return {"classes": [asdict(row) for row in scores], "class_warnings": warnings}


def _float64_device(extractor: Extractor) -> str:
    """The device for distances: that of the extractor if it supports float64."""
    return "cuda" if extractor.protocol.device == "cuda" else "cpu"  # other accelerators have no float64
