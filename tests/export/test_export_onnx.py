"""ONNX graphs: plain layers and nothing else, any batch, the names and metadata, bytes to the level."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan.config.presets import PRESETS
from gan.config.train_config import TrainConfig
from gan.export import onnx_format
from gan.export.folding import fold_to_plain_layers
from gan.export.network import ExportSource, Port, Uint8Generator, random_inputs
from gan.export.verify import as_function, compare_outputs, require_close
from gan.models import build_discriminator, build_generator
from gan.models.classifiers import CLASSIFIERS, build_classifier
from gan.models.resnet import UpBlock
from gan.nn.convolutions import PooledConv2d, UpsampledConv2d
from gan.nn.resampling import Upsample2d
from gan.norm import NORMS
from gan.sampling import generate

onnx = pytest.importorskip("onnx", reason="needs the extra: pip install msn-gan[onnx]")
pytest.importorskip("onnxruntime", reason="needs the extra: pip install msn-gan[onnx]")
pytest.importorskip("onnxscript", reason="needs the extra: pip install msn-gan[onnx]")

Live = Callable[..., nn.Module]
IMAGES = Port("images", (3, 32, 32), "float32", "")
LABELS = Port("labels", (), "int64", "", (0, 2))
# What only a normalization that is computed on the device would need.
SHAPING = {"Shape", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Concat", "Slice"}
FOLDING = ("none", "bn", "wn", "mean", "sn", "msn-affine", "msn")
COMPUTED = {"BatchNormalization", "InstanceNormalization", "Sub", "Div", "Sqrt", "Pow", "MatMul", "Reciprocal"}


def source_of(network: nn.Module, kind: str, inputs: tuple[Port, ...], output: Port, classes: int = 0) -> ExportSource:
    names = tuple(map(str, range(classes)))
    return ExportSource(kind, network, lambda: network, inputs, output, names, {}, data=None, data_root="")


def of_generator(network: nn.Module, classes: int = 0, output: Port = IMAGES) -> ExportSource:
    inputs = (Port("latents", (8,), "float32", ""), *([LABELS] if classes else []))
    return source_of(network, "generator", inputs, output, classes)


def of_discriminator(network: nn.Module, classes: int = 0) -> ExportSource:
    inputs = (IMAGES, *([LABELS] if classes else []))
    return source_of(network, "discriminator", inputs, Port("logits", (), "float32", ""), classes)


def exported(item: ExportSource, **options: Any) -> Any:
    """The graph, which ONNX Runtime has been seen to run as torch runs the network."""
    model = onnx_format.onnx_graph(item, fold_to_plain_layers(item.network), **options)
    run = onnx_format.load_onnx(model.SerializeToString(), item)
    found = compare_outputs(as_function(item.network), run, random_inputs(item, 64), Path("x"))
    require_close(found, Path("x"))
    return model


def operators(model: Any) -> Counter[str]:
    """Count of each operator, without those that only change shapes: these differ between exporters."""
    return Counter(node.op_type for node in model.graph.node if node.op_type not in SHAPING)


def layers(network: nn.Module, *kinds: type[nn.Module]) -> int:
    return sum(isinstance(module, kinds) for module in network.modules())


def initial_values(model: Any) -> set[str]:
    return {tensor.name for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}


GENERATORS = [
    name if name == "msn-dcgan" else pytest.param(name, marks=pytest.mark.slow)
    for name in PRESETS
    if name != "sngan-projection" and PRESETS[name].network != "r3gan"  # below
]


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_are_plain_layers(lived: Live, name: str) -> None:
    config = PRESETS[name].replace({"g_width": 4, "latent_dim": 8})
    # Seven blocks of gain 2 in a row multiply the rounding of fp32 to more than the tolerance, in torch alone too.
    network = lived(build_generator(config), gain=1.0 if config.resolution == 256 else 2.0)
    shape = (config.channels, config.resolution, config.resolution)
    model = exported(of_generator(network, output=Port("images", shape, "float32", "")))
    found, constant = operators(model), len(fold_to_plain_layers(network).constant)
    assert not COMPUTED & set(found) and "ReduceMean" not in found
    merged = layers(network, UpsampledConv2d)  # with the upsampling before it a transposed convolution
    assert found["Conv"] == layers(network, nn.Conv2d) - merged and found["Resize"] == merged  # those of shortcuts
    assert "AveragePool" not in found and "Transpose" not in found  # of a kernel, which is stored as it is used
    assert found["ConvTranspose"] == layers(network, nn.ConvTranspose2d) + merged
    assert merged == layers(network, UpBlock)
    assert found["Gemm"] == layers(network, nn.Linear)
    assert found["Mul"] == constant
    assert found["Add"] == constant + layers(network, UpBlock)  # each ends with a sum
    assert constant == (merged + 1 if merged else 0)
    assert found["Tanh"] == 1
    assert not any("running" in name or name.endswith((".u", ".v")) for name in initial_values(model))


@pytest.mark.parametrize("resolution, width", [(32, 16), pytest.param(256, 64, marks=pytest.mark.slow)])
def test_r3gan_is_plain_layers(lived: Live, resolution: int, width: int) -> None:
    config = PRESETS["r3gan-narrow"].replace({"resolution": resolution, "g_width": width, "d_width": width})
    config = config.replace({"latent_dim": 8, "norm": "msn"})
    images = Port("images", (3, resolution, resolution), "float32", "")
    generator = lived(build_generator(config), gain=1.0)
    found = operators(exported(of_generator(generator, output=images)))
    stages = layers(generator, Upsample2d) + 1
    assert stages == {32: 4, 256: 7}[resolution]
    assert found == {
        "Gemm": 1,
        "Mul": 1,  # of the first maps
        "Conv": layers(generator, nn.Conv2d),
        "ConvTranspose": stages - 1,  # depthwise
        "LeakyRelu": 4 * stages,
        "Add": 2 * stages,
    }
    discriminator = lived(build_discriminator(config), gain=1.0)
    found = operators(exported(source_of(discriminator, "discriminator", (images,), Port("logits", (), "float32", ""))))
    downsampling = stages - 1
    assert found == {
        "Gemm": 1,
        "Conv": layers(discriminator, nn.Conv2d) + downsampling,
        "LeakyRelu": 4 * stages,
        "Add": 2 * stages,
    }


@pytest.mark.parametrize("layer, kind", [(PooledConv2d(64, 64), "Conv"), (UpsampledConv2d(64, 64), "ConvTranspose")])
def test_a_merged_kernel_is_stored_as_it_is_used(layer: nn.Module, kind: str) -> None:
    """Where a kernel is large the exporter leaves what makes it to the device, at each inference."""
    port = Port("images", (64, 8, 8), "float32", "")
    network = nn.Sequential(nn.ReLU(), layer).eval()
    side = 4 if kind == "Conv" else 16
    item = source_of(network, "discriminator", (port,), Port("maps", (64, side, side), "float32", ""))
    model = exported(item)
    assert [node.op_type for node in model.graph.node] == ["Relu", kind]
    assert {tuple(tensor.dims) for tensor in model.graph.initializer} == {(64, 64, 4, 4), (64,)}


def of_norm(lived: Live, network: str, norm: str) -> Any:
    config = TrainConfig().replace({"d_width": 4, "norm": norm, "network": network})
    return exported(of_discriminator(lived(build_discriminator(config))))


@pytest.mark.parametrize("norm", ["msn", *(pytest.param(name, marks=pytest.mark.slow) for name in FOLDING[:-1])])
def test_discriminators_are_plain_layers(lived: Live, norm: str) -> None:
    model = of_norm(lived, "dcgan", norm)
    assert operators(model) == {"Conv": 7, "LeakyRelu": 7, "Gemm": 1}
    names = initial_values(model)
    assert not any(word in name for name in names for word in ("running", "original", "parametrizations"))
    assert len(names) <= 2 * 8  # a weight and a bias for each layer


@pytest.mark.slow
def test_the_graph_of_every_norm_is_that_of_none_but_for_means(lived: Live) -> None:
    expected = operators(of_norm(lived, "resnet", "none"))
    assert expected["Conv"] == 10 and not COMPUTED & set(expected)
    assert expected["AveragePool"] == 2  # of the shortcuts of two blocks; their convolutions have theirs in them
    for norm in FOLDING:
        found = operators(of_norm(lived, "resnet", norm))
        if not NORMS[norm].pools:  # its training does not allow that
            found["AveragePool"] -= 2
        assert found == expected, norm


@pytest.mark.parametrize(
    "name", [name if name == "cnn3" else pytest.param(name, marks=pytest.mark.slow) for name in CLASSIFIERS]
)
def test_the_graph_of_every_classifier_is_that_of_none(lived: Live, name: str) -> None:
    found = {}
    for norm in ("msn",) if name == "cnn3" else ("none", "bn", "msn"):
        network = lived(build_classifier(name, norm, resolution=32, channels=3, classes=5))
        logits = Port("logits", (5,), "float32", "")
        found[norm] = operators(exported(source_of(network, "classifier", (IMAGES,), logits)))
        # A batch norm before its convolution (DenseNet) is a multiplication and an addition.
        constant = len(fold_to_plain_layers(network).constant)
        found[norm].subtract({"Mul": constant, "Add": constant} if constant else {})
        assert not COMPUTED & set(+found[norm])
        assert found[norm]["Conv"] == layers(network, nn.Conv2d) and found[norm]["Gemm"] == 1
    assert all(+one == +found["msn"] for one in found.values())
    if name == "cnn3":
        assert found["msn"] == {"Conv": 3, "LeakyRelu": 3, "Gemm": 1}


def test_norms_of_each_input_are_exported_as_they_are(lived: Live) -> None:
    sizes = {"ln": (3, 4), "in": (4, 1)}
    layers = [NORMS[norm].hidden(nn.Conv2d(*channels, 3, padding=1)) for norm, channels in sizes.items()]
    network = lived(nn.Sequential(*layers, nn.ReLU(), nn.AvgPool2d(32), nn.Flatten(0)))
    images = source_of(network, "discriminator", (IMAGES,), Port("logits", (), "float32", ""))
    found = operators(exported(images))
    assert found["Conv"] == found["InstanceNormalization"] + found["GroupNormalization"] == 2


def test_conditional_generators_take_labels(lived: Live) -> None:
    config = PRESETS["sngan-projection"].replace({"g_width": 4, "latent_dim": 8})
    model = exported(of_generator(lived(build_generator(config, 3)), classes=3))
    assert [port.name for port in model.graph.input] == ["latents", "labels"]
    found = operators(model)
    assert not COMPUTED & set(found)
    # A scale and a shift for each of the six conditional norms are looked up; the seventh is the same for all.
    assert (found["Gather"], found["Mul"], found["Add"]) == (12, 7, 7 + 3)


@pytest.mark.slow
def test_conditional_discriminators_take_labels(lived: Live) -> None:
    config = PRESETS["sngan-projection"].replace({"d_width": 4})
    model = exported(of_discriminator(lived(build_discriminator(config, 3)), classes=3))
    assert [port.name for port in model.graph.input] == ["images", "labels"]
    assert operators(model)["Gather"] == 1 and not COMPUTED & set(operators(model))


@pytest.mark.slow
@pytest.mark.parametrize("opset", onnx_format.OPSETS)
def test_opsets(lived: Live, opset: int) -> None:
    config = PRESETS["sngan-projection"].replace({"g_width": 4, "d_width": 4, "latent_dim": 8})
    bytes_port = Port("images", IMAGES.shape, "uint8", "")
    for item in (
        of_generator(lived(build_generator(config.replace({"network": "dcgan"})))),
        of_generator(Uint8Generator(lived(build_generator(config, 3))).eval(), 3, bytes_port),
        of_discriminator(lived(build_discriminator(config, 3)), 3),
    ):
        model = exported(item, opset=opset)
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
        assert model.ir_version == onnx.helper.find_min_ir_version_for(list(model.opset_import))


class Same(nn.Module):
    """Gives its latents as images of 16 x 16."""

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return latents.unflatten(1, (1, 16, 16))


def test_bytes_are_rounded_as_sampling_rounds_them() -> None:
    levels = torch.arange(256.0)
    rows = [levels / 127.5 - 1, (levels + 0.5) / 127.5 - 1, torch.linspace(-2, 2, 256), torch.linspace(-1, 1, 256)]
    rows += [torch.nextafter(rows[1], torch.tensor(sign)) for sign in (-9.0, 9.0)]
    latents = torch.stack(rows)
    network = Uint8Generator(Same()).eval()
    latent_port = Port("latents", (256,), "float32", "")
    item = source_of(network, "generator", (latent_port,), Port("images", (1, 16, 16), "uint8", ""))
    run = onnx_format.load_onnx(onnx_format.onnx_graph(item, fold_to_plain_layers(network)).SerializeToString(), item)
    expected = generate.to_uint8(latents).unflatten(1, (1, 16, 16))
    torch.testing.assert_close(run((latents,)), expected, rtol=0, atol=0)
    assert expected[0].flatten().tolist() == list(range(256)) and expected[2].min() == 0 and expected[2].max() == 255
