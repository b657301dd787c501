"""Training images of a class-conditional generator, for the classification accuracy score (CAS).

CAS (Ravuri and Vinyals 2019, arXiv 1905.10887): the accuracy, on real test images, of a classifier that was trained on
generated images alone. Here `real` is the real training set, whose size and classes the generated one takes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan.config.choices import NETWORKS
from gan.data.image_set import ImageSet
from gan.data.train_test_sets import class_numbers
from gan.errors import UsageError, UserError
from gan.experiments.classify.config import ClassifyConfig
from gan.runs import checkpoint
from gan.runs.checkpoint import CheckpointFile, train_config_of
from gan.runs.locate import find_checkpoint
from gan.runs.own_code import require_used
from gan.sampling.generate import labels_in_turn
from gan.sampling.load_generator import LoadedGenerator, restore_generator
from gan.sampling.sample import SampleOptions, sample_tensor

GENERATED_FILE = "generated.pt"
"""File of the generated images in the run's folder."""
LATENT_SEED = 0
"""Seed of the latents: the images are those of `sample --seed 0`."""
_KIND = "generated-images"


def find_generator(path: str) -> CheckpointFile:
    """Read the checkpoint of `--generated`: a file, or the newest valid one in a run's folder.

    Raises:
        UserError: it is missing or damaged, or the folder has none.
    """
    return find_checkpoint(Path(path), "classify RUN --generated")


@dataclass(frozen=True)
class TrainingGenerator:
    """The EMA generator of a checkpoint, checked against the config of a classification."""

    file: CheckpointFile
    loaded: LoadedGenerator

    @classmethod
    def open(cls, config: ClassifyConfig, device: torch.device) -> "TrainingGenerator":
        """Restore the generator of `config.generated`.

        Args:
            config: resolved configuration with `generated`.

        Raises:
            UsageError: the generator is unconditional, makes images of another resolution or other channels, or has
                another network than `config.network`.
            UserError: the checkpoint is missing, damaged or not of a GAN, or needs code that the user has not named.
        """
        assert config.generated is not None
        file = find_generator(config.generated)
        trained = train_config_of(file.state, file.path)
        require_used(NETWORKS, [config.network] if config.network else [], [trained.network], file.path)
        if not trained.conditional:
            raise UsageError(
                f"--generated {file.path}: this generator is unconditional; training images need labels, so train one "
                "with --conditional"
            )
        made, wanted = (trained.resolution, trained.channels), (config.resolution, config.channels)
        if made != wanted:
            flags = zip(("--resolution", "--channels"), made, wanted, strict=True)
            advice = " ".join(f"{flag} {value}" for flag, value, other in flags if value != other)
            raise UsageError(
                f"--generated {file.path}: its images are {_shape(*made)}, those of this run {_shape(*wanted)}; "
                f"use {advice}"
            )
        # No code is allowed here: the user has named it by --network, or it is refused.
        return cls(file, restore_generator(file, ema=True, device=device))

    def images(self, real: ImageSet, count: int) -> ImageSet:
        """Generate images 0 to count − 1 of `LATENT_SEED`, with the generator's classes in turn.

        Args:
            real: the real training images; label k of the result means `real.classes[k]`.

        Returns:
            The images, in memory: uint8 (count, C, R, R) and labels int64 (count,).

        Raises:
            UsageError: there are fewer images than classes.
            UserError: the classes of the generator are not those of the real images.
            Diverged: the generator outputs NaN or infinity.
        """
        classes = self.loaded.classes
        numbers = class_numbers(real.classes, classes, f"--generated {self.file.path}", "generated")
        if count < len(classes):
            raise UsageError(f"--num {count}: use at least {len(classes)}, one image of each class")
        pixels = sample_tensor(self.loaded, SampleOptions(num=count, seed=LATENT_SEED), self.file.path)
        labels = labels_in_turn(range(count), len(classes))
        assert labels is not None
        return _image_set(pixels, numbers[labels], real, str(self.file.path))


def generator_record(file: CheckpointFile, real: ImageSet) -> dict[str, Any]:
    """Entry `generated` of the image sets in config.json.

    `same_images` is True if the generator was trained on the real training images of this run.
    """
    data = file.state["data"]
    return {
        "checkpoint": str(file.path),
        "sha256": file.sha256,
        "step": file.state["step"],
        "seed": LATENT_SEED,
        "trained_on": data["name"],
        "same_images": data["fingerprint"] == real.fingerprint,
    }


def require_same_generator(run: str, record: dict[str, Any], file: CheckpointFile) -> None:
    """Check that a checkpoint is the one that a run began with; a UserError with both hashes if not.

    Args:
        run: name of the run, for the message.
        record: the `generator_record` of the run.
    """
    if record["sha256"] != file.sha256:
        raise UserError(
            f"RUN {run}: --generated {file.path} is not the checkpoint that it began with ({record['checkpoint']}, "
            f"SHA-256 {record['sha256'][:12]}…, now {file.sha256[:12]}…); give that one, or choose another name"
        )


def save_images(path: Path, images: ImageSet) -> None:
    """Write generated images unless the file exists, so that all trainings of a run use the same bytes.

    Raises:
        UserError: the file cannot be written.
    """
    if path.exists():
        return
    checkpoint.save_checkpoint(path, {"kind": _KIND, "pixels": images.pixels, "labels": images.labels})


def read_images(path: Path, real: ImageSet, name: str) -> ImageSet:
    """Read what `save_images` wrote.

    Args:
        real: the real training images, for the class names.
        name: name of the set.

    Raises:
        UserError: the file is damaged.
    """
    state = checkpoint.load_checkpoint(path)
    if state.get("kind") != _KIND:
        raise UserError(f"{path}: has no generated images; remove it to generate them again")
    return _image_set(state["pixels"], state["labels"], real, name)


def _image_set(pixels: Tensor, labels: Tensor, real: ImageSet, name: str) -> ImageSet:
    return ImageSet.of(pixels, labels, real.classes, name=name)


def _shape(resolution: int, channels: int | None) -> str:
    return f"{resolution}x{resolution}x{channels}"
