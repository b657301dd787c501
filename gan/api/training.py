"""`train`: train a GAN from Python"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan.api.call import ProgressCallback, api_call, out_argument, raise_stopped
from gan.api.settings import PathLike, TrainSettings, check_device, optional_path, to_overrides
from gan.config.train_config import TrainConfig
from gan.errors import UserError
from gan.evaluation import training_evaluator
from gan.runs.checkpoint_names import STEP_PATTERN, list_checkpoints
from gan.runs.listing import read_object, run_path
from gan.runs.log import LOG, read_log
from gan.runs.run_dir import RunDirectory
from gan.training.train import train_run

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclass(frozen=True)
class TrainedRun:
    """A run of `train` and its files, which are read when asked for.

    `TrainedRun("cats")` is an existing run in the current folder.
    """

    name: str
    out: Path = Path()
    """Folder that contains checkpoints/ and samples/."""
    stopped: int | None = None
    """The signal that stopped the training, if the process went on after it; None otherwise."""
    messages: tuple[str, ...] = field(default=(), repr=False)
    """Lines that the command prints, warnings included, in order."""

    @property
    def folder(self) -> Path:
        """Folder of checkpoints, config.json, log.jsonl and TensorBoard events."""
        return self._directory.checkpoints

    @property
    def samples(self) -> Path:
        """Folder of sample grids, `step-00001000.png` and so on, and of `real.png`."""
        return self._directory.samples

    @property
    def grid(self) -> Path | None:
        """The newest sample grid, a PNG of 8 x 8 images; None if there is none yet."""
        return max(self.samples.glob(f"{STEP_PATTERN}.png"), default=None)

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint; a UserError if there is none."""
        if paths := list_checkpoints(self.folder):
            return paths[-1]
        raise UserError(f"{self.folder}: contains no checkpoint (step-….pt)")

    @property
    def best(self) -> Path | None:
        """The scored checkpoint with the lowest FID; None if the run was not scored while it trained."""
        name = self._directory.read_best().get("checkpoint")
        return self.folder / name if isinstance(name, str) else None

    @property
    def step(self) -> int:
        """Step of the newest checkpoint; 0 if there is none."""
        paths = list_checkpoints(self.folder)
        return int(paths[-1].stem.removeprefix("step-")) if paths else 0

    @property
    def finished(self) -> bool:
        """True if the run has been trained to its last step."""
        return self.step >= self.config.steps

    @property
    def config(self) -> TrainConfig:
        """The config of the run; a UserError if there is no such run."""
        path = self._directory.config_path
        values = read_object(path).get("config")
        if not isinstance(values, dict):
            raise UserError(f"{path}: there is no config of a run")
        return TrainConfig.from_dict(values)

    @property
    def scores(self) -> dict[int, dict[str, float]]:
        """Scores during training by step: `fid`, `inception_score` and more; empty without `report_every`."""
        return {step: entry["scores"] for step, entry in training_evaluator.logged_scores(self._directory).items()}

    def log(self) -> list[dict[str, Any]]:
        """The lines of log.jsonl: `step`, `images`, `seconds`, `loss_d`, `loss_g` and more, one for each log step."""
        return read_log(self.folder / LOG)

    @property
    def _directory(self) -> RunDirectory:
        return RunDirectory(self.name, self.out)


def train(
    name: str | None = None,
    *,
    preset: str | None = None,
    config: PathLike | None = None,
    resume: bool = False,
    init: PathLike | None = None,
    out: PathLike = ".",
    device: str = "auto",
    progress: ProgressCallback | None = None,
    verbose: bool = False,
    **settings: Unpack[TrainSettings],
) -> TrainedRun:
    """Train a GAN: what `msn-gan train` does, with the same files.

    Ctrl-C, or a notebook's stop button, finishes the step and saves a checkpoint before KeyboardInterrupt is raised;
    `train(name, resume=True)` continues from there. So does any exception that `progress` raises: this is how to stop a
    training in a thread, which gets no signals.

    Args:
        name: of the run; None: that of the preset, or of the images if there is no preset.
        preset: base config, such as "quickstart" or "best"; None: chosen from the images; "quickstart" without `data`.
        config: TOML or JSON file of config fields. Settings override it, and it overrides the preset.
        resume: continue the run from its newest checkpoint.
        init: checkpoint or run whose weights a new run starts from, where names and shapes fit.
        out: folder of checkpoints/ and samples/.
        device: "auto", "cpu", "cuda" or "mps".
        progress: called with a `Progress` at the start of each piece of work, and after each step.
        verbose: print what the command prints.
        settings: fields of `TrainConfig`, as the flags of the command: `data="cats.zip"`, `norm="msn"`, `steps=300`.

    Returns:
        the run. It is trained to its last step, unless `stopped` is set: a signal such as SIGTERM ended the training,
        a checkpoint was saved, and the caller's handler of the signal let the process go on.

    Raises:
        UsageError: a wrong setting, or the run exists and `resume` is False; the message names the flag.
        UserError: anything else that the user can correct, such as unreadable images.
        Diverged: a loss or gradient is not finite.
        KeyboardInterrupt: Ctrl-C, after a checkpoint if the training had begun.
    """
    arguments = {"name": name, "preset": preset, "config": config, "resume": resume, "init": init, "out": out}
    arguments["device"] = device
    with api_call("train", {**arguments, **settings}, progress, verbose, writes_run=True) as messages:
        check_device(device)
        run, stopped = train_run(
            name,
            preset,
            optional_path(config),
            to_overrides(settings, TrainConfig),
            resume=resume,
            dry_run=False,
            root=Path(out),
            device=device,
            init=None if init is None else run_path(Path(init)),
        )
    raise_stopped(
        stopped, f"checkpoint saved; gan.train({run.name!r}, resume=True{out_argument(run.root)}) continues the run"
    )
    return TrainedRun(run.name, run.root, stopped, tuple(messages))
