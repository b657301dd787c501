"""A timelapse of a run: its sample grids, which show the same latents at every step, as an animation"""

from pathlib import Path

from PIL import Image

from gan.errors import UsageError, UserError
from gan.runs.checkpoint_names import STEP_PATTERN
from gan.runs.locate import samples_folder
from gan.sampling.writers import ANIMATION_LIMITS
from gan.utils.counted import counted
from gan.utils.files import atomic_write, require_new
from gan.utils.progress import say, working

_FRAME_MS = 200
_LAST_MS = 2000  # how long the last grid stays


def write_timelapse(run: Path, out: Path, *, overwrite: bool = False) -> None:
    """Write the sample grids of a run as an animation that repeats, in the order of their steps.

    Args:
        run: the run's folder in `checkpoints/`; its grids are in the folder of the same name in `samples/`.
        out: a .gif or .webp file.
        overwrite: replace the file if it exists.

    Raises:
        UsageError: the ending of `out` is another, it exists and is not to be replaced, or `run` is no folder.
        UserError: the run has fewer than two grids, or one cannot be read.
    """
    if out.suffix.lower() not in ANIMATION_LIMITS:
        raise UsageError(f"--timelapse {out}: must be a .gif or a .webp")
    require_new(out, "--timelapse", overwrite=overwrite)
    if not run.is_dir():
        raise UsageError(f"CHECKPOINT {run}: with --timelapse it must be the folder of a run")
    if (samples := samples_folder(run)) is None:
        raise UsageError(f"CHECKPOINT {run}: is not in a folder `checkpoints`, beside which its sample grids would be")
    paths = sorted(samples.glob(f"{STEP_PATTERN}.png"))
    if len(paths) < 2:
        raise UserError(
            f"{samples}: has {counted(len(paths), 'sample grid')}, a timelapse needs 2; see --sample-every of `train`"
        )
    frames = [_read(path) for path in paths]
    if len({frame.size for frame in frames}) > 1:
        raise UserError(f"{samples}: its sample grids have different sizes; remove those of another run")
    durations = [_FRAME_MS] * (len(frames) - 1) + [_LAST_MS]
    with working(f"writing {out}"), atomic_write(out) as file:
        frames[0].save(
            file, out.suffix[1:].upper(), save_all=True, append_images=frames[1:], duration=durations, loop=0
        )
    steps = [int(path.stem.removeprefix("step-")) for path in (paths[0], paths[-1])]
    say(f"wrote {out}: {len(frames)} grids from step {steps[0]:,} to {steps[1]:,}")


def _read(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"{path}: cannot be read ({error}); remove it") from error
