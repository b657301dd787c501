"""Locate, download and check the file of Inception weights"""

from pathlib import Path

from pytorch_fid.inception import FID_WEIGHTS_URL

from gan.metrics.weights_file import PublishedWeights, WeightsFile, locate_weights

SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
BYTES = 95_628_359
FILE_NAME = FID_WEIGHTS_URL.rsplit("/", 1)[-1]
VARIABLE = "MSN_GAN_INCEPTION"


def locate_inception_weights(path: Path | None = None, *, allow_other_weights: bool = False) -> WeightsFile:
    """Return the Inception weights, by the flag, MSN_GAN_INCEPTION, the hub cache or a download: `locate_weights`."""
    published = PublishedWeights("Inception", FID_WEIGHTS_URL, FILE_NAME, VARIABLE, SHA256, BYTES)
    return locate_weights(published, path, allow_other_weights=allow_other_weights)
