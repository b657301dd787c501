"""Statistics of a reference set: kept in pytorch-fid's npz form, cached, and checked before they are used."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gan.errors import UserError
from gan.metrics.extractor import Extractor
from gan.metrics.frechet import covariance_factor
from gan.metrics.precision_recall import radii
from gan.metrics.protocol import FEATURE_FIELDS, Protocol, require_same_protocol
from gan.utils import files
from gan.utils.files import atomic_write
from gan.utils.progress import say

_RECORD = "msn_gan"  # our own entry of the npz
_ASYMMETRY = 1e-6  # of the largest entry: what saving as float32 may do


@dataclass(frozen=True, eq=False)
class Reference:
    """The real side of a score: mean (D,) and covariance (D, D), float64, of the features of real images."""

    name: str
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    content: str
    """Hash of the images' pixels, whatever their order; of the file, if another program made it."""
    count: int | None = None
    split: str | None = None
    resolution: str | None = None
    """Width x height of the images."""
    protocol: Protocol | None = None
    """How the features were made; None if another program made the file: then nobody knows the preprocessing."""
    features: NDArray[np.float32] | None = None
    """The features (N, D) themselves, where KID or precision and recall are wanted."""
    _radii: dict[int, Tensor] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def factor(self) -> NDArray[np.float64]:
        """The covariance's factor, computed once however many sets are held against this one."""
        return covariance_factor(self.covariance)

    def require_factor(self) -> None:
        """Find out, before hours of work, whether the covariance is one.

        Raises:
            UserError: it is not.
        """
        try:
            _ = self.factor
        except ValueError as error:
            raise UserError(f"{self.name}: `sigma` is no covariance ({error}); make the statistics again") from error

    def radii(
        self, neighbours: int, device: str = "cpu", advance: Callable[[int], object] = lambda count: None
    ) -> Tensor:
        """`precision_recall.radii` of the features, which there are; computed once, as the factor is."""
        if neighbours in self._radii:
            advance(len(self._radii[neighbours]))
        else:
            assert self.features is not None
            self._radii[neighbours] = radii(self.features, neighbours, device=device, advance=advance)
        return self._radii[neighbours]

    def check(self, extractor: Extractor) -> None:
        """Let it pass if it may be held against features of this network.

        Raises:
            UserError: it is of another network or dimension, or the images were looked at in another way.
        """
        if self.protocol is not None:
            hint = "make statistics of these settings with `msn-gan data stats`"
            require_same_protocol(
                self.protocol, extractor.protocol, (self.name, "the images to be scored"), FEATURE_FIELDS, hint
            )
        if len(self.mean) != extractor.dimension:
            raise UserError(
                f"{self.name}: statistics of {len(self.mean)} features, but {extractor.name} has {extractor.dimension}"
            )


def save_statistics(path: Path, reference: Reference) -> None:
    """Write a reference as npz: `mu` and `sigma`, which pytorch-fid reads, `n`, and our own record. All or nothing.

    Raises:
        OSError: it cannot be written.
    """
    record = {
        "name": reference.name,
        "content": reference.content,
        "split": reference.split,
        "resolution": reference.resolution,
        "protocol": reference.protocol.to_json() if reference.protocol else None,
    }
    entries: dict[str, Any] = {"mu": reference.mean, "sigma": reference.covariance, _RECORD: json.dumps(record)}
    if reference.count is not None:
        entries["n"] = reference.count
    with atomic_write(path) as file:
        np.savez(file, **entries)


def load_statistics(path: Path) -> Reference:
    """Read and check an npz of `save_statistics`, or of pytorch-fid and the many programs that write its form.

    Raises:
        UserError: it is no such file, or its numbers cannot be a mean and a covariance.
    """
    try:
        content = path.read_bytes()
        with np.load(path, allow_pickle=False) as entries:
            missing = [key for key in ("mu", "sigma") if key not in entries]
            if missing:
                held = ", ".join(entries.files) or "nothing"
                raise UserError(f"{path}: no reference statistics: `{missing[0]}` is missing, it holds {held}")
            mean = np.asarray(entries["mu"], dtype=np.float64)
            covariance = np.asarray(entries["sigma"], dtype=np.float64)
            count = int(entries["n"]) if "n" in entries else None
            record = json.loads(str(entries[_RECORD])) if _RECORD in entries else {}
        protocol = Protocol.from_json(record["protocol"]) if record.get("protocol") else None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: no reference statistics, or damaged ({error})") from error
    _check_numbers(path, mean, covariance, count)
    return Reference(
        name=str(path),
        mean=mean,
        covariance=covariance,
        content=record.get("content") or hashlib.sha256(content).hexdigest(),
        count=count,
        split=record.get("split"),
        resolution=record.get("resolution"),
        protocol=protocol,
    )


def reference_cache_folder() -> Path:
    """Where statistics are cached."""
    return files.cache_folder("reference")


def reference_cache_path(content: str, count: int, extractor: Extractor) -> Path:
    """The cache file for a set's pixels, their number, and all that features depend on."""
    key = [content, count, *(getattr(extractor.protocol, name) for name in FEATURE_FIELDS)]
    return reference_cache_folder() / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]}.npz"


def load_cached_reference(path: Path, name: str, split: str | None, extractor: Extractor) -> Reference | None:
    """The cached statistics under the name of the set that is being scored now, or None when there are none.

    A damaged file, or one that was put under a name not its own, is told of and passed over; it is replaced in the end.
    """
    if not path.is_file():
        return None
    try:
        found = load_statistics(path)
        found.check(extractor)
        if found.protocol is None or reference_cache_path(found.content, found.count or 0, extractor) != path:
            raise UserError(f"{path}: not what its name says")
    except UserError as error:
        say(f"cached statistics are not used, and computed again: {error}")
        return None
    return replace(found, name=name, split=split)


def cache_reference(path: Path, reference: Reference) -> None:
    """Keep statistics for later; where that cannot be, say so and go on."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_statistics(path, reference)
    except OSError as error:
        say(f"{path.parent}: statistics cannot be cached here ({error.strerror or error}); set MSN_GAN_CACHE")


def _check_numbers(path: Path, mean: NDArray[np.float64], covariance: NDArray[np.float64], count: int | None) -> None:
    if mean.ndim != 1 or not len(mean) or covariance.shape != (len(mean), len(mean)):
        raise UserError(
            f"{path}: a mean of shape {mean.shape} and a covariance of shape {covariance.shape} do not belong together"
        )
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise UserError(f"{path}: the statistics hold values that are not finite; make them again")
    if np.abs(covariance - covariance.T).max() > _ASYMMETRY * np.abs(covariance).max():
        raise UserError(f"{path}: `sigma` is not symmetric, so it is no covariance")
    if (np.diagonal(covariance) < 0).any():
        raise UserError(f"{path}: `sigma` has negative variances, so it is no covariance")
    if count is not None and count < 2:
        raise UserError(f"{path}: statistics of {count} images; a covariance needs at least two")
