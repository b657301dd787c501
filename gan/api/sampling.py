"""`load_generator` and `sample`: images of a checkpoint from Python"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias, overload

from torch import Tensor, nn

from gan.api.call import ProgressCallback, api_call
from gan.api.settings import PathLike, check_device, check_int, optional_path
from gan.api.training import TrainedRun
from gan.config.train_config import TrainConfig
from gan.errors import UsageError
from gan.runs.listing import run_path
from gan.sampling import generate
from gan.sampling import load_generator as loading
from gan.sampling import sample as sampling
from gan.sampling.sample import SampleOptions

Checkpoint: TypeAlias = PathLike | TrainedRun
"""A checkpoint file, the folder or name of a run, or what `train` returns; of a run the newest checkpoint is meant."""


@dataclass(frozen=True)
class Generator:
    """A generator in evaluation mode, loaded by `load_generator`."""

    network: nn.Module
    """Maps latents float32 (N, latent_dim), and labels int64 (N,) if conditional, to images (N, C, H, W) in [-1, 1]."""
    config: TrainConfig
    """The config of its run; `config.latent_dim` is the dimension of a latent vector."""
    classes: tuple[str, ...]
    """Names of its classes; empty if it is unconditional."""
    path: Path
    """The checkpoint or run that it was loaded from."""

    def sample(
        self,
        num: int = 64,
        *,
        seed: int = 0,
        label: str | int | None = None,
        truncation: float | None = None,
        progress: ProgressCallback | None = None,
        verbose: bool = False,
    ) -> Tensor:
        """Generate the images of `msn-gan sample --num NUM --seed SEED`, bit for bit.

        Args:
            num: number of images, N.
            seed: image i depends on the seed and i alone.
            label: class of all images, by name or number; None: image i has class i modulo the number of classes.
            truncation: draw latents from a normal distribution truncated at ± this value.
            progress, verbose: see `gan.train`.

        Returns:
            uint8 (N, C, H, W) in 0 to 255, on the CPU.

        Raises:
            UsageError: a wrong argument; the message names the flag.
            Diverged: the network outputs NaN or infinity.
        """
        arguments = {"num": num, "seed": seed, "label": label, "truncation": truncation}
        with api_call("Generator.sample", arguments, progress, verbose):
            options = _options(num, seed, label, truncation)
            loaded = loading.LoadedGenerator(self.network, self.config, list(self.classes))
            return sampling.sample_tensor(loaded, options, self.path)

    def __call__(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Generate images of given latents.

        Args:
            latents: float32 (N, latent_dim), drawn from a standard normal distribution.
            labels: class numbers int64 (N,), if the generator is conditional.

        Returns:
            uint8 (N, C, H, W) in 0 to 255, on the CPU.

        Raises:
            UsageError: a wrong shape, a number that is no class, or labels are missing or not wanted.
            Diverged: the network outputs NaN or infinity.
        """
        dimension = self.config.latent_dim
        if latents.ndim != 2 or latents.shape[1] != dimension or not len(latents):
            raise UsageError(f"latents of shape {tuple(latents.shape)}: must be of shape (N, {dimension}), N > 0")
        if labels is None and self.classes:
            raise UsageError(f"labels: this generator is conditional; give labels, 0 to {len(self.classes) - 1}")
        if labels is not None and not self.classes:
            raise UsageError("labels: this generator is unconditional; leave them out")
        if labels is not None and labels.shape != latents.shape[:1]:
            raise UsageError(f"labels of shape {tuple(labels.shape)}: must be of shape ({len(latents)},)")
        if labels is not None and not 0 <= int(labels.min()) <= int(labels.max()) < len(self.classes):
            raise UsageError(f"labels from {labels.min()} to {labels.max()}: must be 0 to {len(self.classes) - 1}")
        return generate.render(self.network, latents.float(), labels)


def load_generator(
    checkpoint: Checkpoint,
    *,
    ema: bool = True,
    best: bool = False,
    device: str = "auto",
    network: str = "",
    verbose: bool = False,
) -> Generator:
    """Load the generator of a checkpoint.

    Args:
        checkpoint: a checkpoint file, or a run (its folder, its name, or what `train` returns): its newest checkpoint.
        ema: the EMA generator, not the trained one.
        best: of a run, the checkpoint with the lowest FID.
        device: "auto", "cpu", "cuda" or "mps".
        network: your own network that was trained, as "file.py:name"; its code runs only if you name it.
        verbose: print what the command prints.

    Raises:
        UsageError: there is no such device, or the folder is not that of one run.
        UserError: there is no valid checkpoint of a GAN.
    """
    path = target_path(checkpoint)
    with api_call("load_generator", {"checkpoint": path, "best": best, "device": device}, None, verbose):
        check_device(device)
        loaded = loading.load_generator(path, ema=ema, device=device, best=best, network=_named(network))
    return Generator(loaded.network, loaded.config, tuple(loaded.classes), path)


@overload
def sample(
    checkpoint: Checkpoint,
    *,
    num: int | None = None,
    seed: int = 0,
    label: str | int | None = None,
    truncation: float | None = None,
    standing_stats: int = 0,
    ema: bool = True,
    best: bool = False,
    device: str = "auto",
    network: str = "",
    out: None = None,
    progress: ProgressCallback | None = None,
    verbose: bool = False,
) -> Tensor: ...


@overload
def sample(
    checkpoint: Checkpoint,
    *,
    out: PathLike,
    num: int | None = None,
    seed: int = 0,
    label: str | int | None = None,
    truncation: float | None = None,
    standing_stats: int = 0,
    ema: bool = True,
    best: bool = False,
    device: str = "auto",
    network: str = "",
    grid: int | None = None,
    interpolate: int | None = None,
    overwrite: bool = False,
    progress: ProgressCallback | None = None,
    verbose: bool = False,
) -> Path: ...


def sample(
    checkpoint: Checkpoint,
    *,
    num: int | None = None,
    seed: int = 0,
    label: str | int | None = None,
    truncation: float | None = None,
    standing_stats: int = 0,
    ema: bool = True,
    best: bool = False,
    device: str = "auto",
    network: str = "",
    out: PathLike | None = None,
    grid: int | None = None,
    interpolate: int | None = None,
    overwrite: bool = False,
    progress: ProgressCallback | None = None,
    verbose: bool = False,
) -> Tensor | Path:
    """Generate images of a checkpoint: what `msn-gan sample` does, with the same images for the same seed.

    Without `out`, the images are returned. With it they are written, and `grid`, `interpolate` and `overwrite` apply.

    Args:
        checkpoint, ema, best, device, network: see `load_generator`.
        num: number of images, N; None: 64, or 8 walks with `interpolate`.
        seed, label, truncation: see `Generator.sample`.
        standing_stats: batches of latents over which batch-norm statistics are recomputed; 0: as trained.
        out: a .png grid, a folder, a .zip, or with `interpolate` a .png, .gif or .webp.
        grid: columns of the grid.
        interpolate: walk between latents in so many frames each.
        overwrite: replace what exists at `out`.
        progress, verbose: see `gan.train`.

    Returns:
        uint8 (N, C, H, W) in 0 to 255, on the CPU; with `out` its path.

    Raises:
        UsageError: a wrong argument, or `out` exists; the message names the flag.
        UserError: there is no valid checkpoint of a GAN.
        Diverged: the generator outputs NaN or infinity.
        OSError: `out` cannot be written.
    """
    path = target_path(checkpoint)
    target = optional_path(out)
    arguments = {"checkpoint": path, "num": num, "seed": seed, "out": target}
    with api_call("sample", arguments, progress, verbose):
        check_device(device)
        check_int("--standing-stats", standing_stats, 0)
        options = replace(_options(num, seed, label, truncation), standing_stats=standing_stats)
        check_int("--grid", grid, 1)
        check_int("--interpolate", interpolate, 2)
        if target is not None:
            options = SampleOptions(
                num=num,
                seed=seed,
                columns=grid,
                label=options.label,
                truncation=truncation,
                standing_stats=standing_stats,
                frames=interpolate,
                ema=ema,
                best=best,
                device=device,
                overwrite=overwrite,
                network=_named(network),
            )
            return sampling.write_samples(path, target, options)
        if unused := [f"--{name}" for name, value in (("grid", grid), ("interpolate", interpolate)) if value]:
            raise UsageError(f"{', '.join(unused)}: only for files; add out=PATH, or leave it out")
        loaded = loading.load_generator(path, ema=ema, device=device, best=best, network=_named(network))
        return sampling.sample_tensor(loaded, options, path)


def _named(network: str) -> tuple[str, ...]:
    return (network,) if network else ()


def target_path(target: Checkpoint) -> Path:
    """The path of a checkpoint, of a run's folder, or of another target of `score`."""
    return target.folder if isinstance(target, TrainedRun) else run_path(Path(target))


def _options(num: int | None, seed: int, label: str | int | None, truncation: float | None) -> SampleOptions:
    """The options of images without files, checked as the command line checks them."""
    check_int("--num", num, 1)
    check_int("--seed", seed, 0)
    return SampleOptions(num=num, seed=seed, label=None if label is None else str(label), truncation=truncation)
