"""Numbers of a sample against their formulas; sampling has no side effects."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan.config.train_config import TrainConfig
from gan.data.image_set import ImageSet
from gan.dynamics.layers import (
    ActivationMoments,
    Recorder,
    activation_drift,
    hidden_outputs,
    raw_weight,
    weighted_layers,
)
from gan.dynamics.measure import DynamicsMeter, GradientStatistics
from gan.dynamics.probe_batches import PARTS, ClassifierProbe, DiscriminatorProbe
from gan.errors import UserError
from gan.models import build_discriminator, build_generator
from gan.models.classifiers import build_classifier
from gan.norm import NORMS, power_iterate, sigmas
from tests.helpers.norm_layers import LAYER_NORMS
from tests.helpers.states import same_bytes

CPU = torch.device("cpu")
Make = Callable[..., TrainConfig]
MakeImages = Callable[..., ImageSet]


class Squares:
    """Mean squares of a network's outputs for random inputs, in float64."""

    size = 6

    def __init__(self, *shape: int) -> None:
        generator = torch.Generator().manual_seed(1)
        self.parts = torch.randn(PARTS, self.size, *shape, generator=generator, dtype=torch.float64)

    def losses(self, network: nn.Module, recorder: Recorder) -> Iterator[Tensor]:
        for x in self.parts:
            with recorder.first(self.size):
                answer = network(x)
            yield answer.square().mean()


def small(norm: str) -> nn.Module:
    torch.manual_seed(3)
    layers = [NORMS[norm].hidden(nn.Conv2d(2, 5, 3, padding=1)), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, NORMS[norm].output(nn.Linear(5 * 16, 3))).double()


@pytest.mark.parametrize("norm", ["none", "sn", "msn", "bn", "wn"])
def test_numbers_of_a_layer(norm: str) -> None:
    network, probe = small(norm), Squares(2, 4, 4)
    found = DynamicsMeter(network, probe, {"norm": norm}).sample(full=True)
    twin = copy.deepcopy(network)
    power_iterate(twin)
    for name, layer in (("0", weighted_layers(twin)["0"]), ("3", weighted_layers(twin)["3"])):
        weight = raw_weight(layer)
        gradients = []
        for x in probe.parts:
            (gradient,) = torch.autograd.grad(twin(x).square().mean(), weight)
            gradients.append(gradient)
        stack = torch.stack(gradients)
        mean, numbers = stack.mean(0), found["layers"][name]
        sizes = mean.abs()
        values = torch.linalg.svdvals(weight.detach().flatten(1))
        expected = {
            "gradient_zeros": (mean == 0).double().mean(),
            "gradient_small": (sizes <= 1e-3 * sizes.max()).double().mean(),
            "gradient_variance": stack.var(0).mean(),
            "gradient_norm": mean.norm(),
            "gradient_sigma": torch.linalg.svdvals(mean.flatten(1))[0],
            "weight_mean": weight.mean(),
            "weight_std": weight.std(correction=0),
            "sigma": values[0],
            "stable_rank": values.square().sum() / values[0] ** 2,
            "used_sigma": torch.linalg.svdvals(layer.weight.detach().flatten(1))[0],
        }
        numbers = {key: value for key, value in numbers.items() if key != "operator_norm"}
        assert numbers == pytest.approx({key: value.item() for key, value in expected.items()}, rel=1e-5, abs=1e-12)
        assert found["spectra"][name] == pytest.approx(values.tolist(), rel=1e-5)
    assert "operator_norm" in found["layers"]["0"] and "operator_norm" not in found["layers"]["3"]
    if norm in ("sn", "msn"):
        assert found["layers"]["0"]["used_sigma"] == pytest.approx(
            found["layers"]["0"]["sigma"] / sigmas(twin)["0.layer" if norm == "msn" else "0"], rel=1e-5
        )
    loss = sum(twin(x).square().mean().item() for x in probe.parts) / PARTS
    assert found["loss"] == pytest.approx(loss, rel=1e-5)


def test_a_sample_that_is_not_full_leaves_out_what_takes_long() -> None:
    found = DynamicsMeter(small("none"), Squares(2, 4, 4), {}).sample(full=False)
    assert "spectra" not in found and all("operator_norm" not in layer for layer in found["layers"].values())


def test_drift_of_hand_made_channels() -> None:
    now = ActivationMoments(torch.tensor([1.0, -2.0, 5.0]), torch.tensor([2.0, 1.0, 0.0]))
    before = ActivationMoments(torch.tensor([0.0, 1.0, 0.0]), torch.tensor([4.0, 2.0, 0.0]))
    found = activation_drift(now, before)  # the last channel never varies
    assert found == {"drift": (1 / 4 + 3 / 2) / 2, "offset": (1 / 2 + 2 / 1) / 2, "spread": (2 / 4 + 1 / 2) / 2}


@pytest.mark.parametrize("norm", ["none", "msn"])
def test_drift_is_that_of_what_enters_the_activation(norm: str) -> None:
    network, probe = small(norm), Squares(2, 4, 4)
    subject = DynamicsMeter(network, probe, {})
    assert subject.sample(full=False)["activations"]["0"]["drift"] == 0.0

    def moments() -> tuple[Tensor, Tensor]:
        twin = copy.deepcopy(network)
        power_iterate(twin)
        with torch.no_grad():
            h = torch.cat([twin[0](x) for x in probe.parts]).transpose(0, 1).flatten(1)
        return h.mean(1), h.std(1, correction=0)

    mean, std = moments()
    shift = torch.arange(5.0).double()
    with torch.no_grad():
        (network[0].norm.bias if norm == "msn" else network[0].bias).add_(shift)
    found = subject.sample(full=False)["activations"]
    assert found.keys() == {"0"}
    assert found["0"]["drift"] == pytest.approx((shift / std).mean().item(), rel=1e-5)
    assert found["0"]["offset"] == pytest.approx(((mean + shift).abs() / std).mean().item(), rel=1e-5)
    assert found["0"]["spread"] == pytest.approx(1.0, rel=1e-5)


def test_hand_made_gradients() -> None:
    weight = nn.Parameter(torch.zeros(1, 3, dtype=torch.float64))
    gradients = GradientStatistics([weight])
    slopes = torch.tensor([[1.0, 0.0, 0.0], [3.0, 0.0, 1e-4], [5.0, 0.0, -1e-4]], dtype=torch.float64)
    for slope in slopes:
        gradients.add((weight * slope).sum())
    found = gradients.numbers(0, nn.Linear(3, 1))
    assert found["gradient_zeros"] == pytest.approx(2 / 3) and found["gradient_small"] == pytest.approx(2 / 3)
    assert found["gradient_variance"] == pytest.approx(slopes.var(0).mean().item())
    assert found["gradient_norm"] == found["gradient_sigma"] == pytest.approx(3.0)


def test_what_is_not_finite_is_null() -> None:
    network = small("none")
    subject = DynamicsMeter(network, Squares(2, 4, 4), {})
    with torch.no_grad():
        network[0].weight[0, 0, 0, 0] = float("nan")
    found = subject.sample(full=True)
    shares = ("gradient_zeros", "gradient_small")  # beside NaN nothing is small, which is no sign of a dense gradient
    assert all(layer[share] is None for layer in found["layers"].values() for share in shares)
    assert found["loss"] is None and found["layers"]["0"]["sigma"] is None and None in found["spectra"]["0"]
    assert found["layers"]["3"]["sigma"] is not None


@pytest.mark.parametrize("model", ["cnn3", "densenet-bc", pytest.param("resnet18", marks=pytest.mark.slow)])
def test_names_do_not_depend_on_the_norm(model: str) -> None:
    networks = [build_classifier(model, norm, resolution=16, channels=1, classes=3) for norm in LAYER_NORMS]
    names = [list(weighted_layers(network)) for network in networks]
    assert all(own == names[0] for own in names)
    assert all(raw_weight(layer).dim() in (2, 4) for layer in weighted_layers(networks[-1]).values())


def test_norms_apart_from_convolutions_give_the_pre_activations() -> None:
    bn = build_classifier("densenet-bc", "bn", resolution=8, channels=1, classes=3)
    outputs = hidden_outputs(bn)
    assert "stack.stem" not in outputs and isinstance(outputs["stack.ready.0"], nn.BatchNorm2d)
    assert "stack.stages.0.layers.0.narrow" in outputs and "stack.stages.0.layers.0.wide" not in outputs
    msn = build_classifier("densenet-bc", "msn", resolution=8, channels=1, classes=3)
    assert list(hidden_outputs(msn)) == [name for name in weighted_layers(msn) if name != "linear"]


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("network", ["dcgan", "resnet"])
def test_a_discriminator_and_its_generator_stay_as_they_were(
    network: str, joint: bool, tiny: Make, image_set: MakeImages
) -> None:
    config = tiny(network=network, norm="msn", d_batch="joint" if joint else "separate", conditional=True)
    generator, discriminator = build_generator(config, 3), build_discriminator(config, 3)
    before = copy.deepcopy((generator.state_dict(), discriminator.state_dict())), torch.get_rng_state()
    subject = DynamicsMeter(discriminator, DiscriminatorProbe(config, image_set(), 3, generator, CPU), {"norm": "msn"})
    found = subject.sample(full=True)
    same_bytes((generator.state_dict(), discriminator.state_dict()), before[0])
    assert torch.equal(torch.get_rng_state(), before[1])
    assert all(parameter.grad is None for parameter in discriminator.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in discriminator.modules())
    assert "head.embedding" in found["layers"] and found["part"] == 8 and found["norm"] == "msn"
    assert subject.sample(full=True) == found  # the same again


def test_the_loss_of_a_discriminator_is_that_of_training(tiny: Make, image_set: MakeImages) -> None:
    config = tiny(norm="bn", loss="hinge")
    generator, discriminator = build_generator(config), build_discriminator(config)
    probe = DiscriminatorProbe(config, image_set(), 0, generator, CPU)
    found = DynamicsMeter(discriminator, probe, {}).sample(full=False)["loss"]
    losses = []
    with torch.no_grad():
        for x, z in zip(probe._real, probe._latents, strict=True):
            fake = copy.deepcopy(generator)(z)
            real_logits, fake_logits = (copy.deepcopy(discriminator)(images) for images in (x, fake))
            losses.append((F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()).item())
    assert found == pytest.approx(sum(losses) / PARTS, rel=1e-5)


@pytest.mark.parametrize("d_batch", ["separate", "joint"])
@pytest.mark.parametrize("norm", ["sn", "msn", "bn"])
def test_means_are_of_the_real_images_alone(norm: str, d_batch: str, tiny: Make, image_set: MakeImages) -> None:
    """A change of the generator alone must not appear as drift of the discriminator, whatever its norm."""
    config = tiny(norm=norm, d_batch=d_batch)
    generator, discriminator = build_generator(config), build_discriminator(config)
    subject = DynamicsMeter(discriminator, DiscriminatorProbe(config, image_set(), 0, generator, CPU), {})
    first = subject.sample(full=False)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(3)
    second = subject.sample(full=False)
    assert second["loss"] != first["loss"]
    assert all(layer["drift"] == pytest.approx(0, abs=1e-6) for layer in second["activations"].values())
    with torch.no_grad():
        for parameter in discriminator.parameters():
            parameter.add_(0.1)
    assert any(layer["drift"] > 0.01 for layer in subject.sample(full=False)["activations"].values())


@pytest.mark.parametrize("norm, pooled", [("msn", ["blocks.0.conv2", "blocks.1.conv2"]), ("bn", [])])
def test_a_sample_names_what_is_seen_after_a_mean(
    norm: str, pooled: list[str], tiny: Make, image_set: MakeImages
) -> None:
    config = tiny(network="resnet", norm=norm)
    probe = DiscriminatorProbe(config, image_set(), 0, build_generator(config), CPU)
    found = DynamicsMeter(build_discriminator(config), probe, {}).sample(full=False)
    assert found["pooled"] == pooled and set(pooled) <= found["activations"].keys()


def test_the_probe_is_the_same_for_every_seed_and_norm(image_set: MakeImages) -> None:
    images = image_set(count=200, resolution=8)
    first, second = ClassifierProbe(images, 64, CPU), ClassifierProbe(images, 128, CPU)
    assert first.size == 32 and len(first._images) == PARTS
    assert all(torch.equal(a, b) for a, b in zip(first._images, second._images, strict=True))
    assert len({tuple(part.flatten().tolist()) for images in first._images for part in images}) == 128
    tiny_set: Any = ClassifierProbe(image_set(count=5, resolution=8), 4, CPU)  # images come again
    assert [len(part) for part in tiny_set._images] == [4] * PARTS


def test_dropout_of_a_network_does_not_draw_from_the_training() -> None:
    network = nn.Sequential(nn.Conv2d(2, 5, 3), nn.Dropout(0.5), nn.Flatten(), nn.Linear(20, 3)).double()
    before = torch.get_rng_state()
    DynamicsMeter(network, Squares(2, 4, 4), {}).sample(full=True)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_convolution_that_is_not_called_is_left_out() -> None:
    class Branches(nn.ModuleDict):
        def forward(self, x: Tensor) -> Tensor:
            return self["used"](x)

    network = Branches({"used": small("none"), "spare": nn.Conv2d(2, 2, 3).double()})
    sample = DynamicsMeter(network, Squares(2, 4, 4), {}).sample(full=True)
    assert list(sample["activations"]) == ["used.0"] and "operator_norm" not in sample["layers"]["spare"]


def test_a_network_that_cannot_be_copied_is_refused() -> None:
    layer = nn.Conv2d(2, 2, 3).double()
    del layer.weight
    layer.weight = torch.zeros(2, 2, 3, 3).double().requires_grad_() * 1  # as torch.nn.utils.weight_norm leaves it
    with pytest.raises(UserError, match="^--dynamics: the network cannot be copied, .*or leave --dynamics out$"):
        DynamicsMeter(nn.Sequential(layer), Squares(2, 4, 4), {})
