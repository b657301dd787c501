"""8-bit integers: really 8 bits, the right parts of the network, and the numbers that are printed."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from gan import checkpoint
from gan.data import ImageSet, load
from gan.data.loader import to_float
from gan.errors import UserError
from gan.evaluate import report
from gan.export import quantize
from gan.export.subject import load as subject_of
from gan.looking import Looking
from gan.models.classifiers import build_classifier, to_state
from gan.request import Request

onnx = pytest.importorskip("onnx", reason="needs the extra: pip install msn-gan[onnx]")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra: pip install msn-gan[onnx]")

Call = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def digits() -> ImageSet:
    return load("digits", resolution=28, channels=1)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory, digits: ImageSet) -> Path:
    """cnn3 with MSN that reads most digits."""
    network = build_classifier("cnn3", "msn", resolution=28, channels=1, classes=10)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    draw = torch.Generator().manual_seed(0)
    for _ in range(40):
        chosen = torch.randint(len(digits), (64,), generator=draw)
        optimizer.zero_grad()
        F.cross_entropy(network(to_float(digits.fetch(chosen))), digits.labels[chosen]).backward()
        optimizer.step()
    path = tmp_path_factory.mktemp("classifier") / "k.pt"
    checkpoint.save(path, {**to_state(network, "cnn3", "msn", digits.classes), "config": {"data": "digits"}})
    return path


def accuracy(run: Callable[[torch.Tensor], torch.Tensor], images: ImageSet) -> float:
    found = run(to_float(images.fetch(torch.arange(len(images)))))
    return (found.argmax(1) == images.labels).double().mean().item()


def test_a_classifier_keeps_its_accuracy(call: Call, classifier: Path, digits: ImageSet) -> None:
    code, told = call("export", classifier, "--int8", "--out", "int8.onnx", "--opset", "21")
    assert code == 0, told
    session = onnxruntime.InferenceSession("int8.onnx", providers=["CPUExecutionProvider"])

    def int8(images: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])

    network = build_classifier("cnn3", "msn", resolution=28, channels=1, classes=10).eval()
    network.load_state_dict(checkpoint.load(classifier)["weights"])
    with torch.no_grad():
        before, after = accuracy(network, digits), accuracy(int8, digits)
    assert before > 0.8 and abs(before - after) < 0.02
    shown = f"accuracy: {before:.2%} in fp32, {after:.2%} in int8 (1,797 images of digits, which has no test split)"
    assert shown in told and "in fp32, " in told.split("size:")[1]

    model = onnx.load("int8.onnx")
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 21)]
    recipe = json.loads({entry.key: entry.value for entry in model.metadata_props}["recipe"])
    assert recipe["int8"]["accuracy"] == pytest.approx({"fp32": before, "int8": after})
    whole = {tensor.name: tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) >= 2}
    assert len(whole) == 4 and set(whole.values()) == {onnx.TensorProto.INT8}
    # a scale for each output channel of the first convolution
    scales = [t for t in model.graph.initializer if t.name.startswith("stack.0.weight") and t.name.endswith("scale")]
    assert list(scales[0].dims) == [16]
    assert Path("int8.onnx").stat().st_size < 0.3 * 4 * sum(value.numel() for value in network.parameters())


def test_a_generator_is_scored_before_and_after(call: Call, here: Path, tmp_path: Path) -> None:
    code, told = call("export", here, "--int8", "--uint8", "--num", "70", "--out", "g.onnx")
    assert code == 0, told
    found = re.search(r"FID: ([\d.]+) in fp32, ([\d.]+) in int8 \(70 images against 1,797 of digits\)", told)
    assert found
    request = Request((str(checkpoint.listed(here)[-1]),), Looking(features="digits"), num=70, metrics=("fid",))
    record, _ = report(request, tmp_path / "report")
    assert float(found[1]) == pytest.approx(record["results"][0]["fid"], rel=0.01)
    model = onnx.load("g.onnx")
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    producers = {name: node for node in model.graph.node for name in node.output}
    assert "ConvTranspose" not in {node.op_type for node in model.graph.node}  # no runtime has it in integers
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    *hidden, last = [producers[node.input[1]] if node.input[1] in producers else None for node in convolutions]
    assert last is None  # what is rounded there would go into the pixels
    assert all(node.op_type == "DequantizeLinear" for node in hidden)
    assert all(types[node.input[0]] == onnx.TensorProto.INT8 for node in hidden)
    assert model.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8


def test_a_discriminator_is_judged_by_its_verdicts(call: Call, here: Path) -> None:
    code, told = call("export", here, "--what", "discriminator", "--int8", "--out", "d.onnx")
    assert code == 0, told
    found = re.search(r"the same verdict in int8 on ([\d.]+)% of 1,797 images of digits", told)
    assert found and float(found[1]) > 50
    kinds = Counter(node.op_type for node in onnx.load("d.onnx").graph.node)
    assert kinds["QuantizeLinear"] >= 14 and kinds["Conv"] == 7


def test_calibration_inputs(classifier: Path, digits: ImageSet) -> None:
    quantizer = quantize.Quantizer(subject_of(classifier, None), quantize.Options())
    batches = quantizer.calibration()
    images = torch.cat([batch[0] for batch in batches])
    assert images.shape == (256, 1, 28, 28) and [len(batch) for batch in batches] == [1] * 4
    known = to_float(digits.fetch(torch.arange(len(digits)))).flatten(1)
    apart = torch.cdist(images.flatten(1), known, compute_mode="donot_use_mm_for_euclid_dist")
    chosen = (apart == 0).float().argmax(1)
    assert chosen.min() < 10 and chosen.max() > len(digits) - 10  # of the whole set
    torch.testing.assert_close(known[chosen], images.flatten(1), rtol=0, atol=0)


def test_bad_images(call: Call, classifier: Path, image_folder: Path) -> None:
    state = checkpoint.load(classifier)
    checkpoint.save(Path("bare.pt"), {key: value for key, value in state.items() if key != "config"})
    Path("flat").mkdir()
    for path in image_folder.rglob("*.png"):
        (Path("flat") / path.name).write_bytes(path.read_bytes())
    for path, flags, expected, part in (
        ("bare.pt", [], 2, "--int8: name the images with --data"),
        (classifier, ["--data", "nowhere"], 2, "--data nowhere: no such folder or zip"),
        (classifier, ["--data", "images"], 1, "--data images: its classes (a, b, c) are not those of the checkpoint"),
        (classifier, ["--data", "flat"], 1, "--data flat: has no labels; the accuracy needs them"),
    ):
        code, told = call("export", path, "--int8", *flags, "--out", "x.onnx")
        assert code == expected and part in told.splitlines()[-1], told
    assert not Path("x.onnx").exists()


def test_a_conditional_discriminator_needs_labels(here: Path, image_set: Callable[..., ImageSet]) -> None:
    quantizer = quantize.Quantizer(subject_of(Path("checkpoints/classes"), "discriminator"), quantize.Options())
    images, labels = quantizer.calibration()[0]
    assert images.shape == (64, 1, 32, 32) and labels.dtype == torch.int64
    quantizer.train = image_set(channels=1, labelled=False)
    with pytest.raises(UserError, match="--data digits: needs labels of the 10 classes"):
        quantizer.calibration()
