"""Summaries of timings: medians, ratios of norms, and whether they match the paper's "16 % faster"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gan.bench.workload import LARGE_BATCH, QUANTITIES
from gan.utils.counted import counted
from gan.utils.markdown_table import markdown_table

# Ratios (numerator, denominator) that are reported where both norms were measured.
PAIRS = (("msn", "bn"), ("msn", "sn"), ("msn", "none"))
CLAIM = 16  # per cent
MAX_TIME_RATIO, MAX_RATE_RATIO = 1 - CLAIM / 100, 1 / (1 + CLAIM / 100)
TURN = 0.1  # seconds of a turn; a slower call has a turn of its own

LABELS = {
    "train": "training step",
    "infer_1": "inference, batch 1",
    f"infer_{LARGE_BATCH}": f"inference, batch {LARGE_BATCH}",
    "folded_1": "folded inference, batch 1",
    f"folded_{LARGE_BATCH}": f"folded inference, batch {LARGE_BATCH}",
    "parameters": "parameters",
    "peak_memory_bytes": "peak memory",
}
DEFINITIONS = {
    "train": "a training step on one batch of random images: power iteration if the norm has one, forward, backward, "
    "Adam (fused); without CUDA graphs, so that the host limits small networks on a GPU",
    "infer": "the trained network in evaluation mode; SN and MSN divide their weights by σ at each call",
    "folded": "inference after gan.norm.fold, which merges norms into layers where that is possible",
    "time": f"mean over the calls of a turn (one, or about {TURN} s of the fastest norm); norms take turns in each "
    "round, every other round in reverse order; medians and (quartiles) over rounds",
    "ratio": "of times within a round; median and (quartiles) over rounds; below 1 the first norm is faster",
    "parameters": "trainable parameters",
    "peak_memory": "memory to build the network and its folded copy and run four training steps: on a CPU the growth "
    "of a separate process's resident memory, on CUDA what torch allocated in the last three steps",
    "flop": "of the folded network for one image: convolutions and matrix products, forward, and forward with "
    "backward; a multiplication and an addition count as two",
    "faster": f"A is {CLAIM} % faster than B in the strict sense if it takes at least {CLAIM} % less time (A/B at most "
    f"{MAX_TIME_RATIO:.2f}); as a rate if it does at least {CLAIM} % more in the same time (A/B at most 1/"
    f"{1 + CLAIM / 100:.2f} = {MAX_RATE_RATIO:.3f})",
}


class Spread(NamedTuple):
    """A median and its quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float] | np.ndarray) -> Spread:
        """Compute the spread of some values."""
        low, median, high = np.percentile(values, [25, 50, 75]).tolist()
        return cls(median, low, high)

    @classmethod
    def of_ratios(cls, numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
        """Compute the spread of ratios, each taken within a round."""
        return cls.of(np.divide(numerators, denominators))

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Spread:
        """Read the dict that `to_dict` made."""
        return cls(record["median"], *record["quartiles"])

    def to_dict(self) -> dict[str, Any]:
        """Return a dict fit for JSON."""
        return {"median": self.median, "quartiles": [self.low, self.high]}

    def text(self, unit: float = 1) -> str:
        """Format as `median (low to high)`, each value multiplied by `unit`."""
        quartiles = "" if self.low == self.high else f" ({self.low * unit:.4g} to {self.high * unit:.4g})"
        return f"{self.median * unit:.4g}{quartiles}"


def summarize_model(
    model: str, sizes: Mapping[str, Mapping[str, Any]], rounds: Sequence[Mapping[str, Mapping[str, float]]]
) -> dict[str, Any]:
    """Summarize the measurements of one model.

    Args:
        sizes: `parameters`, `peak_memory_bytes` (or None) and `flop` of each norm.
        rounds: seconds of a call by quantity and norm, for each round.
    """
    norms: dict[str, Any] = {}
    for norm, size in sizes.items():
        times = {quantity: [seconds[quantity][norm] for seconds in rounds] for quantity in QUANTITIES}
        seconds = {name: {**Spread.of(values).to_dict(), "rounds": values} for name, values in times.items()}
        norms[norm] = {**size, "seconds": seconds}
    ratios = [
        {"norms": f"{a}/{b}", "of": quantity, **spread.to_dict()}
        for a, b in PAIRS
        if a in norms and b in norms
        for quantity, spread in _ratios(norms[a], norms[b]).items()
    ]
    return {
        "model": model,
        "rounds": len(rounds),
        "norms": norms,
        "ratios": ratios,
        "claim": _claim(model, ratios, norms),
    }


def _ratios(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Spread]:
    """Ratios a / b of all quantities and sizes."""
    ratios = {
        quantity: Spread.of_ratios(a["seconds"][quantity]["rounds"], b["seconds"][quantity]["rounds"])
        for quantity in QUANTITIES
    }
    for size in ("parameters", "peak_memory_bytes"):
        if a[size] and b[size]:
            ratios[size] = Spread.of([a[size] / b[size]])
    return ratios


def verdict(ratio: Spread) -> str:
    """State whether A is 16 % faster than B, given the ratio of their times A/B."""
    less, more = f"{abs(1 - ratio.median):.1%} less time", f"{1 / ratio.median - 1:.1%} more in the same time"
    if ratio.median <= MAX_TIME_RATIO:
        text, limit = f"yes: {less}", MAX_TIME_RATIO
    elif ratio.median <= MAX_RATE_RATIO:
        text, limit = f"as a rate only: {more}, {less}", MAX_RATE_RATIO
    elif ratio.median < 1:
        return f"no: faster, but {less} is not {CLAIM} %"
    else:
        return f"no: {ratio.median - 1:.1%} more time"
    return text if ratio.high <= limit else f"{text}; not certain, the upper quartile is above {limit:.3f}"


def _claim(model: str, ratios: Sequence[Mapping[str, Any]], norms: Mapping[str, Any]) -> list[str]:
    """Compare each time of MSN and BN with the paper's claim, one line each; empty without MSN and BN."""
    lines, matching = [], []
    for ratio in ratios:
        if ratio["norms"] == "msn/bn" and ratio["of"] in QUANTITIES:
            label, text = LABELS[ratio["of"]], verdict(Spread.from_dict(ratio))
            lines.append(f"{label}: {text}{_flop_caveat(norms, ratio['of'])}")
            if not text.startswith("no"):
                matching.append(label)
    if not lines:
        return []
    meaning = "; ".join(matching) or "none of these times"
    return [f'On this machine, "MSN is {CLAIM} % faster than BN" on {model} could mean: {meaning}', *lines]


def _flop_caveat(norms: Mapping[str, Any], quantity: str) -> str:
    """A caveat where the networks of MSN and BN differ in FLOP because only one of them can merge layers."""
    kind = "training" if quantity == "train" else "forward"
    msn, bn = (norms[norm]["flop"][kind] for norm in ("msn", "bn"))
    return "" if msn == bn else f"; not only due to the norm: MSN's network has {msn / bn:.0%} of the FLOP of BN's"


def bench_markdown(record: Mapping[str, Any]) -> str:
    """Format all results as Markdown: machine, definitions, and the tables and claim of each model."""
    settings = record["settings"]
    lines = [
        ", ".join(f"{name} {value}" for name, value in {**record["hardware"], **record["versions"]}.items()),
        f"{settings['device']}, {settings['precision']}, training batch {settings['batch']}",
        "",
        *(f"- {name}: {meaning}" for name, meaning in record["definitions"].items()),
    ]
    for result in record["models"]:
        lines += [
            "",
            f"## {result['model']}, {counted(result['rounds'], 'round')}",
            "",
            _time_table(result["norms"]),
            "",
        ]
        if result["ratios"]:
            lines += [_ratio_table(result["ratios"]), ""]
        lines += [f"- {line}" for line in result["claim"]]
    return "\n".join(lines)


def _time_table(norms: Mapping[str, Any]) -> str:
    header = ["norm", *(f"{LABELS[quantity]}, ms" for quantity in QUANTITIES)]
    header += ["parameters", "peak memory, MiB", "MFLOP forward", "MFLOP training"]
    rows = []
    for norm, result in norms.items():
        memory = result["peak_memory_bytes"]
        rows.append(
            [
                norm,
                *(Spread.from_dict(result["seconds"][quantity]).text(1000) for quantity in QUANTITIES),
                f"{result['parameters']:,}",
                "" if memory is None else f"{memory / 2**20:.0f}",
                *(f"{result['flop'][kind] / 1e6:.1f}" for kind in ("forward", "training")),
            ]
        )
    return markdown_table(header, rows)


def _ratio_table(ratios: Sequence[Mapping[str, Any]]) -> str:
    texts = {(ratio["of"], ratio["norms"]): Spread.from_dict(ratio).text() for ratio in ratios}
    quantities, pairs = (list(dict.fromkeys(ratio[key] for ratio in ratios)) for key in ("of", "norms"))
    rows = [[LABELS[quantity], *(texts.get((quantity, pair), "") for pair in pairs)] for quantity in quantities]
    return markdown_table(["ratio of", *(pair.upper() for pair in pairs)], rows)
