"""Compare discriminator controls over many seeds by two feature extractors, and keep what is done as small JSON files

    python benchmarks/evidence.py --data cifar10-train.zip --features classifier:vgg7.pt \
        --second classifier:resnet18.pt --seeds 8 --jobs 2 --keep docs/results/evidence

In the root of the clone. Trains the arms of `ARMS`, one seed of all arms after another, with `msn-gan compare`, which
computes the FID by --features, as the run that has the name of the folder --keep. Then the last checkpoints of the new
trainings are scored by --features and by --second, and all that is small goes into one JSON file for each training in
--keep. Trainings that have a file there are not repeated: the command continues on any machine where the last one
stopped. With --table it trains nothing and prints the tables of what is kept.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

import gan
from gan.dynamics.callback import DYNAMICS_LOG
from gan.dynamics.samples import MEAN_DRIFT, SampledRun
from gan.errors import UserError
from gan.experiments.compare.summary import paired_tests
from gan.utils.confidence import mean_text
from gan.utils.files import atomic_write, write_json
from gan.utils.markdown_table import markdown_table
from gan.utils.progress import say

BEST = {"loss": "hinge", "g_lr": 5e-4, "d_lr": 5e-4, "beta2": 0.9}
"""Settings of the arms of the preset `best`, so that these stay equal if the preset changes."""
ARMS: dict[str, dict[str, Any]] = {
    "sn": {"norm": "sn"},
    "msn": {"norm": "msn"},
    "msn-joint": {"norm": "msn", "d_batch": "joint"},
    "mean": {"norm": "mean"},
    "none": {"norm": "none"},
    "none-r1": {"norm": "none", "r1": 0.5, "penalty_every": 4},
    "wgan-gp": {"norm": "none", "loss": "wgan", "gradient_penalty": 10.0},
    "sn-conv": {"norm": "sn-conv"},
    "sn-conv-mean": {"norm": "sn-conv+mean"},
    "bssn": {"norm": "bssn"},
    "gradnorm": {"norm": "gradnorm"},
    "msn-remembered": {"norm": "sn+benchmarks/remembered_mean.py:remembered_mean"},
}
"""Settings of each arm; where time is short, the last are left out first."""

_CONFIG, _SMALL = "config.json", ("config.json", "result.json")
_LOGS = ("log.jsonl", DYNAMICS_LOG)
_SCORES = (("first", "fid"), ("second", "fid"), ("first", "precision"), ("first", "recall"), ("first", "coverage"))
_RESAMPLES = 10_000  # of the interval of a correlation
_LEAST_PAIRS = 4  # of a correlation


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark with these command-line arguments."""
    flags = parse(arguments)
    kept = Path(flags.keep)
    try:
        if not flags.table:
            for seeds in range(1, flags.seeds + 1):
                if not all((kept / f"{arm}-seed{seeds - 1}.json").exists() for arm in flags.arms):
                    train_and_keep(flags, seeds, kept)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    print("\n\n".join(tables(read_kept(kept), flags.baseline)))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="the images, as in `msn-gan train`")
    parser.add_argument("--preset", default="best", help="what the arms share")
    parser.add_argument("--steps", type=int, default=2400, help="steps of each training")
    parser.add_argument("--batch", type=int, help="real images of an update (default: that of the preset)")
    parser.add_argument("--features", default="digits", help="extractor of the scores during training")
    parser.add_argument("--second", default="digits", help="extractor of the second score of the last checkpoint")
    parser.add_argument("--num", type=int, default=5000, help="images of a score")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS, metavar="ARM", help=", ".join(ARMS))
    parser.add_argument("--jobs", default="2", help="trainings at a time")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder of checkpoints/ and samples/")
    parser.add_argument("--keep", type=Path, required=True, help="folder of the JSON files")
    parser.add_argument("--baseline", choices=ARMS, metavar="ARM", help="test against this arm (default: all pairs)")
    parser.add_argument("--table", action="store_true", help="print the tables of --keep alone")
    return parser.parse_args(arguments)


def train_and_keep(flags: argparse.Namespace, seeds: int, kept: Path) -> None:
    """Train all arms with the seeds 0 to `seeds` - 1, but for those that are kept; score and keep the new ones.

    Raises:
        UserError: as `gan.compare`.
    """
    run, folder = kept.name, flags.out / "checkpoints" / kept.name
    restore(kept, folder)
    every = max(1, flags.steps // 4)
    settings: dict[str, Any] = {"preset": flags.preset, **(BEST if flags.preset == "best" else {})}
    settings |= {"data": flags.data, "steps": flags.steps, "features": flags.features}
    settings |= {"batch": flags.batch} if flags.batch else {}
    settings |= {"report_every": every, "report_num": flags.num, "log_every": every, "dynamics": every // 2 or 1}
    settings |= {"report_metrics": ("fid",), "sample_every": flags.steps, "checkpoint_every": flags.steps, "keep": 1}
    arms = {name: ARMS[name] for name in flags.arms}
    jobs = flags.jobs if flags.jobs == "auto" else int(flags.jobs)
    given = {} if folder.exists() else settings  # a comparison that has begun keeps its own
    done = gan.compare(run, arms=arms, seeds=seeds, jobs=jobs, out=flags.out, verbose=True, **given)
    kept.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / _CONFIG, kept / _CONFIG)
    new = [each for each in done.record["trainings"] if not (kept / f"{each['folder']}.json").exists()]
    checkpoints = {
        each["folder"]: max((folder / each["folder"]).glob("step-*.pt")) for each in new if each["final"] is not None
    }
    first = scores(checkpoints, flags.features, ["fid", "pr"], flags)
    second = scores(checkpoints, flags.second, ["fid"], flags)
    for training in new:
        name = training["folder"]
        content = {**small_files(folder / name), "training": training, "first": first.get(name)}
        content["second"] = second.get(name)
        with atomic_write(kept / f"{name}.json") as opened:
            opened.write(json.dumps(content, separators=(",", ":")).encode())
        say(f"kept {kept / name}.json")
    for checkpoint in checkpoints.values():
        checkpoint.unlink()


def scores(
    checkpoints: Mapping[str, Path], features: str, metrics: list[str], flags: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """Scores of checkpoints by one extractor."""
    if not checkpoints:
        return {}
    found = gan.score(
        list(checkpoints.values()), data=flags.data, num=flags.num, features=features, metrics=metrics, verbose=True
    )
    return {name: dict(entry.scores) for name, entry in zip(checkpoints, found, strict=True)}


def small_files(folder: Path) -> dict[str, Any]:
    """The JSON files and logs of a training, by name."""
    files: dict[str, Any] = {name: json.loads((folder / name).read_text()) for name in _SMALL}
    for name in _LOGS:
        if (folder / name).exists():
            files[name] = [json.loads(line) for line in (folder / name).read_text().splitlines()]
    return files


def restore(kept: Path, folder: Path) -> None:
    """Write the small files of all kept trainings where `compare` looks for them, unless they are there."""
    if not (kept / _CONFIG).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / _CONFIG).exists():
        shutil.copy(kept / _CONFIG, folder / _CONFIG)
    for file in kept.glob("*-seed*.json"):
        own = folder / file.stem
        if own.exists():
            continue
        own.mkdir()
        content = json.loads(file.read_text())
        for name in _SMALL:
            write_json(own / name, content[name])
        for name in _LOGS:
            if name in content:
                (own / name).write_text("".join(json.dumps(entry) + "\n" for entry in content[name]))


def read_kept(kept: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """The kept trainings by arm, in the order of ARMS, and seed."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for file in sorted(kept.glob("*-seed*.json")):
        content = json.loads(file.read_text())
        found.setdefault(content["training"]["norm"], {})[content["training"]["seed"]] = content
    return {arm: found[arm] for arm in ARMS if arm in found}


def value_of(training: Mapping[str, Any], which: str, score: str) -> float | None:
    """A score of the last step by the first or the second extractor; None if the training diverged."""
    return None if training[which] is None else training[which].get(score)


def tables(kept: Mapping[str, Mapping[int, Mapping[str, Any]]], baseline: str | None = None) -> Iterator[str]:
    """Markdown tables: scores of each arm, tests of all pairs by both extractors, and drift against FID.

    Args:
        baseline: test the other arms against this one alone.
    """
    rows = []
    for arm, trainings in kept.items():
        cells = [arm, len(trainings), sum(not training["training"]["final"] for training in trainings.values())]
        for which, score in _SCORES:
            values = [value for each in trainings.values() if (value := value_of(each, which, score)) is not None]
            digits = 2 if score == "fid" else 3
            cells.append(mean_text(values, digits) if values else "-")
        seconds = [training["training"]["seconds"] for training in trainings.values()]
        rows.append([*cells, f"{fmean(seconds):.0f}"])
    names = ["FID", "FID, second extractor", "precision", "recall", "coverage"]
    yield markdown_table(["arm", "seeds", "diverged", *names, "seconds"], rows, align_right=True)
    for which in ("first", "second"):
        yield pairs_table(kept, which, baseline)
    yield from correlations(kept)


def pairs_table(kept: Mapping[str, Mapping[int, Mapping[str, Any]]], which: str, baseline: str | None) -> str:
    """The paired tests of `compare`, of the FID of an extractor: exact sign-flip tests with Holm's correction."""
    results = [
        {"norm": arm, "seed": seed, "setting": "", "curve": None, "final": training[which], "best": training[which]}
        for arm, trainings in kept.items()
        for seed, training in trainings.items()
    ]
    rows = []
    for test in sorted((test for test in paired_tests(results, baseline) if test["primary"]), key=itemgetter("p")):
        name = "{1} − {0}".format(*test["norms"])
        cells = [test["seeds"], mean_text(test["differences"]), f"{test['p']:.4f}", f"{test['p_holm']:.3f}"]
        rows.append([name, *cells])
    header = [f"FID by the {which} extractor", "seeds", "difference", "p", "p after Holm"]
    return markdown_table(header, rows, align_right=True)


def correlations(kept: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> Iterator[str]:
    """Spearman's correlation of the drift of layer means and the final FID, over all trainings and within the arms."""
    arms = [list(drift_and_fid(trainings.values())) for trainings in kept.values()]
    pairs = np.array([pair for arm in arms for pair in arm])
    if len(pairs) < _LEAST_PAIRS:
        return
    yield correlation_text(f"Drift of layer means and FID over {len(pairs)} trainings", pairs)
    centred = np.concatenate([np.array(arm) - np.mean(arm, axis=0) for arm in arms if len(arm) > 1] or [pairs[:0]])
    if len(centred) >= _LEAST_PAIRS:
        yield correlation_text(f"The same minus the means of the arm, {len(centred)} trainings", centred)


def drift_and_fid(trainings: Iterable[Mapping[str, Any]]) -> Iterator[tuple[float, float]]:
    """Late drift and final FID of the trainings that have both."""
    for training in trainings:
        if entries := training.get(DYNAMICS_LOG):
            drift = SampledRun("", tuple(entries)).late(MEAN_DRIFT)
            fid = value_of(training, "first", "fid")
            if drift is not None and fid is not None:
                yield drift, fid


def correlation_text(subject: str, pairs: np.ndarray[Any, Any]) -> str:
    """Spearman's correlation of the two columns with the 95 % interval of the bootstrap over trainings."""
    rng = np.random.default_rng(0)
    resampled = [spearman(pairs[rng.integers(0, len(pairs), len(pairs))]) for _ in range(_RESAMPLES)]
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return f"{subject}: Spearman's correlation {spearman(pairs):.2f}, 95 % bootstrap interval {low:.2f} to {high:.2f}."


def spearman(pairs: np.ndarray[Any, Any]) -> float:
    """Spearman's rank correlation of the two columns; NaN if one of them is constant."""
    from scipy.stats import spearmanr

    if not np.ptp(pairs, axis=0).all():
        return float("nan")
    return float(spearmanr(pairs[:, 0], pairs[:, 1]).statistic)


if __name__ == "__main__":
    main()
