"""Which network looks at images, and how, as flags say it; and the statistics of what it sees in a set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gan.data import load_images
from gan.distributed import collectives
from gan.errors import UsageError
from gan.evaluation.image_streams import image_set_stream
from gan.metrics.extractor import Extractor, ExtractorOptions
from gan.metrics.protocol import Protocol
from gan.metrics.reference import Reference, save_statistics
from gan.metrics.score import measure_reference
from gan.runtime import resolve_device
from gan.utils.files import require_writable


@dataclass(frozen=True)
class Looking:
    """The flags that choose the network that looks at images."""

    features: str | None = None
    """`inception`, `digits` or `classifier:CHECKPOINT`; None: fitting the data."""
    preprocess: str | None = None
    precision: str = "fp32"
    weights: Path | None = None
    """Of Inception."""
    allow_other_weights: bool = False
    batch: int | None = None
    device: str = "auto"

    def like(self, protocol: Protocol) -> Looking:
        """The same, and what was left open as statistics were made.

        Raises:
            UsageError: they were made with a classifier, whose file is not known.
        """
        if self.features:
            return self
        if protocol.extractor == "classifier":
            raise UsageError("--ref: statistics of a classifier's features; name it with --features classifier:FILE")
        preprocess = protocol.preprocess if protocol.extractor == "inception" else None
        return replace(self, features=protocol.extractor, preprocess=self.preprocess or preprocess)

    @property
    def given(self) -> list[str]:
        """The flags that say something else than their defaults."""
        flags = {
            "--features": self.features is not None,
            "--preprocess": self.preprocess is not None,
            "--precision": self.precision != "fp32",
            "--inception-weights": self.weights is not None,
            "--allow-other-weights": self.allow_other_weights,
            "--batch": self.batch is not None,
        }
        return [flag for flag, told in flags.items() if told]

    def extractor(self, data: str | None) -> Extractor:
        """The network, its weights loaded and checked.

        Args:
            data: the real images; for the digits their own network is the default.

        Raises:
            UsageError: no such network, or an option that it does not have.
            UserError: its weights cannot be had.
        """
        from gan.metrics.extractors import create_extractor  # here: it brings torchvision, a second that --help saves

        features = self.features or ("digits" if data == "digits" else "inception")
        name, _, checkpoint = features.partition(":")
        if checkpoint and name != "classifier":
            raise UsageError(f"--features {features}: only classifier takes a file, as classifier:FILE")
        if name != "inception" and (self.preprocess or self.weights):
            flag = "--preprocess" if self.preprocess else "--inception-weights"
            raise UsageError(f"{flag}: belongs to --features inception, not to {features}")
        options = ExtractorOptions(
            device=resolve_device(self.device),
            precision=self.precision,
            weights=Path(checkpoint) if checkpoint else self.weights,
            allow_other_weights=self.allow_other_weights,
            batch_size=self.batch,
        )
        if self.preprocess:
            options = replace(options, preprocess=self.preprocess)
        return collectives.first_local_rank_first(
            lambda: create_extractor(name, options)
        )  # in turn: it may download weights


def write_statistics(
    data: str,
    out: Path,
    looking: Looking,
    *,
    resolution: int,
    channels: int = 3,
    data_root: Path = Path("data"),
    split: str = "train",
    skip_bad_images: bool = False,
) -> Reference:
    """Write the statistics of a set as npz, which `--ref` and pytorch-fid read.

    Raises:
        UsageError, UserError: the images cannot be looked at, or nothing can be written beside OUT.
        OSError: OUT itself cannot be written; nothing is left of it then.
    """
    if out.suffix != ".npz":
        raise UsageError(f"OUT {out}: must end in .npz")
    require_writable(out.parent, "OUT")
    extractor = looking.extractor(data)
    options: dict[str, Any] = {"data_root": data_root, "split": split, "skip_bad_images": skip_bad_images}
    images = load_images(data, resolution=resolution, channels=channels, **options)
    reference = measure_reference(image_set_stream(images, data, split), extractor)
    save_statistics(out, reference)
    return reference
