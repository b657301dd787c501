"""Classifiers of the MSN paper's experiments, and the content of their checkpoints.

`cnn3` is the small network of Subramanian & Chong 2019 (arXiv 1907.04003) for 28- or 32-pixel images, `vgg7` their
shortened VGG for 32 pixels or more, `densenet-bc` the 100-layer DenseNet-BC of Huang et al. 2017 (arXiv 1608.06993) as
the MSN paper configures it (growth 12, bottleneck 4, compression 0.8), and `resnet18` and `resnet20` networks of He et
al. 2016 (arXiv 1512.03385), the first with the usual changes for 32 pixels. Only the normalization differs between two
classifiers of the same name and seed.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gan.config.norm_spec import parse_norm
from gan.errors import UsageError, UserError
from gan.models.blocks import normalized
from gan.models.densenet import DenseNet
from gan.models.norms import create_norm
from gan.models.resnet_classifier import RESNET18, RESNET20, ResNet
from gan.norm import Norm, compose
from gan.utils.random_streams import WEIGHTS, random_stream, seeded_globally
from gan.utils.written_by import does_not_fit

CLASSIFIER_KIND = "classifier"
_MISMATCHES = (KeyError, TypeError, AttributeError, RuntimeError, UsageError)
_AGAIN = "train the classifier again"
CNN3_SLOPE = 0.1  # negative slope of its LeakyReLU

# Convolutions as (channels, kernel, stride, padding); "M" is a 2x2 max pool.
_CNN3 = ((16, 5, 1, 2), (32, 3, 1, 2), (32, 4, 2, 2))
_VGG7 = ((32, 3, 1, 1), (32, 3, 1, 1), "M", (64, 3, 1, 1), (64, 3, 1, 1), "M", (128, 3, 1, 1), "M", (256, 3, 1, 0), "M")


class Classifier(nn.Module):
    """A stack of layers and a linear layer: images (N, channels, R, R) in [-1, 1] to logits (N, K).

    Biases start at 0, as m of MSN, so that under each norm a seed gives the same function of the raw weights.

    Args:
        stack: images to feature maps, (N, C, h, w).
        norm: normalizes the linear layer.
        resolution: R.
        channels: 1 or 3.
        classes: K.
    """

    def __init__(self, stack: nn.Module, norm: Norm, resolution: int, channels: int, classes: int) -> None:
        super().__init__()
        self.stack = stack
        self.resolution = resolution
        self.channels = channels
        self.dimension = _flat_size(stack, resolution, channels)
        self.linear = norm.output(nn.Linear(self.dimension, classes))
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        return self.features(images)[1]

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the input of the linear layer, (N, `dimension`), and the logits, (N, K)."""
        penultimate = self.stack(images).flatten(1)  # (N, C, h, w) -> (N, C*h*w)
        return penultimate, self.linear(penultimate)


class Architecture(NamedTuple):
    """The layers of a classifier below its linear layer."""

    stack: Callable[[Norm, int], nn.Module]
    """Builds them from the norm and the channels of the images."""
    smallest: int
    """The resolution at which the last maps have a single position; smaller images would leave none."""


def _convolutional(
    layers: Sequence[tuple[int, int, int, int] | str], activation: Callable[[], nn.Module], norm: Norm, channels: int
) -> nn.Module:
    """Stack the convolutions of a table, each followed by the norm and an activation, and its max pools."""
    modules: list[nn.Module] = []
    last = channels
    for layer in layers:
        if isinstance(layer, str):
            modules.append(nn.MaxPool2d(2))
            continue
        out, kernel, stride, padding = layer
        modules += [normalized(norm.hidden, nn.Conv2d(last, out, kernel, stride, padding)), activation()]
        last = out
    return nn.Sequential(*modules)


CLASSIFIERS: dict[str, Architecture] = {
    "cnn3": Architecture(partial(_convolutional, _CNN3, partial(nn.LeakyReLU, CNN3_SLOPE)), 1),
    "vgg7": Architecture(partial(_convolutional, _VGG7, nn.ReLU), 32),
    "densenet-bc": Architecture(DenseNet, 4),
    "resnet18": Architecture(partial(ResNet, *RESNET18), 8),
    "resnet20": Architecture(partial(ResNet, *RESNET20), 4),
}


def build_classifier(
    name: str, norm: str, *, resolution: int, channels: int, classes: int, seed: int = 0
) -> Classifier:
    """Build a classifier with initial weights drawn from the seed; the raw weights are the same for every norm.

    Raises UsageError if there is no such classifier or norm, or the images are too small for it.
    """
    require_large_enough(name, resolution)
    normalize = create_norm(norm, "--norms")
    if normalize.critic:
        raise UsageError(f"--norms {norm}: a critic normalizes a GAN's discriminator; a classifier has none")
    with seeded_globally(random_stream(seed, WEIGHTS, 2).initial_seed()):
        return Classifier(CLASSIFIERS[name].stack(normalize, channels), normalize, resolution, channels, classes)


def require_large_enough(name: str, resolution: int) -> None:
    """Raise UsageError if a classifier does not exist, or images of this resolution are too small for it."""
    if name not in CLASSIFIERS:
        raise UsageError(f"--model {name}: no such classifier; choose from {', '.join(CLASSIFIERS)}")
    smallest = CLASSIFIERS[name].smallest
    if resolution < smallest:
        fitting = ", ".join(other for other, (_, minimum) in CLASSIFIERS.items() if minimum <= resolution)
        raise UsageError(
            f"--model {name}: too deep for images of {resolution} pixels; use --resolution {smallest} or more, "
            f"or another model ({fitting})"
        )


def require_statistics(name: str, norms: Sequence[str], resolution: int, batch: int) -> None:
    """Raise UsageError for norms that divide by the standard deviation of a channel, if it has a single value."""
    features = {norm: part.name for norm in norms if (part := parse_norm(norm).feature_norm)}
    undefined = [norm for norm, name in features.items() if name == "in" or (name == "bn" and batch == 1)]
    if not undefined or smallest_map(name, resolution) > 1:
        return
    larger = resolution + 1
    while smallest_map(name, larger) == 1:
        larger += 1
    names = {features[norm] for norm in undefined}
    more = " or --batch 2 or more" if names == {"bn"} else ""
    raise UsageError(
        f"--norms {','.join(undefined)}: the last maps of {name} have one position at --resolution {resolution}"
        f"{' and --batch 1' if 'bn' in names else ''}, and one value has no standard deviation; "
        f"use --resolution {larger} or more{more}, or other norms"
    )


@cache
@torch.no_grad()
def smallest_map(name: str, resolution: int) -> int:
    """Number of positions of the smallest map that a convolution of a classifier outputs, the input of its norm."""
    sizes = []
    with torch.device("meta"):  # shapes alone
        stack = CLASSIFIERS[name].stack(compose(), 3)
        for module in stack.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(lambda layer, inputs, maps: sizes.append(maps[0, 0].numel()))
        stack(torch.zeros(1, 3, resolution, resolution))
    return min(sizes)


def classifier_state(network: Classifier, name: str, norm: str, classes: Sequence[str]) -> dict[str, Any]:
    """Return the content of a classifier checkpoint; `gan.runs.checkpoint` describes the format."""
    return {
        "kind": CLASSIFIER_KIND,
        "model": name,
        "norm": norm,
        "classes": list(classes),
        "channels": network.channels,
        "resolution": network.resolution,
        "weights": network.state_dict(),
    }


def classifier_from_state(state: Mapping[str, Any], where: object) -> Classifier:
    """Build the classifier of a checkpoint, in evaluation mode.

    Args:
        where: name of the checkpoint in messages.

    Raises:
        UserError: it is a checkpoint of another kind, or its weights do not match its other entries.
    """
    network = _built_as(state, where)
    try:
        network.load_state_dict(state["weights"])
    except _MISMATCHES as error:
        raise does_not_fit(where, error, state, _AGAIN) from error
    return network.eval()


def unnormalized_classifier(state: Mapping[str, Any], where: object) -> Classifier:
    """Build a network like the classifier of a checkpoint, but without a norm and with initial weights.

    Args:
        where: name of the checkpoint in messages.

    Raises:
        UserError: it is a checkpoint of another kind, or its entries are not of a classifier.
    """
    return _built_as({**state, "norm": "none"}, where)


def _built_as(state: Mapping[str, Any], where: object) -> Classifier:
    """A network as the entries of a checkpoint say, with initial weights."""
    if state.get("kind") != CLASSIFIER_KIND:
        raise UserError(f"{where}: is not a checkpoint of a classifier (kind: {state.get('kind', 'none')})")
    try:
        shape = {key: state[key] for key in ("resolution", "channels")}
        return build_classifier(state["model"], state["norm"], classes=len(state["classes"]), **shape)
    except _MISMATCHES as error:
        raise does_not_fit(where, error, state, _AGAIN) from error


@torch.no_grad()
def _flat_size(stack: nn.Module, resolution: int, channels: int) -> int:
    """Number of values that the stack outputs for an image."""
    size = stack.eval()(torch.zeros(1, channels, resolution, resolution))[0].numel()
    stack.train()
    return size
