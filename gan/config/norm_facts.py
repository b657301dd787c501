"""Facts about each norm for `norm list`: options, parameters, folding, statistics over the batch, source.

`tests/norm_check/test_norm_check.py` compares them with the code.
"""

from __future__ import annotations

from typing import NamedTuple

from gan.config.norm_spec import (
    ALIASES,
    BATCH_STATISTICS,
    CRITICS,
    FEATURE_NORMS,
    LEARNED,
    WEIGHT_MAPS,
    NormRegistry,
    parse_norm,
)
from gan.config.registry import entry_points

NONE = "none"
PER_CHANNEL = "C_out"
TWO_PER_CHANNEL = "2 C_out"
"""Numbers of parameters that a norm adds to a layer with a bias: formulas of the number of output channels."""

_OPTIONS = {"gain": f"gain=NUMBER or {LEARNED}", "groups": "groups=NUMBER"}
_LEARNED_GAIN = f"{NONE}; 1 with gain={LEARNED}"


class NormFacts(NamedTuple):
    """Facts about one name."""

    parameters: str
    """Added to a hidden layer that has a bias; a norm that replaces the bias is charged for the difference."""
    folds: bool
    """`gan.norm.fold` merges it into plain layers."""
    source: str


_SN = "Miyato et al. 2018, arXiv 1802.05957"
_MSN = "Subramanian & Chong 2019, arXiv 1907.04003"

FACTS: dict[str, NormFacts] = {
    "none": NormFacts(NONE, True, "no normalization"),
    "wn": NormFacts(f"{PER_CHANNEL}: g", True, "Salimans & Kingma 2016, arXiv 1602.07868"),
    "sn": NormFacts(_LEARNED_GAIN, True, f"{_SN}; gain: Lin et al. 2021, arXiv 2009.02773"),
    "bssn": NormFacts(_LEARNED_GAIN, True, "Lin et al. 2021, arXiv 2009.02773"),
    "sn-conv": NormFacts(
        _LEARNED_GAIN, True, "Gouk et al. 2018, arXiv 1804.04368; Farnia et al. 2019, arXiv 1811.07457"
    ),
    "orth": NormFacts(NONE, True, "QR factor, as torch.nn.utils.parametrizations.orthogonal"),
    "mean": NormFacts(f"{NONE}: m replaces the bias", True, _MSN),
    "affine-mean": NormFacts(f"{PER_CHANNEL}: γ", True, f"published code of {_MSN}"),
    "bn": NormFacts(f"{PER_CHANNEL}: γ", True, "Ioffe & Szegedy 2015, arXiv 1502.03167"),
    "ln": NormFacts(f"{TWO_PER_CHANNEL}: γ, β", False, "Ba et al. 2016, arXiv 1607.06450"),
    "in": NormFacts(f"{PER_CHANNEL}: γ", False, "Ulyanov et al. 2016, arXiv 1607.08022"),
    "group": NormFacts(f"{TWO_PER_CHANNEL}: γ, β", False, "Wu & He 2018, arXiv 1803.08494"),
    "gradnorm": NormFacts(NONE, False, "Wu et al. 2021, arXiv 2109.02235"),
    "msn": NormFacts(f"{NONE}: m replaces the bias", True, _MSN),
    "msn-affine": NormFacts(f"{PER_CHANNEL}: γ", True, f"published code of {_MSN}"),
}

HEADER = ("name", "kind", "options", "parameters per layer", "folds", "uses the batch", "source")
NOTE = (
    "Join a weight map, a feature norm and a critic by +, as sn(gain=2)+mean or sn+gradnorm. Your own norm: "
    "file.py:name or package.module:name; `msn-gan norm check SPEC` tests it."
)


def norm_rows() -> list[tuple[str, ...]]:
    """Rows of the table of all names, also those of installed packages; see `HEADER`."""
    kinds = ((WEIGHT_MAPS, "weight map"), (FEATURE_NORMS, "feature norm"), (CRITICS, "critic"))
    tables = [(name, kind, options) for table, kind in kinds for name, options in table.items()]
    tables += [(alias, f"alias of {full}", ()) for alias, full in ALIASES.items()]
    rows: list[tuple[str, ...]] = []
    for name, kind, options in tables:
        facts = FACTS[name]
        texts = ", ".join(_OPTIONS[option] for option in options)
        cells = (facts.parameters, _yes(facts.folds), _yes(uses_batch(name)), facts.source)
        rows.append((name, kind, texts or "-", *cells))
    known = {name for name, _, _ in tables}
    installed = entry_points(NormRegistry.GROUP)
    rows += [(name, f"installed: {reference}", *"-----") for name, reference in installed.items() if name not in known]
    return rows


def uses_batch(norm: str) -> bool:
    """True if in training the output for one image depends on the other images of the batch."""
    feature_norm = parse_norm(norm).feature_norm
    return feature_norm is not None and feature_norm.name in BATCH_STATISTICS


def _yes(value: bool) -> str:
    return "yes" if value else "no"
