"""The classifiers of the MSN paper's experiments, and what a checkpoint of one holds.

`cnn3` is the small network of Subramanian & Chong 2019 (arXiv 1907.04003) for 28-pixel images, `vgg7` their shortened
VGG for 32-pixel ones, `densenet-bc` the network of Huang et al. 2017 (arXiv 1608.06993) with their settings, and
`resnet18` that of He et al. 2016 (arXiv 1512.03385), cut for 32 pixels as is usual. Only the normalization differs
between two classifiers of one name and seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gan.errors import UsageError, UserError
from gan.models.densenet import DenseNet
from gan.models.resnet_classifier import ResNet18
from gan.norm import NORMS
from gan.utils.random_streams import WEIGHTS, random_stream

CLASSIFIER_KIND = "classifier"
CNN3_SLOPE = 0.1  # of cnn3's LeakyReLU

_CNN3 = ((16, 5, 1, 2), (32, 3, 1, 2), (32, 4, 2, 2))  # channels, kernel, stride, padding
_VGG7 = (32, 32, "M", 64, 64, "M", 128, "M", 256, "M")  # channels of 3x3 convolutions; M halves the map


class Classifier(nn.Module):
    """Images (N, channels, R, R) in [-1, 1] to logits (N, K), by a stack of layers and a linear one.

    Biases start at 0, as m of MSN does, so that the same seed is the same function of the raw weights under each norm.

    Args:
        stack: gives the feature maps, (N, C, h, w).
        norm: a name in `gan.norm.NORMS`, for the linear layer.
        resolution: R.
        channels: 1 or 3.
        classes: K.
    """

    def __init__(self, stack: nn.Module, norm: str, resolution: int, channels: int, classes: int) -> None:
        super().__init__()
        self.stack = stack
        self.resolution = resolution
        self.channels = channels
        self.dimension = _flat_size(stack, resolution, channels)
        self.linear = NORMS[norm].output(nn.Linear(self.dimension, classes))
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        return self.features(images)[1]

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What the linear layer is given, (N, `dimension`), and the logits, (N, K)."""
        penultimate = self.stack(images).flatten(1)  # (N, C, h, w) -> (N, C*h*w)
        return penultimate, self.linear(penultimate)


def cnn3(norm: str, resolution: int, channels: int, classes: int) -> Classifier:
    """Three convolutions, each with the norm and LeakyReLU, and a linear layer; for 28 or 32 pixels."""
    layers: list[nn.Module] = []
    last = channels
    for out, kernel, stride, padding in _CNN3:
        layers += [NORMS[norm].hidden(nn.Conv2d(last, out, kernel, stride, padding)), nn.LeakyReLU(CNN3_SLOPE)]
        last = out
    return Classifier(nn.Sequential(*layers), norm, resolution, channels, classes)


def vgg7(norm: str, resolution: int, channels: int, classes: int) -> Classifier:
    """Six 3x3 convolutions, each with the norm and ReLU, four max pools and a linear layer; for 32 pixels or more."""
    layers: list[nn.Module] = []
    last = channels
    for item in _VGG7:
        if isinstance(item, str):
            layers.append(nn.MaxPool2d(2))
            continue
        padding = 0 if item == 256 else 1
        layers += [NORMS[norm].hidden(nn.Conv2d(last, item, 3, padding=padding)), nn.ReLU()]
        last = item
    return Classifier(nn.Sequential(*layers), norm, resolution, channels, classes)


def densenet_bc(norm: str, resolution: int, channels: int, classes: int) -> Classifier:
    """DenseNet-BC of 100 layers: growth 12, three blocks of 16, bottleneck 4, compression 0.8; for 32 pixels."""
    return Classifier(DenseNet(norm, channels), norm, resolution, channels, classes)


def resnet18(norm: str, resolution: int, channels: int, classes: int) -> Classifier:
    """ResNet-18 with a 3x3 stem and no max pool; for 32 pixels."""
    return Classifier(ResNet18(norm, channels), norm, resolution, channels, classes)


class Architecture(NamedTuple):
    """How a classifier is built."""

    build: Callable[[str, int, int, int], Classifier]
    """Of norm, resolution, channels and classes."""
    smallest: int
    """The resolution at which its last maps have a single position; smaller images would leave them none."""


CLASSIFIERS: dict[str, Architecture] = {
    "cnn3": Architecture(cnn3, 1),
    "vgg7": Architecture(vgg7, 32),
    "densenet-bc": Architecture(densenet_bc, 4),
    "resnet18": Architecture(resnet18, 8),
}


def build_classifier(
    name: str, norm: str, *, resolution: int, channels: int, classes: int, seed: int = 0
) -> Classifier:
    """A classifier with the initial weights of the seed; its raw weights are the same for every normalization.

    Raises:
        UsageError: there is no such classifier or norm, or the images are too small for it.
    """
    require_large_enough(name, resolution)
    if norm not in NORMS:
        raise UsageError(f"--norms {norm}: no such norm; choose from {', '.join(NORMS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_stream(seed, WEIGHTS, 2).initial_seed())
        return CLASSIFIERS[name].build(norm, resolution, channels, classes)


def require_large_enough(name: str, resolution: int) -> None:
    """Refuse a classifier that is not there, or too deep for the images.

    Raises:
        UsageError: says what there is, or which images it needs.
    """
    if name not in CLASSIFIERS:
        raise UsageError(f"--model {name}: no such classifier; choose from {', '.join(CLASSIFIERS)}")
    smallest = CLASSIFIERS[name].smallest
    if resolution < smallest:
        fitting = ", ".join(other for other, (_, least) in CLASSIFIERS.items() if least <= resolution)
        raise UsageError(
            f"--model {name}: too deep for images of {resolution} pixels; use --resolution {smallest} or more, "
            f"or another model ({fitting})"
        )


def require_statistics(name: str, norms: Sequence[str], resolution: int, batch: int) -> None:
    """Refuse norms that divide by the deviation of a channel where it would have a single value.

    Raises:
        UsageError: says what serves instead.
    """
    wrong = [norm for norm in norms if norm == "in" or (norm == "bn" and batch == 1)]
    if not wrong or smallest_map(name, resolution) > 1:
        return
    larger = resolution + 1
    while smallest_map(name, larger) == 1:
        larger += 1
    more = " or --batch 2 or more" if wrong == ["bn"] else ""
    raise UsageError(
        f"--norms {','.join(wrong)}: the last maps of {name} have one position at --resolution {resolution}"
        f"{' and --batch 1' if 'bn' in wrong else ''}, and one value has no deviation; "
        f"use --resolution {larger} or more{more}, or other norms"
    )


@cache
@torch.no_grad()
def smallest_map(name: str, resolution: int) -> int:
    """Positions of the smallest map that a convolution of a classifier gives, which is what a norm is given."""
    sizes = []
    with torch.device("meta"):  # shapes alone
        network = CLASSIFIERS[name].build("none", resolution, 3, 2)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(lambda layer, given, maps: sizes.append(maps[0, 0].numel()))
        network(torch.zeros(1, 3, resolution, resolution))
    return min(sizes)


def classifier_state(network: Classifier, name: str, norm: str, classes: Sequence[str]) -> dict[str, Any]:
    """The content of a classifier checkpoint; `gan.runs.checkpoint` describes the format."""
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
    """The classifier of a checkpoint, in evaluation mode.

    Args:
        where: what messages call the checkpoint.

    Raises:
        UserError: it is a checkpoint of another kind, or its weights do not fit what it says.
    """
    if state.get("kind") != CLASSIFIER_KIND:
        raise UserError(f"{where}: is not a checkpoint of a classifier (kind: {state.get('kind', 'none')})")
    try:
        shape = {key: state[key] for key in ("resolution", "channels")}
        network = build_classifier(state["model"], state["norm"], classes=len(state["classes"]), **shape)
        network.load_state_dict(state["weights"])
    except (KeyError, TypeError, AttributeError, RuntimeError, UsageError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{where}: does not fit this version of msn-gan, or is damaged ({reason})") from error
    return network.eval()


@torch.no_grad()
def _flat_size(stack: nn.Module, resolution: int, channels: int) -> int:
    """How many numbers the stack gives for an image."""
    found = stack.eval()(torch.zeros(1, channels, resolution, resolution))[0].numel()
    stack.train()
    return found


CLASSIFIER_FILE = "classifier.pt"
