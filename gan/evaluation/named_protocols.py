"""Protocols of the literature by name, for `report --as`: what each scores, and whose published scores use it

Sources are named in `serves`: an arXiv number, or a repository and file.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gan.errors import UsageError

if typing.TYPE_CHECKING:
    from gan.evaluation.options import EvaluationOptions

NAMED_METRICS = ("fid", "is")
"""The metrics that the protocols define, and the default with `--as`."""


@dataclass(frozen=True)
class NamedProtocol:
    """Counts, split and extractor of one protocol."""

    generated: int
    """Number of generated images."""
    split: str
    """Split of the real images."""
    reference: int | None
    """Number of real images; None: all of the split."""
    is_splits: int
    """Number of splits of the Inception score."""
    serves: str
    """Papers and programs whose scores use it."""
    features: str = "inception"
    preprocess: str | None = "torch-fidelity"
    """TensorFlow 1's resizing, that of the FID's first program."""

    @property
    def counts(self) -> str:
        """Both numbers of images as text."""
        real = "all" if self.reference is None else f"{self.reference:,}"
        name = "training" if self.split == "train" else self.split
        return f"{self.generated:,} generated against {real} {name} images"


NAMED_PROTOCOLS = {
    "50k-train": NamedProtocol(
        50_000,
        "train",
        None,
        10,
        "mimicry (kwotsin/mimicry, README.md), GN-GAN (arXiv 2109.02235; basiclab/GNGAN-PyTorch, config/), R3GAN "
        "(arXiv 2501.05441; brownvc/R3GAN, fid50k_full), StudioGAN of 2022 on (its IS is over all images at once)",
    ),
    "10k-train": NamedProtocol(
        10_000,
        "train",
        None,
        2,
        "chainer-gan-lib (pfnet-research/chainer-gan-lib, README.md; its IS is over ten sets of 5,000)",
    ),
    "10k-test": NamedProtocol(
        10_000,
        "test",
        10_000,
        1,
        "compare_gan (google/compare_gan, datasets.py), StudioGAN of 2020 and 2021 on CIFAR-10 "
        "(POSTECH-CVLab/PyTorch-StudioGAN, logs/CIFAR10)",
    ),
    "5k-10k-test": NamedProtocol(
        5_000,
        "test",
        10_000,
        1,
        "SN-GAN (arXiv 1802.05957) and SN-GAN with projection (arXiv 1802.05637), by the counts in mimicry's "
        "README.md; the split of their 10,000 real images is not verified",
    ),
    "10k-5k-train": NamedProtocol(
        10_000,
        "train",
        5_000,
        2,
        "BSSN (arXiv 2009.02773; fjxmlzn/BSN, no_gamma-CNN/gan/metric.py: 5,000 random training images; its IS is over "
        "ten sets of 5,000)",
    ),
}


def require_named(names: Sequence[str]) -> None:
    """Raise a UsageError unless all names are in NAMED_PROTOCOLS."""
    unknown = [name for name in names if name not in NAMED_PROTOCOLS]
    if unknown:
        raise UsageError(f"--as {','.join(unknown)}: no such protocol; choose from {', '.join(NAMED_PROTOCOLS)}")


def require_no_contradiction(options: EvaluationOptions, *, split: str | None = None) -> None:
    """Check that no other flag contradicts `--as`.

    Args:
        split: the value of `--split`, if the user gave one; None: known only if it is not the default.

    Raises:
        UsageError: an unknown name, or a flag with another value than the protocol's; the message names all of them.
    """
    require_named(options.as_protocol)
    for name in options.as_protocol:
        if wrong := list(_contradictions(options, name, split)):
            raise UsageError(f"--as {name}: contradicts {', '.join(wrong)}; leave out one of them")


def _contradictions(options: EvaluationOptions, name: str, split: str | None) -> Iterator[str]:
    protocol, extractor = NAMED_PROTOCOLS[name], options.extractor
    chosen_split = split or (None if options.split == "train" else options.split)
    for flag, given, own in (
        ("--num", options.num, protocol.generated),
        ("--split", chosen_split, protocol.split),
        ("--features", None if extractor.features == "auto" else extractor.features, protocol.features),
        ("--preprocess", extractor.preprocess, protocol.preprocess),
        ("--precision", extractor.precision, "fp32"),
    ):
        if given is not None and given != own:
            yield f"{flag} {given} (its own: {'none' if own is None else own})"
    if options.ref:
        yield "--ref"
    if options.mixed_protocols:
        yield "--mixed-protocols"


def options_of(options: EvaluationOptions, name: str) -> EvaluationOptions:
    """The options that score by one named protocol; after `require_no_contradiction`."""
    protocol = NAMED_PROTOCOLS[name]
    return replace(
        options,
        as_protocol=(name,),
        num=protocol.generated,
        split=protocol.split,
        metrics=options.metrics or NAMED_METRICS,
        extractor=replace(options.extractor, features=protocol.features, preprocess=protocol.preprocess),
    )


def describe(names: Sequence[str]) -> list[str]:
    """Sentences for a report: what each protocol scores, whom it serves, and why their scores differ."""
    lines = [f"{name}: {NAMED_PROTOCOLS[name].counts}; {NAMED_PROTOCOLS[name].serves}." for name in names]
    if len(names) > 1:
        lines.append(
            "Compare only rows of the same protocol: protocols have different real images, and FID falls as the number "
            "of images grows (its bias is of the order 1/N), so the same generator has a different FID under each."
        )
    return lines
