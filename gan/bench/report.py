"""What the timings mean: medians, ratios of norms, and which of them the paper's "16 % faster" could be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gan.bench.workload import LARGE_BATCH, QUANTITIES

# Which norm is held against which, where both were measured.
PAIRS = (("msn", "bn"), ("msn", "sn"), ("msn", "none"))
CLAIM = 16  # per cent
TURN = 0.1  # seconds of a turn; what takes longer has one call in it

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
    "train": "a training step on one batch of random images: power iteration where the norm has one, forward, "
    "backward, Adam (fused); on CUDA kernel by kernel, so that a small network may wait for the host",
    "infer": "the trained network in evaluation mode; SN and MSN divide their weights by σ at each call",
    "folded": "the same after gan.norm.fold, which merges norms into layers; what cannot fold stays as it is",
    "time": f"the mean of the calls of a turn (one, or about {TURN} s of the fastest norm); norms take turns in "
    "each round, every other round backwards; medians and (quartiles) over rounds",
    "ratio": "of times, taken within a round: the median and (quartiles) over rounds; below 1 the first is faster",
    "parameters": "numbers that are learned",
    "peak_memory": "of making the network and its folded copy and of four training steps: on a CPU the growth of a "
    "process of its own (its resident memory), on CUDA what torch had allocated in the last three of them",
    "flop": "of the folded network for one image: convolutions and matrix products, forward and forward with backward; "
    "a multiplication and an addition are two",
    "faster": f"A is {CLAIM} % faster than B in the strict sense if it takes at least {CLAIM} % less time (A/B at most "
    f"{1 - CLAIM / 100:.2f}); as a rate if it does at least {CLAIM} % more in the same time (A/B at most 1/"
    f"{1 + CLAIM / 100:.2f} = {1 / (1 + CLAIM / 100):.3f})",
}


class Spread(NamedTuple):
    """A median and its quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float] | np.ndarray) -> Spread:
        low, median, high = np.percentile(values, [25, 50, 75]).tolist()
        return cls(median, low, high)

    def to_dict(self) -> dict[str, Any]:
        return {"median": self.median, "quartiles": [self.low, self.high]}


def summarize_model(
    model: str, sizes: Mapping[str, Mapping[str, Any]], rounds: Sequence[Mapping[str, Mapping[str, float]]]
) -> dict[str, Any]:
    """The part of the results that is about one model.

    Args:
        sizes: of each norm: `parameters`, `peak_memory_bytes` (or None) and `flop`.
        rounds: of each round: quantity -> norm -> seconds of a call.
    """
    norms: dict[str, Any] = {}
    for norm, size in sizes.items():
        times = {quantity: [found[quantity][norm] for found in rounds] for quantity in QUANTITIES}
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
    """Of each quantity, a over b."""
    found = {
        quantity: Spread.of(np.divide(a["seconds"][quantity]["rounds"], b["seconds"][quantity]["rounds"]))
        for quantity in QUANTITIES
    }
    for size in ("parameters", "peak_memory_bytes"):
        if a[size] and b[size]:
            found[size] = Spread(*(a[size] / b[size],) * 3)
    return found


def verdict(ratio: Spread) -> str:
    """In words, whether A is 16 % faster than B, from the ratio of their times."""
    strict, rate = 1 - CLAIM / 100, 1 / (1 + CLAIM / 100)
    less, more = f"{abs(1 - ratio.median):.1%} less time", f"{1 / ratio.median - 1:.1%} more in the same time"
    if ratio.median <= strict:
        found, limit = f"yes: {less}", strict
    elif ratio.median <= rate:
        found, limit = f"as a rate only: {more}, {less}", rate
    elif ratio.median < 1:
        return f"no: faster, but {less} is not {CLAIM} %"
    else:
        return f"no: {ratio.median - 1:.1%} more time"
    return found if ratio.high <= limit else f"{found}; not sure, the upper quartile is above {limit:.3f}"


def _claim(model: str, ratios: Sequence[Mapping[str, Any]], norms: Mapping[str, Any]) -> list[str]:
    """Which quantities the paper's words could mean, a line each; empty without MSN and BN."""
    lines, could = [], []
    for ratio in ratios:
        if ratio["norms"] != "msn/bn" or ratio["of"] not in QUANTITIES:
            continue
        outcome = verdict(Spread(ratio["median"], *ratio["quartiles"]))
        lines.append(f"{LABELS[ratio['of']]}: {outcome}{_other_work(norms, ratio['of'])}")
        if not outcome.startswith("no"):
            could.append(LABELS[ratio["of"]])
    if not lines:
        return []
    meaning = "; ".join(could) or "none of these times"
    return [f'On this machine, "MSN is {CLAIM} % faster than BN" on {model} could mean: {meaning}', *lines]


def _other_work(norms: Mapping[str, Any], quantity: str) -> str:
    """A warning where MSN's and BN's networks differ in more than the norm: one may merge layers that the other keeps.

    The FLOP are those of the folded networks, whose layers are merged, or not, as in training.
    """
    kind = "training" if quantity == "train" else "forward"
    msn, bn = (norms[norm]["flop"][kind] for norm in ("msn", "bn"))
    return "" if msn == bn else f"; but not by the norm alone, MSN's network has {msn / bn:.0%} of the FLOP of BN's"


def bench_markdown(record: Mapping[str, Any]) -> str:
    """All results as Markdown: the machine, the definitions, and for each model its tables and sentences."""
    settings = record["settings"]
    machine = ", ".join(f"{name} {value}" for name, value in {**record["hardware"], **record["versions"]}.items())
    lines = [
        machine,
        f"{settings['device']}, {settings['precision']}, training batch {settings['batch']}",
        "",
        *(f"- {name}: {meaning}" for name, meaning in record["definitions"].items()),
    ]
    for found in record["models"]:
        lines += ["", f"## {found['model']}, {found['rounds']} rounds", "", *_times(found), ""]
        if found["ratios"]:
            lines += [*_ratio_table(found["ratios"]), ""]
        lines += [f"- {line}" for line in found["claim"]]
    return "\n".join(lines)


def _times(found: Mapping[str, Any]) -> list[str]:
    header = ["norm", *(f"{LABELS[quantity]}, ms" for quantity in QUANTITIES)]
    header += ["parameters", "peak memory, MiB", "MFLOP forward", "MFLOP training"]
    rows = []
    for norm, of in found["norms"].items():
        memory = of["peak_memory_bytes"]
        times = (of["seconds"][quantity] for quantity in QUANTITIES)
        rows.append(
            [
                norm,
                *(_spread(time["median"], time["quartiles"], 1000) for time in times),
                f"{of['parameters']:,}",
                "" if memory is None else f"{memory / 2**20:.0f}",
                *(f"{of['flop'][kind] / 1e6:.1f}" for kind in ("forward", "training")),
            ]
        )
    return _table(header, rows)


def _ratio_table(ratios: Sequence[Mapping[str, Any]]) -> list[str]:
    pairs = list(dict.fromkeys(ratio["norms"] for ratio in ratios))
    by_place = {(ratio["of"], ratio["norms"]): ratio for ratio in ratios}
    rows = []
    for quantity in dict.fromkeys(ratio["of"] for ratio in ratios):
        cells = [by_place.get((quantity, pair)) for pair in pairs]
        shown = ["" if cell is None else _spread(cell["median"], cell["quartiles"]) for cell in cells]
        rows.append([LABELS[quantity], *shown])
    return _table(["ratio of", *(pair.upper() for pair in pairs)], rows)


def _spread(median: float, quartiles: Sequence[float], unit: float = 1) -> str:
    low, high = quartiles
    spread = "" if low == high else f" ({low * unit:.4g} to {high * unit:.4g})"
    return f"{median * unit:.4g}{spread}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *rows)]
