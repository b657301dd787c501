"""`compare`: compare normalizations from Python"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan.api.call import ProgressCallback, api_call, out_argument, raise_stopped
from gan.api.settings import PathLike, SharedSettings, check_device, optional_path, to_overrides
from gan.api.training import TrainedRun
from gan.config.train_config import TrainConfig
from gan.errors import UsageError
from gan.experiments.compare.experiment import run_comparison
from gan.experiments.compare.plan import PER_TRAINING, CompareConfig, ComparedTraining
from gan.runs.listing import read_object
from gan.runs.run_dir import RunDirectory

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclass(frozen=True)
class ComparisonResult:
    """A comparison and its results over the trainings that are done."""

    name: str
    out: Path
    """Folder that contains checkpoints/ and samples/."""
    record: dict[str, Any] = field(repr=False)
    """Content of report.json; empty if no training is done."""
    stopped: int | None = None
    """The signal that stopped the comparison, if the process went on after it; None otherwise."""
    messages: tuple[str, ...] = field(default=(), repr=False)
    """Lines that the command prints to standard error, in order."""

    @property
    def folder(self) -> Path:
        """Folder of report.json, report.md, report.html and the trainings."""
        return RunDirectory(self.name, self.out).checkpoints

    @property
    def page(self) -> Path:
        """Path of report.html."""
        return self.folder / "report.html"

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row for each arm: `norm` (its name), counts, and under `final` and `best` each score over the seeds.

        A score is a dict of `mean`, `half_width` of its 95 % interval (Student's t; None for one seed) and `values`,
        one for each seed.
        """
        return list(self.record.get("rows", ()))

    @property
    def tests(self) -> list[dict[str, Any]]:
        """Paired tests of all pairs of arms, or of the baseline and each other; the `primary` ones have `words`."""
        return list(self.record.get("paired", ()))

    @property
    def warnings(self) -> list[str]:
        """Reasons to doubt the comparison or its scores."""
        return [*self.record.get("warnings", ()), *self.record.get("score_warnings", ())]

    def run(self, arm: str, seed: int = 0, setting: str = "") -> TrainedRun:
        """One of the trainings.

        Args:
            arm: name of its arm; an arm of `norms` is named after its norm.
            setting: "A" to "F", of a comparison with `lr_grid`; "t1", "t2", ... of one with `tune`.
        """
        return TrainedRun(f"{self.name}/{ComparedTraining(arm, seed, setting).name}", self.out)


def compare(
    name: str,
    *,
    norms: Sequence[str] | None = None,
    arms: Mapping[str, Mapping[str, Any]] | None = None,
    seeds: int | None = None,
    baseline: str | None = None,
    budget: str | None = None,
    lr_grid: bool | None = None,
    tune: int | None = None,
    then: int | None = None,
    jobs: int | str = 1,
    only: str | None = None,
    preset: str | None = None,
    config: PathLike | None = None,
    out: PathLike = ".",
    device: str = "auto",
    progress: ProgressCallback | None = None,
    verbose: bool = False,
    **settings: Unpack[SharedSettings],
) -> ComparisonResult:
    """Train one recipe under several arms and seeds, and compare the scores: what `msn-gan compare` does.

    The same call resumes a stopped comparison. Settings may then be left out, and `norms`, `arms` and `seeds` add
    trainings.

    Args:
        name: of the comparison.
        norms: arms that differ in the normalization alone, such as ["sn", "msn"], the default without `arms`.
        arms: settings of each arm by its name, such as {"r1": {"norm": "none", "r1": 0.1}}: `preset`, and fields
            of `TrainConfig`.
        seeds: trainings of each arm, with seeds 0, 1, ...; 3 by default.
        baseline: test each arm against this one, not all pairs.
        budget: what is equal for all arms: "images" (real images shown, the default), "steps" or "seconds".
        lr_grid: repeat the comparison under each of the learning rates and betas of Miyato et al. 2018.
        tune: number of random settings of learning rates, betas and n_dis under which every arm is trained once.
        then: after `tune`, seeds with which each arm is trained under its best setting, and tested.
        jobs: trainings at a time, each in a process of its own, or "auto".
        only: one training to train alone, such as "sn/0" (with `lr_grid`: "A/sn/0", with `tune`: "t1/sn/0").
        preset, config, out, device, progress, verbose: see `gan.train`.
        settings: fields of `TrainConfig` but `norm` and `seed`.

    Returns:
        the results; of all trainings, unless `stopped` is set, as for `gan.train`.

    Raises:
        UsageError: a wrong setting, or one that would change an existing comparison; the message names the flag.
        UserError: anything else that the user can correct.
        KeyboardInterrupt: Ctrl-C, after a checkpoint if a training had begun.
    """
    if wrong := [f"--{key}" for key in PER_TRAINING if key in settings]:
        raise UsageError(f"{', '.join(wrong)}: differs between the trainings; give --norms and --seeds")
    own = {"norms": norms.split(",") if isinstance(norms, str) else norms, "seeds": seeds, "lr_grid": lr_grid}
    own |= {"baseline": baseline, "budget": budget, "tune": tune, "then": then}
    overrides = to_overrides({**own, **settings}, CompareConfig, TrainConfig)
    if jobs != "auto" and (not isinstance(jobs, int) or jobs < 1):
        raise UsageError(f"--jobs {jobs}: give a number of trainings from 1, or auto")
    if only is not None and jobs != 1:
        raise UsageError(f"--only {only}: is one training; leave out --jobs")
    number = None if jobs == "auto" else int(jobs)
    own_arms = {arm: to_overrides(values, TrainConfig) for arm, values in (arms or {}).items()}
    arguments = {"name": name, "preset": preset, "config": config, "out": out, "device": device, **overrides}
    arguments |= {"jobs": None if jobs == 1 else jobs, "only": only}
    arguments |= {"arms": own_arms} if own_arms else {}
    with api_call("compare", arguments, progress, verbose, writes_run=True) as messages:
        check_device(device)
        stopped = run_comparison(
            name,
            preset,
            optional_path(config),
            overrides,
            root=Path(out),
            device=device,
            arms=own_arms,
            jobs=number,
            only=only,
        )
    call = f"gan.compare({name!r}{out_argument(Path(out))})"
    raise_stopped(stopped, f"checkpoint saved; {call} continues the comparison")
    folder = RunDirectory(name, Path(out)).checkpoints
    return ComparisonResult(name, Path(out), read_object(folder / "report.json"), stopped, tuple(messages))
