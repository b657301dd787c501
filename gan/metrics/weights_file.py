"""Locate, download and check a published file of weights"""

import hashlib
import os
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import torch

from gan.errors import UserError
from gan.utils.files import atomic_write
from gan.utils.progress import progress

FLAG = "--features-weights"

_TIMEOUT = 20.0  # seconds without a response
_CHUNK = 1 << 20


class NoWeights(UserError):
    """There is no file of weights."""


@dataclass(frozen=True)
class PublishedWeights:
    """A file of weights that its authors published."""

    network: str
    """Name of the network in messages."""
    url: str
    file_name: str
    """Its name in torch's hub cache."""
    variable: str
    """The environment variable that may name a copy of the file."""
    sha256: str | None
    """Its SHA-256, hex; None: its authors published none, so that any file is accepted here."""
    size: int | None = None
    """Its size in bytes; None: unknown."""


@dataclass(frozen=True)
class WeightsFile:
    """A weights file and its SHA-256."""

    path: Path
    sha256: str


def locate_weights(
    published: PublishedWeights, path: Path | None = None, *, allow_other_weights: bool = False
) -> WeightsFile:
    """Return the file of published weights, checked, and downloaded if necessary. Call it before long work.

    Search order: `path` (the flag `--features-weights`), the environment variable, torch's hub cache, the URL. A
    download goes to the hub cache, which other programs read too.

    Args:
        path: the file that the user named.
        allow_other_weights: accept a named file that is not the published one.

    Raises:
        NoWeights: there is no such file, or it cannot be downloaded; the message says where to get it and where to put
            it.
        UserError: its hash is wrong, or it cannot be read.
    """
    named, flag = path, FLAG
    if named is None and os.environ.get(published.variable):
        named, flag = Path(os.environ[published.variable]), published.variable
    if named is not None:
        if not named.is_file():
            raise NoWeights(f"{flag} {named}: no such file; get it from {published.url}")
        return _checked(published, named, allow_other_weights, "give the published file")
    cached = Path(torch.hub.get_dir()) / "checkpoints" / published.file_name
    if not cached.is_file():
        _download(published, cached)
    return _checked(published, cached, False, "delete it to download it again")


def _checked(published: PublishedWeights, path: Path, allow_other_weights: bool, advice: str) -> WeightsFile:
    sha256, count = hashlib.sha256(), 0
    try:
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                sha256.update(chunk)
                count += len(chunk)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    found = sha256.hexdigest()
    if published.sha256 not in (None, found) and not allow_other_weights:
        size = f" of {published.size:,} bytes" if published.size else ""
        raise UserError(
            f"{path}: not the published {published.network} weights: SHA-256 {found[:12]}... of {count:,} bytes "
            f"instead of {published.sha256[:12]}...{size}; {advice} ({published.url})"
        )
    return WeightsFile(path, found)


def _download(published: PublishedWeights, target: Path) -> None:
    """Download the published file atomically."""
    # torch.hub.download_url_to_file has no timeout, and hangs if a network drops packets.
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(published.url, timeout=_TIMEOUT) as response, atomic_write(target) as file:
            length: int | None = getattr(response, "length", None)  # None if the server does not tell it
            sha256, count = hashlib.sha256(), 0
            total = published.size or length or 0
            with progress(f"downloading {published.network} weights", total, "byte") as advance:
                while chunk := response.read(_CHUNK):
                    file.write(chunk)
                    sha256.update(chunk)
                    count += len(chunk)
                    advance(len(chunk))
            if published.sha256 not in (None, sha256.hexdigest()):
                raise UserError(
                    f"{published.url}: the download is not the {published.network} weights; try again later"
                )
            if length not in (None, count):
                raise UserError(f"{published.url}: the download ended after {count:,} of {length:,} bytes; try again")
    except OSError as error:
        raise NoWeights(
            f"the {published.network} weights cannot be downloaded ({getattr(error, 'reason', None) or error}): "
            f"download {published.url} on a machine with a network, and copy it to {target} or set "
            f"{published.variable}=FILE"
        ) from error
