"""The measurement protocol of a score, and the check that two protocols are comparable"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from gan import __version__
from gan.errors import UserError
from gan.utils.environment import package_versions

SCORING_VERSION = 1  # incremented when a change in this package changes numbers; invalidates cached statistics

_LABELS = {
    "preprocess": "preprocessing",
    "quantisation": "image rounding",
    "engine": "scoring versions",
    "reference_content": "reference images",
    "generated_count": "image counts",
    "ema": "EMA",
    "standing_stats": "numbers of batches behind standing statistics",
    "is_splits": "Inception score splits",
    "kid_subsets": "KID subsets",
    "kid_subset_size": "KID subset sizes",
    "fid_infinity_subsets": "subsets of FID∞",
    "neighbours": "k of precision and recall",
    "density_neighbours": "k of density and coverage",
    "held_out_content": "held-out images",
    "held_out_count": "held-out counts",
    "ct_cells": "cells of C_T",
}
"""Names of fields in messages; those of other fields are formed from the field's name."""


@dataclass(frozen=True)
class Protocol:
    """Measurement conditions of features, or of scores computed from them. None: unknown, or not used in this score."""

    extractor: str
    """Name in EXTRACTORS."""
    weights: str
    """SHA-256 of the network's weights, hex."""
    layer: str
    """The layers that give the features and the logits."""
    preprocess: str
    """Rule for resizing and scaling images for the network."""
    precision: str
    """`fp32` or `bf16`."""
    quantisation: str = "uint8 RGB"
    """Rounding of images before feature extraction."""
    engine: int = SCORING_VERSION
    """Version of this package's arithmetic."""

    reference_content: str | None = None
    """Hash of the reference images' pixels, independent of their order, or of the npz file."""
    reference_split: str | None = None
    """Split of the reference set."""
    reference_count: int | None = None
    """Number of reference images."""
    generated_count: int | None = None
    """Number of scored images."""
    resolution: str | None = None
    """Width x height of the images, such as `32x32`."""
    ema: bool | None = None
    """True for the EMA generator, False for the trained one; None for images from files."""
    standing_stats: int | None = None
    """Batches of latents behind the statistics of the generator's batch norms; 0: as trained; None: unknown."""
    is_splits: int | None = None
    fid_infinity_subsets: int | None = None
    """Number of subsets whose FIDs are extrapolated to FID∞."""
    kid_subsets: int | None = None
    kid_subset_size: int | None = None
    neighbours: int | None = None
    """The k of precision and recall."""
    density_neighbours: int | None = None
    """The k of density and coverage."""
    held_out_content: str | None = None
    """Hash of the held-out images of C_T, like `reference_content`."""
    held_out_count: int | None = None
    ct_cells: int | None = None
    """Number of k-means cells of C_T."""

    extractor_accuracy: str | None = None
    """How good the extractor is as a classifier, and the images that it was trained and tested on."""
    reference: str | None = None
    held_out: str | None = None
    """Name of the held-out images."""
    seed: int | None = None
    """Of the Inception score's splits, the subsets of KID and FID∞, the images
    shown by `copies`, and the random part of a set."""
    batch_size: int | None = None
    device: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    """Of Python, torch, torchvision and pytorch-fid."""

    def to_json(self) -> dict[str, Any]:
        """A dict fit for JSON; `from_json` reads it back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Protocol:
        """Read the dict of `to_json`; unknown fields, of other versions of the program, are ignored.

        Raises:
            TypeError: a field is missing.
        """
        known = {item.name for item in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in record.items() if name in known})


# These may differ between compared scores.
_RECORDED_ONLY = ("extractor_accuracy", "reference", "held_out", "seed", "batch_size", "device", "versions")
COMPARED_FIELDS = tuple(item.name for item in dataclasses.fields(Protocol) if item.name not in _RECORDED_ONLY)
FEATURE_FIELDS = ("extractor", "weights", "layer", "preprocess", "precision", "quantisation", "engine")
"""The fields that features and their statistics depend on."""


def protocol_differences(first: Protocol, second: Protocol, fields: tuple[str, ...] = COMPARED_FIELDS) -> list[str]:
    """The fields that differ, each as `image counts: 200 and 20`; fields that are None in either are ignored."""
    differences = []
    for name in fields:
        a, b = getattr(first, name), getattr(second, name)
        if a is not None and b is not None and a != b:
            label = _LABELS.get(name) or name.replace("_", " ").removesuffix("s") + "s"
            a, b = (value[:12] if len(value) == 64 else value for value in (str(a), str(b)))  # hashes by their start
            programs = [protocol.versions.get("msn-gan") for protocol in (first, second)] if name == "engine" else []
            differences.append(f"{label}: {a} and {b}" + _programs(programs))
    return differences


def require_same_protocol(
    first: Protocol, second: Protocol, names: tuple[str, str], fields: tuple[str, ...] = COMPARED_FIELDS, hint: str = ""
) -> None:
    """Raise a UserError that names every field in which two protocols differ, and ends with a hint."""
    if differences := protocol_differences(first, second, fields):
        text = f"{names[0]} and {names[1]} cannot be compared: {'; '.join(f'different {line}' for line in differences)}"
        raise UserError(f"{text}; {hint}" if hint else text)


def feature_versions() -> dict[str, str]:
    """Versions of the program and of the packages that features depend on."""
    return {"msn-gan": __version__, **package_versions("torch", "torchvision", "pytorch-fid")}


def _programs(versions: list[str | None]) -> str:
    """The versions of the program in words, if they differ: ` (msn-gan 0.3.0 and 0.1.0)`."""
    return f" (msn-gan {' and '.join(version or 'unknown' for version in versions)})" if len(set(versions)) > 1 else ""
