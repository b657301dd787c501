"""The file of Inception weights: found, fetched once, and checked before anything is computed with it."""

from __future__ import annotations

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

_TIMEOUT = 20.0  # seconds without an answer
_CHUNK = 1 << 20
_MEANWHILE = "meanwhile --features digits works without it"


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights whose hash is known."""

    path: Path
    sha256: str


def locate_inception_weights(path: Path | None = None, *, allow_other_weights: bool = False) -> WeightsFile:
    """The checked Inception weights, downloaded where need be. Call it before long work.

    Looked for in this order: `path` (the flag `--inception-weights`), the environment variable MSN_GAN_INCEPTION,
    torch's hub cache, pytorch-fid's address; a download goes to the hub cache, where pytorch-fid finds it too.

    Args:
        path: the file, when the user named one.
        allow_other_weights: take a named file even if it is not the published one.

    Raises:
        UserError: there is no such file, its hash is wrong, or it cannot be fetched; the message says where to get it,
            where to put it, and what works meanwhile.
    """
    named, flag = path, "--inception-weights"
    if named is None and os.environ.get(VARIABLE):
        named, flag = Path(os.environ[VARIABLE]), VARIABLE
    if named is not None:
        if not named.is_file():
            raise UserError(f"{flag} {named}: no such file; get it from {FID_WEIGHTS_URL} ({_MEANWHILE})")
        return _checked(named, allow_other_weights, "give the published file")
    cached = _cache_path()
    if not cached.is_file():
        _download(cached)
    return _checked(cached, False, "delete it, and it is fetched anew")


def _cache_path() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / FILE_NAME


def _checked(path: Path, allow_other_weights: bool, advice: str) -> WeightsFile:
    try:
        with open(path, "rb") as file:
            sha256 = hashlib.sha256()
            while chunk := file.read(_CHUNK):
                sha256.update(chunk)
            size = file.tell()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if sha256.hexdigest() != SHA256 and not allow_other_weights:
        raise UserError(
            f"{path}: not the Inception weights that scores are made with: SHA-256 {sha256.hexdigest()[:12]}... of "
            f"{size:,} bytes, {SHA256[:12]}... of {BYTES:,} expected; {advice} ({FID_WEIGHTS_URL})"
        )
    return WeightsFile(path, sha256.hexdigest())


def _download(target: Path) -> None:
    """Fetch the published file; nothing is left of it unless it is whole."""
    # torch.hub.download_url_to_file waits for ever on a network that swallows packets.
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            urllib.request.urlopen(FID_WEIGHTS_URL, timeout=_TIMEOUT) as answer,
            atomic_write(target) as file,
            progress("downloading Inception weights", BYTES, "bytes") as advance,
        ):
            sha256 = hashlib.sha256()
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                sha256.update(chunk)
                advance(len(chunk))
            if sha256.hexdigest() != SHA256:
                raise UserError(f"what came from {FID_WEIGHTS_URL} is not the Inception weights file; try again later")
    except OSError as error:
        raise UserError(
            f"the Inception weights cannot be fetched ({getattr(error, 'reason', None) or error}): download "
            f"{FID_WEIGHTS_URL} on a machine with a network, put it at {target}, or name it with --inception-weights "
            f"or {VARIABLE}; {_MEANWHILE}"
        ) from error
