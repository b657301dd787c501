"""What is exported: a network of a checkpoint, its inputs and output, and the recipe that it was made by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan.config.train_config import TrainConfig
from gan.errors import UsageError
from gan.export.folding import FoldedNetwork
from gan.models import build_discriminator, build_generator
from gan.models.classifiers import CLASSIFIER_FILE, CLASSIFIER_KIND, build_classifier, classifier_from_state
from gan.runs import checkpoint
from gan.runs.checkpoint import train_config_of
from gan.sampling import generate
from gan.utils.environment import program_versions

GENERATOR, DISCRIMINATOR, CLASSIFIER = "generator", "discriminator", "classifier"
_SIGNED = (-1.0, 1.0)  # of images
_LEVELS = (0.0, 255.0)
_VERSIONS = ("msn-gan", "git", "torch")  # that are noted in a file


@dataclass(frozen=True)
class Port:
    """An input or output of a network. Its first dimension is the batch, and may be of any size from 1."""

    name: str
    shape: tuple[int, ...]
    """Of one item, without the batch."""
    dtype: str
    """As numpy calls it."""
    values: str
    """What the numbers are."""
    range: tuple[float, float] | None = None
    """Smallest and largest; None where they have no bound."""

    def to_json(self) -> dict[str, Any]:
        """As the metadata of a file has it."""
        bounds = None if self.range is None else list(self.range)
        shape = ["batch", *self.shape]
        return {"name": self.name, "shape": shape, "dtype": self.dtype, "values": self.values, "range": bounds}


@dataclass(frozen=True, eq=False)
class ExportSource:
    """A network that can be exported."""

    what: str
    """`generator`, `discriminator` or `classifier`."""
    network: nn.Module
    """As it was trained, in evaluation mode, in fp32, on the CPU."""
    fresh: Callable[[], nn.Module]
    """Makes the same network without its weights."""
    inputs: tuple[Port, ...]
    output: Port
    classes: tuple[str, ...]
    """Names of the classes that it tells apart or is told; none for an unconditional network."""
    recipe: dict[str, Any]
    trained_on: str | None
    """What `--data` said when it was trained, as far as the checkpoint tells."""
    data_root: str
    test_data: str | None = None
    """What `--test-data` of a classifier said; None: nothing."""
    limit: int | None = None
    """How many images a classifier learned from, where that was said."""
    generator: Callable[[], nn.Module] | None = None
    """Of a discriminator: the one that it was trained against."""

    @property
    def conditional(self) -> bool:
        """Whether labels go into it."""
        return len(self.inputs) > 1

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(C, R, R) of the images that it gives or is given."""
        return self.output.shape if self.what == GENERATOR else self.inputs[0].shape


class AsBytes(nn.Module):
    """A generator and the map of its images to the levels of a PNG file: uint8 (N, C, R, R)."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return generate.to_uint8(self.generator(latents, labels))


def load_export_source(path: Path, what: str | None, *, ema: bool | None = None, uint8: bool = False) -> ExportSource:
    """The network of a checkpoint.

    Args:
        path: a checkpoint of a GAN or a classifier, or the folder of a run, or of a training of `classify`.
        what: `generator` or `discriminator`; None for a classifier, or for a GAN's generator.
        ema: a generator's moving average, not the trained weights themselves; None: yes.
        uint8: a generator's images are to be bytes.

    Raises:
        UserError: there is no whole checkpoint at `path`, or its weights do not fit.
        UsageError: the checkpoint has no such network, or the network no such option.
    """
    path, state = checkpoint.find_checkpoint(_of_classify(path))
    found = CLASSIFIER if state.get("kind") == CLASSIFIER_KIND else what or GENERATOR
    if found == CLASSIFIER and what is not None:
        raise UsageError(f"--what {what}: {path} is of a classifier, which has one network; leave --what out")
    if found != GENERATOR and uint8:
        raise UsageError(f"--uint8: is for the images of a generator; a {found} gives logits")
    if found != GENERATOR and ema is not None:
        raise UsageError(f"--{'' if ema else 'no-'}ema: only a generator has an average, a {found} has none")
    source = {"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    if found == CLASSIFIER:
        return _classifier(path, state, source)
    return _of_gan(path, state, found, source, ema=ema is not False, uint8=uint8)


def _of_classify(path: Path) -> Path:
    """The trained classifier in a folder of `classify`; other paths stay.

    Raises:
        UsageError: there are several.
    """
    if not path.is_dir() or checkpoint.list_checkpoints(path):
        return path
    found = sorted([*path.glob(CLASSIFIER_FILE), *path.glob(f"*/{CLASSIFIER_FILE}")])
    if len(found) > 1:
        raise UsageError(f"{path}: holds {len(found)} classifiers; name one of them, as {found[0]}")
    return found[0] if found else path


def _of_gan(
    path: Path, state: dict[str, Any], what: str, source: dict[str, str], *, ema: bool, uint8: bool
) -> ExportSource:
    config = train_config_of(state, path)
    classes = tuple(state["data"]["classes"])
    generates = what == GENERATOR
    fresh = _builder(config, len(classes), generates=generates)
    network = fresh()
    checkpoint.restore_weights(network, state, "average" if generates and ema else what, path)
    images = _images(config.channels, config.resolution)
    labels = _labels(classes)
    if generates:
        latents = Port("latents", (config.latent_dim,), "float32", "drawn from a standard normal distribution")
        if uint8:
            images = Port("images", images.shape, "uint8", "levels of a PNG file", _LEVELS)
            network = AsBytes(network)
        inputs, output = (latents, *labels), images
    else:
        inputs, output = (images, *labels), Port("logits", (), "float32", "above 0: taken for real")
    settings = config.to_dict()
    del settings["data_root"]
    recipe = {
        "kind": "gan",
        "network": what,
        "norm": config.norm if not generates else "bn",
        "step": state["step"],
        "ema": ema if generates else None,
        "uint8": uint8,
        # A path says nothing away from the machine that it was on.
        "config": {**settings, "data": state["data"]["name"]},
        "classes": list(classes),
        "checkpoint": source,
    }

    def generator() -> nn.Module:
        trained = _builder(config, len(classes), generates=True)()
        checkpoint.restore_weights(trained, state, GENERATOR, path)
        return trained

    return ExportSource(
        what,
        network.eval(),
        fresh,
        inputs,
        output,
        classes,
        recipe,
        trained_on=config.data,
        data_root=config.data_root,
        generator=None if generates else generator,
    )


def _classifier(path: Path, state: dict[str, Any], source: dict[str, str]) -> ExportSource:
    network = classifier_from_state(state, path)
    classes = tuple(state["classes"])
    shape = {"resolution": network.resolution, "channels": network.channels, "classes": len(classes)}
    facts = state.get("training")
    images = facts.get("images") if isinstance(facts, Mapping) else None
    images = images if isinstance(images, Mapping) else {}  # older checkpoints do not have it
    recipe = {
        "kind": CLASSIFIER_KIND,
        "network": CLASSIFIER,
        "model": state["model"],
        "norm": state["norm"],
        "step": state.get("step"),
        "classes": list(classes),
        "checkpoint": source,
    }
    return ExportSource(
        what=CLASSIFIER,
        network=network,
        fresh=lambda: build_classifier(state["model"], state["norm"], **shape).eval(),
        inputs=(_images(network.channels, network.resolution),),
        output=Port("logits", (len(classes),), "float32", f"of the classes {', '.join(classes)}"),
        classes=classes,
        recipe=recipe,
        trained_on=images.get("data"),
        data_root=str(images.get("data_root", "data")),
        test_data=images.get("test_data"),
        limit=images.get("limit"),
    )


def _builder(config: TrainConfig, classes: int, *, generates: bool) -> Callable[[], nn.Module]:
    build = build_generator if generates else build_discriminator
    return lambda: build(config, classes).eval()


def _images(channels: int, resolution: int) -> Port:
    return Port("images", (channels, resolution, resolution), "float32", "k / 127.5 - 1 for level k of 0..255", _SIGNED)


def _labels(classes: tuple[str, ...]) -> tuple[Port, ...]:
    if not classes:
        return ()
    return (Port("labels", (), "int64", "number of the class", (0, len(classes) - 1)),)


def file_metadata(subject: ExportSource, plain: FoldedNetwork, **more: Any) -> dict[str, str]:
    """The metadata of a file: `inputs`, `outputs` and `recipe`, each as JSON."""
    recipe = {
        **subject.recipe,
        "folded": plain.folded,
        "constant": plain.constant,
        "kept": plain.kept,
        **more,
        "versions": {name: version for name, version in program_versions().items() if name in _VERSIONS},
    }
    return {
        "inputs": json.dumps([port.to_json() for port in subject.inputs]),
        "outputs": json.dumps([subject.output.to_json()]),
        "recipe": json.dumps(recipe),
    }


def random_inputs(subject: ExportSource, count: int, seed: int = 1) -> tuple[Tensor, ...]:
    """Inputs as the network may meet them: latents, or images of noise, and labels in turn."""
    first = subject.inputs[0]
    if subject.what == GENERATOR:
        given = generate.latents(seed, range(count), *first.shape)
    else:
        given = torch.rand(count, *first.shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    labels = generate.labels_in_turn(range(count), len(subject.classes) if subject.conditional else 0)
    return (given,) if labels is None else (given, labels)
