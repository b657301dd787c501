"""Reference statistics: read and written in pytorch-fid's npz form, cached, and checked"""

import hashlib
import json
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
from gan.metrics.precision_recall import DENSITY_NEIGHBOURS, NEIGHBOURS, nearest_distances
from gan.metrics.protocol import FEATURE_FIELDS, Protocol, feature_versions, require_same_protocol
from gan.utils import files
from gan.utils.counted import counted
from gan.utils.files import atomic_write
from gan.utils.progress import warn
from gan.utils.written_by import written_by

_RECORD = "msn_gan"  # our own entry of the npz
_REMEDY = "compute them again with `msn-gan data stats`"
_ASYMMETRY = 1e-6  # relative to the largest entry; tolerance for statistics saved as float32


@dataclass(frozen=True, eq=False)
class Reference:
    """The real side of a score: mean (D,) and covariance (D, D), float64, of the features of real images."""

    name: str
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    content: str
    """Hash of the images' pixels, independent of their order; of the file, if another program wrote it."""
    count: int | None = None
    split: str | None = None
    resolution: str | None = None
    """Width x height of the images."""
    protocol: Protocol | None = None
    """Protocol of the features; None if another program wrote the file, which does not record it."""
    features: NDArray[np.float32] | None = None
    """The features (N, D), if a metric needs them."""
    _nearest: list[Tensor] = field(default_factory=list, init=False, repr=False)

    @cached_property
    def factor(self) -> NDArray[np.float64]:
        """The covariance's factor, computed once for all sets; a UserError if the covariance cannot be factored."""
        try:
            return covariance_factor(self.covariance)
        except ValueError as error:
            raise UserError(f"{self.name}: `sigma` is not a covariance ({error}); compute it again") from error

    def nearest_distances(self, device: str = "cpu", advance: Callable[[int], object] = lambda count: None) -> Tensor:
        """`precision_recall.nearest_distances` (N, k) of the features, which must be present, for the largest k.

        Computed once, like the factor.
        """
        assert self.features is not None
        if self._nearest:
            advance(len(self.features))
        else:
            count = max(NEIGHBOURS, DENSITY_NEIGHBOURS)
            self._nearest.append(nearest_distances(self.features, count, device=device, advance=advance))
        return self._nearest[0]

    def check(self, extractor: Extractor) -> None:
        """Raise a UserError if it cannot be compared with features of this extractor."""
        if self.protocol is not None:
            names, hint = (self.name, "the images to score"), "compute statistics like these with `msn-gan data stats`"
            require_same_protocol(self.protocol, extractor.protocol, names, FEATURE_FIELDS, hint)
        if len(self.mean) != extractor.dimension:
            raise UserError(
                f"{self.name}: statistics of {len(self.mean)} features, but {extractor.name} has {extractor.dimension}"
            )


def save_statistics(path: Path, reference: Reference) -> None:
    """Write a reference atomically as npz: `mu` and `sigma`, which pytorch-fid reads, `n`, and our own record."""
    record = {name: getattr(reference, name) for name in ("name", "content", "split", "resolution")}
    record["protocol"] = reference.protocol.to_json() if reference.protocol else None
    record["versions"] = feature_versions()
    entries: dict[str, Any] = {"mu": reference.mean, "sigma": reference.covariance, _RECORD: json.dumps(record)}
    if reference.count is not None:
        entries["n"] = reference.count
    with atomic_write(path) as file:
        np.savez(file, **entries)


def load_statistics(path: Path) -> Reference:
    """Read and check an npz of `save_statistics`, of pytorch-fid, or of another program that writes its form.

    Raises:
        UserError: it is not such a file, or its values cannot be a mean and a covariance.
    """
    record: dict[str, Any] = {}
    try:
        content = path.read_bytes()
        with np.load(path, allow_pickle=False) as entries:
            missing = [key for key in ("mu", "sigma") if key not in entries]
            if missing:
                names = ", ".join(entries.files) or "nothing"
                raise UserError(f"{path}: not reference statistics: `{missing[0]}` is missing, it contains {names}")
            mean = np.asarray(entries["mu"], dtype=np.float64)
            covariance = np.asarray(entries["sigma"], dtype=np.float64)
            count = int(entries["n"]) if "n" in entries else None
            record = json.loads(str(entries[_RECORD])) if _RECORD in entries else {}
        protocol = Protocol.from_json(record["protocol"]) if record.get("protocol") else None
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # damaged files raise almost every kind
        program, remedy = (f"; {written_by(record)}", f"; {_REMEDY}") if record else ("", "")
        raise UserError(f"{path}: not reference statistics, or damaged ({error}{program}){remedy}") from error
    if problem := _problem(mean, covariance, count):
        raise UserError(f"{path}: {problem}")
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


def reference_cache_folder() -> Path | None:
    """The folder of cached statistics; None if the user has no home folder."""
    return files.cache_folder("reference")


def reference_cache_path(content: str, count: int, extractor: Extractor) -> Path | None:
    """The cache file for a set's content hash and count, and all fields of the protocol that features depend on.

    None without a cache folder.
    """
    if (folder := reference_cache_folder()) is None:
        return None
    key = [content, count, *(getattr(extractor.protocol, name) for name in FEATURE_FIELDS)]
    return folder / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]}.npz"


def load_cached_reference(path: Path | None, name: str, split: str | None, extractor: Extractor) -> Reference | None:
    """Read cached statistics, renamed to the set that is scored now; None if there are none.

    A damaged or misnamed file is ignored with a message; it is replaced later.
    """
    if path is None or not path.is_file():
        return None
    try:
        cached = load_statistics(path)
        cached.check(extractor)
        if cached.protocol is None or reference_cache_path(cached.content, cached.count or 0, extractor) != path:
            raise UserError(f"{path}: its content does not match its name")
    except UserError as error:
        warn(f"cached statistics are ignored and computed again: {error}")
        return None
    return replace(cached, name=name, split=split)


def cache_reference(path: Path | None, reference: Reference) -> None:
    """Write statistics to the cache; if that fails, print a message and continue."""
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_statistics(path, reference)
    except OSError as error:
        warn(f"{path.parent}: statistics cannot be cached here ({error.strerror or error}); set MSN_GAN_CACHE")


def _problem(mean: NDArray[np.float64], covariance: NDArray[np.float64], count: int | None) -> str | None:
    """The reason why these values cannot be a mean and a covariance, or None."""
    if mean.ndim != 1 or not len(mean) or covariance.shape != (len(mean), len(mean)):
        return f"a mean of shape {mean.shape} and a covariance of shape {covariance.shape} do not match"
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        return "the statistics have values that are not finite; compute them again"
    if np.abs(covariance - covariance.T).max() > _ASYMMETRY * np.abs(covariance).max():
        return "`sigma` is not symmetric, so it is not a covariance"
    if (np.diagonal(covariance) < 0).any():
        return "`sigma` has negative variances, so it is not a covariance"
    if count is not None and count < 2:
        return f"statistics of {counted(count, 'image')}; a covariance needs at least two"
    return None
