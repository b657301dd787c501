"""Compare discriminator controls over many seeds by two feature extractors, and keep what is done as small JSON files

    python benchmarks/evidence.py --data cifar10-train.zip --features classifier:docs/results/extractors/vgg7.pt \
        --second classifier:docs/results/extractors/resnet20.pt --seeds 8 --jobs 2 --keep docs/results/evidence

In the root of the clone. Trains the arms of `ARMS`, one or a few seeds of all arms after another, with `msn-gan
compare`, which computes the FID by --features, as the run that has the name of the folder --keep. Then the last
checkpoints of the new trainings are scored by --features and by --second, and all that is small goes into one JSON file
for each training in --keep. Trainings that have a file there are not repeated: the command continues on any machine
where the last one stopped, with the same settings, images and extractors. A classifier is the same file if the same
`classify` command has trained it on the same kind of machine. With --table it trains nothing and prints the tables of
what is kept.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evidence_tables import tables

import gan
from gan.dynamics.callback import DYNAMICS_LOG
from gan.errors import UsageError, UserError
from gan.metrics.extractor import ExtractorOptions
from gan.metrics.extractors import create_extractor
from gan.utils.files import atomic_write, write_json
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
_SETTINGS = "settings.json"  # values of the flags that all trainings of a folder share
_SHARED = ("data", "preset", "steps", "batch", "features", "second", "num")
_PRECISION = "fp32"  # of training: the default depends on the processor, and arms may be trained on several
_LOGS = ("log.jsonl", DYNAMICS_LOG)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark with these command-line arguments."""
    flags = parse(arguments)
    kept = Path(flags.keep)
    try:
        if not flags.table:
            shared = shared_settings(flags, kept)
            for seeds in seeds_to_train(flags, kept):
                train_and_keep(flags, seeds, kept, shared)
        found = read_kept(kept, flags.arms)
        if flags.baseline not in (None, *found):
            raise UsageError(f"--baseline {flags.baseline}: is not kept; choose from {', '.join(found)}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("stopped, checkpoint saved; the same command continues", file=sys.stderr)
        sys.exit(130)
    print("\n\n".join(tables(found, flags.baseline)))


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
    arms_help = f"arms to train and to compare in the tables: {', '.join(ARMS)} (default: all)"
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS, metavar="ARM", help=arms_help)
    parser.add_argument("--jobs", type=jobs_value, default=2, help="trainings at a time, or auto")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder of checkpoints/ and samples/")
    parser.add_argument("--keep", type=Path, required=True, help="folder of the JSON files")
    parser.add_argument("--baseline", choices=ARMS, metavar="ARM", help="test against this arm (default: all pairs)")
    parser.add_argument("--table", action="store_true", help="print the tables of --keep alone")
    return parser.parse_args(arguments)


def jobs_value(text: str) -> int | str:
    return text if text == "auto" else int(text)


def seeds_to_train(flags: argparse.Namespace, kept: Path) -> Iterator[int]:
    """The numbers of seeds to train up to, one after another: each adds trainings for all jobs, or the last ones."""
    missing, jobs = 0, 1 if flags.jobs == "auto" else max(1, flags.jobs)  # `compare` refuses less than 1
    for seed in range(flags.seeds):
        missing += sum(not (kept / f"{arm}-seed{seed}.json").exists() for arm in flags.arms)
        if missing and (missing % jobs == 0 or seed == flags.seeds - 1):
            yield seed + 1
            missing = 0


def shared_settings(flags: argparse.Namespace, kept: Path) -> dict[str, Any]:
    """The settings that all trainings of a folder share, with the weights of both extractors.

    Raises:
        UserError: an extractor cannot be used, or has other weights than that of the kept scores.
        UsageError: a setting differs from that of the kept trainings.
    """
    settings = {name: getattr(flags, name) for name in _SHARED}
    file = kept / _SETTINGS
    written = json.loads(file.read_text()) if file.exists() else settings
    if changed := [name for name in _SHARED if written[name] != settings[name]]:
        now, was = (", ".join(f"--{name} {values[name]}" for name in changed) for values in (settings, written))
        raise UsageError(f"{now}: {kept} was made with {was}; choose another folder for --keep")
    weights = {name: extractor_weights(name, flags) for name in ("features", "second")}
    known = {**weights, **written.get("weights", {})}
    if other := [f"--{name} {settings[name]}" for name in weights if known[name] != weights[name]]:
        raise UserError(f"{', '.join(other)}: has other weights than the extractor of the scores in {kept}")
    return {**settings, "weights": weights}


def extractor_weights(flag: str, flags: argparse.Namespace) -> str:
    """SHA-256 of the weights of the extractor that a flag chooses."""
    try:
        return create_extractor(ExtractorOptions(features=getattr(flags, flag), device="cpu"), flags.data).hash
    except UserError as error:
        raise type(error)(str(error).replace("--features", f"--{flag}")) from error


def train_and_keep(flags: argparse.Namespace, seeds: int, kept: Path, shared: Mapping[str, Any]) -> None:
    """Train all arms with the seeds 0 to `seeds` - 1, but for those that are kept; score and keep the new ones.

    Args:
        shared: see `shared_settings`; they are written once a comparison has accepted them.

    Raises:
        UserError: as `gan.compare`.
    """
    run, folder = kept.name, flags.out / "checkpoints" / kept.name
    restore(kept, folder)
    every = max(1, flags.steps // 4)
    settings: dict[str, Any] = {"preset": flags.preset, **(BEST if flags.preset == "best" else {})}
    settings |= {"data": flags.data, "steps": flags.steps, "features": flags.features, "precision": _PRECISION}
    settings |= {"batch": flags.batch} if flags.batch else {}
    settings |= {"report_every": every, "report_num": flags.num, "log_every": every, "dynamics": every // 2 or 1}
    settings |= {"report_metrics": ("fid",), "sample_every": flags.steps, "checkpoint_every": flags.steps, "keep": 1}
    arms = {name: ARMS[name] for name in flags.arms}
    done = gan.compare(run, arms=arms, seeds=seeds, jobs=flags.jobs, out=flags.out, verbose=True, **settings)
    kept.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / _CONFIG, kept / _CONFIG)
    if not (kept / _SETTINGS).exists():
        write_json(kept / _SETTINGS, shared)
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
    for file in kept.glob("*-seed*.json"):  # also those of a command that was killed before it came here
        for checkpoint in (folder / file.stem).glob("step-*.pt"):
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
        if (own / _SMALL[-1]).exists():
            continue
        own.mkdir(exist_ok=True)
        content = json.loads(file.read_text())
        for name in _LOGS:
            if name in content:
                (own / name).write_text("".join(json.dumps(entry) + "\n" for entry in content[name]))
        for name in _SMALL:  # the last of which marks a training as done
            write_json(own / name, content[name])


def read_kept(kept: Path, arms: Sequence[str] = tuple(ARMS)) -> dict[str, dict[int, dict[str, Any]]]:
    """The kept trainings of some arms, by arm in the order of ARMS, and seed.

    Raises:
        UserError: there are none.
    """
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for file in sorted(kept.glob("*-seed*.json")):
        content = json.loads(file.read_text())
        found.setdefault(content["training"]["norm"], {})[content["training"]["seed"]] = content
    if not (chosen := [arm for arm in ARMS if arm in found and arm in arms]):
        raise UserError(f"--keep {kept}: has no trainings of {', '.join(arms)}")
    return {arm: found[arm] for arm in chosen}


if __name__ == "__main__":
    main()
