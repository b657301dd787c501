"""The network to export: read from a checkpoint, with its inputs, its output and its recipe"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan.config.choices import NETWORKS, NORMS
from gan.errors import UsageError
from gan.export.folding import FoldedNetwork
from gan.models import build_discriminator, build_generator
from gan.models.classifiers import CLASSIFIER_KIND, build_classifier, classifier_from_state
from gan.norm.layer_types import BATCH_NORMS
from gan.runs import checkpoint
from gan.runs.checkpoint import CLASSIFIER_FILE, CheckpointFile, train_config_of
from gan.runs.locate import find_checkpoint
from gan.runs.own_code import import_named_code, require_used
from gan.sampling import generate
from gan.utils.counted import counted
from gan.utils.environment import program_versions

GENERATOR, DISCRIMINATOR, CLASSIFIER = "generator", "discriminator", "classifier"
_RECORDED_VERSIONS = ("msn-gan", "git", "torch")


@dataclass(frozen=True)
class Port:
    """An input or output of a network. Its first dimension is the batch, of any size from 1."""

    name: str
    shape: tuple[int, ...]
    """Of one item, without the batch dimension."""
    dtype: str
    """As in numpy."""
    values: str
    """Meaning of the values."""
    range: tuple[float, float] | None = None
    """Smallest and largest value; None if unbounded."""

    def to_json(self) -> dict[str, Any]:
        """The port in a file's metadata."""
        return {**asdict(self), "shape": ("batch", *self.shape)}


@dataclass(frozen=True, eq=False)
class ExportSource:
    """A network that can be exported."""

    kind: str
    """`generator`, `discriminator` or `classifier`."""
    network: nn.Module
    """The trained network in evaluation mode, in fp32, on the CPU."""
    build: Callable[[], nn.Module]
    """Builds the same network with new weights."""
    inputs: tuple[Port, ...]
    output: Port
    classes: tuple[str, ...]
    """Class names: outputs of a classifier, or conditioning labels; empty for an unconditional network."""
    recipe: dict[str, Any]
    data: str | None
    """`--data` of its training, if the checkpoint records it."""
    data_root: str
    test_data: str | None = None
    """`--test-data` of a classifier's training, if given."""
    limit: int | None = None
    """`--limit` of a classifier's training, if given."""
    skip_bad_images: bool = False
    """`--skip-bad-images` of its training."""
    on_generated: bool = False
    """True for a classifier that was trained on images of a generator (`classify --generated`)."""
    generator: Callable[[], nn.Module] | None = None
    """For a discriminator: builds the generator that it was trained against."""

    @property
    def label_classes(self) -> int:
        """Number of classes of the labels that it takes as input; 0 if it takes none."""
        return len(self.classes) if len(self.inputs) > 1 else 0

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(C, R, R) of the images that it outputs or takes as input."""
        return self.output.shape if self.kind == GENERATOR else self.inputs[0].shape


class Uint8Generator(nn.Module):
    """A generator that rounds its images to the levels of a PNG file: uint8 (N, C, R, R)."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return generate.to_uint8(self.generator(latents, labels))


def load_export_source(
    path: Path,
    what: str | None,
    *,
    ema: bool | None = None,
    uint8: bool = False,
    network: Sequence[str] = (),
    norm: Sequence[str] = (),
) -> ExportSource:
    """Load the network of a checkpoint, or of the folder of a run of `train` or `classify`.

    Args:
        what: `generator` or `discriminator`; None for a classifier, or for a GAN's generator.
        ema: the EMA weights of a generator, not the trained ones; None: True.
        uint8: the generator outputs bytes.
        network, norm: those of the user's own, as in `--network` and `--norm`, whose code may run.

    Raises:
        UserError: the network needs code that is not named or has changed; there is no whole checkpoint at `path`, or
            its weights do not fit.
        UsageError: the checkpoint has no such network, or the network no such option.
    """
    file = find_checkpoint(_classifier_path(path), "export")
    kind = CLASSIFIER if file.state.get("kind") == CLASSIFIER_KIND else what or GENERATOR
    if kind == CLASSIFIER and what is not None:
        raise UsageError(f"--what {what}: {file.path} is a classifier, which has only one network; leave --what out")
    if kind != GENERATOR and uint8:
        raise UsageError(f"--uint8: is for the images of a generator; a {kind} outputs logits")
    if kind != GENERATOR and ema is not None:
        raise UsageError(f"--{'' if ema else 'no-'}ema: only a generator has EMA weights, a {kind} has none")
    _import_own_code(file, kind, network, norm)
    if kind == CLASSIFIER:
        return _classifier_source(file)
    return _gan_source(file, kind, ema=ema is not False, uint8=uint8)


def _import_own_code(file: CheckpointFile, kind: str, network: Sequence[str], norm: Sequence[str]) -> None:
    """Import the user's own code that a network needs; a UserError if it is not named, not needed, or has changed."""
    where, state = file.path, file.state
    networks, norms = [], []
    if kind == CLASSIFIER:
        norms = [state.get("norm")]
    else:
        config = train_config_of(state, where)
        networks, norms = [config.network], [config.norm] if kind == DISCRIMINATOR else []
    for choices, named, values in ((NETWORKS, network, networks), (NORMS, norm, norms)):
        require_used(choices, named, values, f"the {kind} of {where}")
        for value in values:
            import_named_code(choices, value, named, state, where)


def _classifier_path(path: Path) -> Path:
    """The trained classifier in a folder of `classify`, if it is the only one; other paths are returned unchanged."""
    if not path.is_dir() or checkpoint.list_checkpoints(path):
        return path
    files = sorted([*path.glob(CLASSIFIER_FILE), *path.glob(f"*/{CLASSIFIER_FILE}")])
    if len(files) > 1:
        raise UsageError(f"{path}: contains {counted(len(files), 'classifier')}; name one of them, as {files[0]}")
    return files[0] if files else path


def _gan_source(file: CheckpointFile, kind: str, *, ema: bool, uint8: bool) -> ExportSource:
    path, state = file.path, file.state
    config = train_config_of(state, path)
    classes = tuple(state["data"]["classes"])
    is_generator = kind == GENERATOR
    if not is_generator and NORMS.load(config.norm).critic is not None:
        raise UsageError(
            f"--what discriminator: {path} has --norm {config.norm}, whose critic changes its logits; that "
            "cannot be exported"
        )

    def build() -> nn.Module:
        return (build_generator if is_generator else build_discriminator)(config, len(classes)).eval()

    def trained_generator() -> nn.Module:
        generator = build_generator(config, len(classes)).eval()
        checkpoint.restore_weights(generator, state, GENERATOR, path)
        return generator

    network = build()
    checkpoint.restore_weights(network, state, "average" if is_generator and ema else kind, path)
    images = _image_port(config.channels, config.resolution)
    last = len(classes) - 1
    labels = (Port("labels", (), "int64", "number of the class", (0, last)),) if classes else ()
    if is_generator:
        latents = Port("latents", (config.latent_dim,), "float32", "drawn from a standard normal distribution")
        if uint8:
            images = Port("images", images.shape, "uint8", "levels of a PNG file", (0.0, 255.0))
            network = Uint8Generator(network)
        inputs, output = (latents, *labels), images
    else:
        inputs, output = (images, *labels), Port("logits", (), "float32", "above 0: taken for real")
    config_record = config.to_dict()
    del config_record["data_root"]
    recipe = {
        "kind": "gan",
        "network": kind,
        "norm": norm_of_generator(network) if is_generator else config.norm,
        "step": state["step"],
        "ema": ema if is_generator else None,
        "uint8": uint8,
        # The name of the data, since its path has no meaning on another machine.
        "config": {**config_record, "data": state["data"]["name"]},
        "classes": list(classes),
        "checkpoint": {"name": path.name, "sha256": file.sha256},
    }
    return ExportSource(
        kind,
        network.eval(),
        build,
        inputs,
        output,
        classes,
        recipe,
        data=config.data,
        data_root=config.data_root,
        skip_bad_images=config.skip_bad_images,
        generator=None if is_generator else trained_generator,
    )


def norm_of_generator(network: nn.Module) -> str:
    """`bn` for a generator with batch norm, also a conditional one, else `none`."""
    return "bn" if any(isinstance(module, BATCH_NORMS) for module in network.modules()) else "none"


def _classifier_source(file: CheckpointFile) -> ExportSource:
    state = file.state
    network = classifier_from_state(state, file.path)
    classes = tuple(state["classes"])
    shape = {"resolution": network.resolution, "channels": network.channels, "classes": len(classes)}
    training = state.get("training")
    images = training.get("images") if isinstance(training, Mapping) else None
    images = images if isinstance(images, Mapping) else {}  # absent from older checkpoints
    recipe = {
        "kind": CLASSIFIER_KIND,
        "network": CLASSIFIER,
        "model": state["model"],
        "norm": state["norm"],
        "step": state.get("step"),
        "classes": list(classes),
        "checkpoint": {"name": file.path.name, "sha256": file.sha256},
    }
    return ExportSource(
        kind=CLASSIFIER,
        network=network,
        build=lambda: build_classifier(state["model"], state["norm"], **shape).eval(),
        inputs=(_image_port(network.channels, network.resolution),),
        output=Port("logits", (len(classes),), "float32", f"of the classes {', '.join(classes)}"),
        classes=classes,
        recipe=recipe,
        data=images.get("data"),
        data_root=str(images.get("data_root", "data")),
        test_data=images.get("test_data"),
        limit=images.get("limit"),
        skip_bad_images=bool(images.get("skip_bad_images")),
        on_generated=bool(images.get("generated")),
    )


def _image_port(channels: int, resolution: int) -> Port:
    shape = (channels, resolution, resolution)
    return Port("images", shape, "float32", "k / 127.5 - 1 for level k of 0..255", (-1.0, 1.0))


def file_metadata(source: ExportSource, folded: FoldedNetwork, **more: Any) -> dict[str, str]:
    """The metadata of a file: `inputs`, `outputs` and `recipe`, each as JSON."""
    versions = program_versions()
    recipe = {
        **source.recipe,
        "folded": folded.folded,
        "constant": folded.constant,
        "kept": folded.kept,
        **more,
        "versions": {name: versions[name] for name in versions if name in _RECORDED_VERSIONS},
    }
    return {
        "inputs": json.dumps([port.to_json() for port in source.inputs]),
        "outputs": json.dumps([source.output.to_json()]),
        "recipe": json.dumps(recipe),
    }


def random_inputs(source: ExportSource, count: int, seed: int = 1) -> tuple[Tensor, ...]:
    """Random inputs: latents or uniform noise in [-1, 1], and labels of each class in turn."""
    shape = source.inputs[0].shape
    if source.kind == GENERATOR:
        first = generate.latents(seed, range(count), *shape)
    else:
        first = torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return with_labels(source, first, range(count))


def with_labels(source: ExportSource, first: Tensor, indices: range) -> tuple[Tensor, ...]:
    """Add the labels of the images with these indices, if the network takes labels."""
    labels = generate.labels_in_turn(indices, source.label_classes)
    return (first,) if labels is None else (first, labels)
