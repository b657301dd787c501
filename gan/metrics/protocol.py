"""What a score was measured with: the networks' interface, the record, and the refusal of unlike ones."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from gan.errors import UserError
from gan.utils.environment import package_versions

SCORING_VERSION = 1  # raised when a change in this package changes numbers; older cached statistics are then not used


def _noted(default: Any = dataclasses.MISSING, **arguments: Any) -> Any:
    """A field that is kept for the record and may differ between scores that are compared."""
    return field(default=default, metadata={"compared": False}, **arguments)


@dataclass(frozen=True)
class Protocol:
    """How features, or scores made of them, came about. None: not known, or not used in this score."""

    extractor: str
    """Name in EXTRACTORS."""
    weights: str
    """SHA-256 of the network's weights, hex."""
    layer: str
    """What the features are, and the logits."""
    preprocess: str
    """How images were resized and scaled for the network."""
    precision: str
    """`fp32` or `bf16`."""
    quantisation: str = "uint8 RGB"
    """What images were rounded to before the network saw them."""
    engine: int = SCORING_VERSION
    """Version of this package's arithmetic."""

    reference_content: str | None = None
    """Hash of the reference images' pixels, whatever their order, or of the npz file."""
    reference_split: str | None = None
    """Which part of the reference set."""
    reference_count: int | None = None
    """Number of reference images."""
    generated_count: int | None = None
    """Number of images scored."""
    resolution: str | None = None
    """Width x height of the images scored."""
    ema: bool | None = None
    """Whether the generator's averaged weights were used; None for images that came as files."""
    is_splits: int | None = None
    kid_subsets: int | None = None
    kid_subset_size: int | None = None
    neighbours: int | None = None
    """The k of precision and recall."""

    reference: str | None = _noted(None)
    seed: int | None = _noted(None)
    """Of the splits of the Inception score, the subsets of KID, and the part of a set that is scored."""
    batch_size: int | None = _noted(None)
    device: str | None = _noted(None)
    versions: dict[str, str] = _noted(default_factory=dict)
    """Of Python, torch, torchvision and pytorch-fid."""

    def to_json(self) -> dict[str, Any]:
        """A dict fit for JSON; `from_json` reads it back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Protocol:
        """Read what `to_json` gave; fields of other versions of the program are passed over.

        Raises:
            TypeError: a field is missing.
        """
        known = {item.name for item in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in record.items() if name in known})


COMPARED_FIELDS = tuple(item.name for item in dataclasses.fields(Protocol) if item.metadata.get("compared", True))
FEATURE_FIELDS = ("extractor", "weights", "layer", "preprocess", "precision", "quantisation", "engine")
"""The fields that features, and statistics of them, depend on."""


def protocol_differences(first: Protocol, second: Protocol, fields: tuple[str, ...] = COMPARED_FIELDS) -> list[str]:
    """The fields that are unlike, each as `name: this against that`; what one does not know, passes."""
    unlike = []
    for name in fields:
        a, b = getattr(first, name), getattr(second, name)
        if a is not None and b is not None and a != b:
            unlike.append(f"{name.replace('_', ' ')}: {_short(a)} against {_short(b)}")
    return unlike


def require_same_protocol(
    first: Protocol, second: Protocol, names: tuple[str, str], fields: tuple[str, ...] = COMPARED_FIELDS, hint: str = ""
) -> None:
    """Let two protocols pass if they are alike.

    Args:
        names: what the two are called in the message.
        hint: what to do, put at its end.

    Raises:
        UserError: they are unlike; names every field that is.
    """
    unlike = protocol_differences(first, second, fields)
    if unlike:
        text = f"{names[0]} and {names[1]} were not measured alike ({'; '.join(unlike)})"
        raise UserError(f"{text}; {hint}" if hint else text)


def feature_versions() -> dict[str, str]:
    """Versions of what features depend on."""
    return package_versions("torch", "torchvision", "pytorch-fid")


def _short(value: object) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 else text  # a hash is told apart by its start
