"""The folders of a run, its config.json and best.json."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan.config.plugins import Records, file_entry
from gan.errors import UsageError
from gan.runs import checkpoint
from gan.runs.command_line import command_words
from gan.runs.listing import read_object
from gan.utils.environment import program_versions
from gan.utils.files import prepare_folder, require_folder_name, write_json


@dataclass(frozen=True)
class RunDirectory:
    """The folders of a run: `checkpoints/NAME` and `samples/NAME` in `root`."""

    name: str
    root: Path = Path()

    def __post_init__(self) -> None:
        require_folder_name(self.name, "RUN", nested=True)

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints, log, TensorBoard events and config.json."""
        return self.root / "checkpoints" / self.name

    @property
    def samples(self) -> Path:
        """Folder of sample grids."""
        return self.root / "samples" / self.name

    @property
    def config_path(self) -> Path:
        """Path of config.json."""
        return self.checkpoints / "config.json"

    def sample_path(self, step: int) -> Path:
        """Path of the sample grid of a step."""
        return self.samples / f"step-{step:08d}.png"

    def kept_checkpoints(self, dynamics: bool) -> list[str]:
        """File names of checkpoints that pruning keeps.

        They are the one that best.json names, if any, and for training dynamics that of step 0, which a run with
        `--init` has: drift is relative to its weights.
        """
        best = self.read_best()
        names = [best["checkpoint"]] if "checkpoint" in best else []
        return [*names, checkpoint.checkpoint_path(self.checkpoints, 0).name] if dynamics else names

    def read_best(self) -> dict[str, Any]:
        """Content of best.json: `checkpoint`, `step`, scores and their protocol; empty if there is no such file."""
        return read_object(self.checkpoints / "best.json")

    def write_best(self, step: int, scores: dict[str, Any]) -> None:
        """Record the checkpoint of a step as the best, with its scores, in best.json."""
        name = checkpoint.checkpoint_path(self.checkpoints, step).name
        write_json(self.checkpoints / "best.json", {"checkpoint": name, "step": step, **scores})

    def require_own(self) -> None:
        """Raise a UsageError if the run was made by another command than `train`."""
        kind = self._read_config().get("kind")
        if kind is not None:
            raise UsageError(f"RUN {self.name}: was made by `{kind}` ({self.checkpoints}); choose another name")

    def exists(self) -> bool:
        """True if a run of this name exists, that is, has a config.json or checkpoints."""
        return self.config_path.exists() or bool(checkpoint.list_checkpoints(self.checkpoints))

    def create(self) -> None:
        """Create both folders, remove partial files of a killed run; a UserError if they cannot be written to."""
        for folder in (self.checkpoints, self.samples):
            prepare_folder(folder)

    def remove_empty_samples(self) -> None:
        """Remove the samples folder of a run that could not start, if it is empty; the lock removes the other one."""
        with suppress(OSError):
            self.samples.rmdir()

    def update_config(self, config: dict[str, Any], plugins: Records) -> None:
        """Write the config of a resumed run into its config.json, keeping other entries; a UserError if that fails.

        Args:
            plugins: records of the user's own code, see `gan.config.plugins`.
        """
        content = self._read_config()  # if it is unreadable, the checkpoints contain the config as well
        if "config" not in content or (content["config"], content.get("plugins", {})) == (config, plugins):
            return
        others = {key: value for key, value in content.items() if key != "plugins"}
        write_json(self.config_path, {**others, "config": config, **file_entry(plugins)})

    def write_config(self, config: dict[str, Any], extra: dict[str, Any], plugins: Records) -> None:
        """Write config.json: config, own code, `extra`, versions, command; a UserError if it cannot be written.

        Args:
            plugins: records of the user's own code, see `gan.config.plugins`.
        """
        content = {"config": config, **file_entry(plugins), **extra}
        write_json(self.config_path, {**content, "versions": program_versions(), "command": command_words()})

    def mark_checkpointed(self) -> None:
        """Record in config.json that the run has had a checkpoint, so that missing ones are noticed.

        Raises:
            UserError: the file cannot be written.
        """
        self.record("checkpointed", True)

    def record(self, key: str, value: Any) -> None:
        """Set an entry of config.json besides the config, if there is a readable file; a UserError if that fails."""
        content = self._read_config()
        if content and content.get(key) != value:
            write_json(self.config_path, {**content, key: value})

    def has_checkpointed(self) -> bool:
        """True if config.json records that the run had a checkpoint."""
        return bool(self._read_config().get("checkpointed"))

    def has_entry(self, key: str) -> bool:
        """True if config.json has an entry besides the config."""
        return key in self._read_config()

    def _read_config(self) -> dict[str, Any]:
        """Content of config.json; empty if it cannot be read."""
        return read_object(self.config_path)


def default_output_name(path: Path) -> Path:
    """Default name of outputs made from a checkpoint, run, folder or zip: RUN, RUN/step-…, or the name of the path.

    It is the path within the folder `checkpoints`, if there is one; runs of the same name in two such folders share it.
    """
    absolute = path.resolve()
    parts = absolute.parts
    inside = parts[len(parts) - parts[::-1].index("checkpoints") :] if "checkpoints" in parts else parts[-1:]
    name = Path(*inside) if inside else Path(absolute.name)
    return name.with_suffix("") if absolute.is_file() else name
