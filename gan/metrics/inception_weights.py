"""Locate, download and check the file of Inception weights"""

import hashlib
import os
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import torch
from pytorch_fid.inception import FID_WEIGHTS_URL

from gan.errors import UserError
from gan.utils.files import atomic_write
from gan.utils.progress import progress

SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
BYTES = 95_628_359
FILE_NAME = FID_WEIGHTS_URL.rsplit("/", 1)[-1]
VARIABLE = "MSN_GAN_INCEPTION"

_TIMEOUT = 20.0  # seconds without a response
_CHUNK = 1 << 20


class NoWeights(UserError):
    """There is no file of Inception weights."""


@dataclass(frozen=True)
class WeightsFile:
    """A weights file and its SHA-256."""

    path: Path
    sha256: str


def locate_inception_weights(path: Path | None = None, *, allow_other_weights: bool = False) -> WeightsFile:
    """Return the Inception weights, checked, and downloaded if necessary. Call it before long work.

    Search order: `path` (the flag `--inception-weights`), the environment variable MSN_GAN_INCEPTION, torch's hub
    cache, pytorch-fid's URL. A download goes to the hub cache, which pytorch-fid reads too.

    Args:
        path: the file that the user named.
        allow_other_weights: accept a named file that is not the published one.

    Raises:
        NoWeights: there is no such file, or it cannot be downloaded; the message says where to get it and where to put
            it.
        UserError: its hash is wrong.
    """
    named, flag = path, "--inception-weights"
    if named is None and os.environ.get(VARIABLE):
        named, flag = Path(os.environ[VARIABLE]), VARIABLE
    if named is not None:
        if not named.is_file():
            raise NoWeights(f"{flag} {named}: no such file; get it from {FID_WEIGHTS_URL}")
        return _checked(named, allow_other_weights, "give the published file")
    cached = Path(torch.hub.get_dir()) / "checkpoints" / FILE_NAME
    if not cached.is_file():
        _download(cached)
    return _checked(cached, False, "delete it to download it again")


def _checked(path: Path, allow_other_weights: bool, advice: str) -> WeightsFile:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != SHA256 and not allow_other_weights:
        raise UserError(
            f"{path}: not the published Inception weights: SHA-256 {sha256[:12]}... of {len(content):,} bytes "
            f"instead of {SHA256[:12]}... of {BYTES:,}; {advice} ({FID_WEIGHTS_URL})"
        )
    return WeightsFile(path, sha256)


def _download(target: Path) -> None:
    """Download the published file atomically."""
    # torch.hub.download_url_to_file has no timeout, and hangs if a network drops packets.
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            urllib.request.urlopen(FID_WEIGHTS_URL, timeout=_TIMEOUT) as response,
            atomic_write(target) as file,
            progress("downloading Inception weights", BYTES, "byte") as advance,
        ):
            sha256 = hashlib.sha256()
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                sha256.update(chunk)
                advance(len(chunk))
            if sha256.hexdigest() != SHA256:
                raise UserError(f"{FID_WEIGHTS_URL}: the download is not the Inception weights; try again later")
    except OSError as error:
        raise NoWeights(
            f"the Inception weights cannot be downloaded ({getattr(error, 'reason', None) or error}): download "
            f"{FID_WEIGHTS_URL} on a machine with a network, and copy it to {target} or set {VARIABLE}=FILE"
        ) from error
