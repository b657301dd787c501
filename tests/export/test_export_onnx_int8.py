"""8-bit integers: really 8 bits, the right parts of the network, and the numbers that are printed."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from gan.data.batches import to_float
from gan.data.image_set import ImageSet
from gan.data.train_test_sets import load_train_and_test
from gan.errors import UserError
from gan.evaluation.evaluator import evaluate
from gan.evaluation.options import EvaluationOptions
from gan.experiments.classify.experiment import run_classification
from gan.export.calibration import QuantizationData, QuantizationOptions
from gan.export.network import load_export_source
from gan.metrics.extractor import ExtractorOptions
from gan.models.classifiers import build_classifier, classifier_from_state, classifier_state
from gan.runs import checkpoint, log
from gan.sampling import generate
from gan.sampling.load_generator import load_generator
from tests.conftest import TINY

onnx = pytest.importorskip("onnx", reason="needs the extra: pip install msn-gan[onnx]")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra: pip install msn-gan[onnx]")

Call = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training of `classify`: cnn3 with MSN that reads most digits."""
    root = tmp_path_factory.mktemp("classifier")
    settings = {"model": "cnn3", "norms": ["msn"], "lr": [0.002], "resolution": 28, "epochs": 2, "batch": 64}
    run_classification("k", {**settings, "precision": "fp32"}, root=root, device="cpu")
    return root / "checkpoints" / "k" / "msn-lr0.002-seed0"


@pytest.fixture(scope="module")
def sets() -> tuple[ImageSet, ImageSet]:
    """The digits that classifiers are trained and tested on."""
    return load_train_and_test("digits", resolution=28, channels=1)


def accuracy(run: Callable[[torch.Tensor], torch.Tensor], images: ImageSet) -> float:
    found = run(to_float(images.fetch(torch.arange(len(images)))))
    return (found.argmax(1) == images.labels).double().mean().item()


def test_a_classifier_keeps_its_accuracy(call: Call, classifier: Path, sets: tuple[ImageSet, ImageSet]) -> None:
    code, told = call("export", classifier, "--int8", "--out", "int8.onnx", "--opset", "21")
    assert code == 0, told
    session = onnxruntime.InferenceSession("int8.onnx", providers=["CPUExecutionProvider"])

    def int8(images: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])

    state = checkpoint.load_checkpoint(classifier / "classifier.pt")
    network, test = classifier_from_state(state, classifier), sets[1]
    with torch.no_grad():
        before, after = accuracy(network, test), accuracy(int8, test)
    assert before > 0.8 and abs(before - after) < 0.02
    shown = f"accuracy: {before:.2%} in fp32, {after:.2%} in int8 ({len(test)} test images of digits)"
    assert shown in told and "in fp32, " in told.split("size:")[1]
    assert before == pytest.approx(log.read_log(classifier / "log.jsonl")[-1]["test_accuracy"])  # as `classify` told it

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


@pytest.mark.slow
def test_a_generator_is_scored_before_and_after(call: Call, here: Path, tmp_path: Path) -> None:
    code, told = call("export", here, "--int8", "--uint8", "--num", "70", "--out", "g.onnx")
    assert code == 0, told
    found = re.search(r"FID: ([\d.]+) in fp32, ([\d.]+) in int8 \(70 images against 1,797 of digits\)", told)
    assert found
    assert re.search(r"pixels differ by [\d.]+ of 255 levels on average, at most by \d+; PSNR [\d.]+ dB: \w+", told)
    request = EvaluationOptions(
        (str(checkpoint.list_checkpoints(here)[-1]),), ExtractorOptions(features="digits"), num=70, metrics=("fid",)
    )
    record = evaluate(request, tmp_path / "report").record
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


@pytest.mark.slow
def test_a_discriminator_is_judged_by_its_verdicts(call: Call, here: Path) -> None:
    code, told = call("export", here, "--what", "discriminator", "--int8", "--out", "d.onnx")
    assert code == 0, told
    found = re.search(
        r"int8 and fp32 agree on ([\d.]+)% of 1,797 images of digits, which has no test split, and as many of its "
        r"generator; accuracy of real against generated: ([\d.]+)% in fp32, ([\d.]+)% in int8; the logits differ by",
        told,
    )
    assert found and float(found[1]) > 50
    model = onnx.load("d.onnx")
    recipe = json.loads({entry.key: entry.value for entry in model.metadata_props}["recipe"])
    measured = [recipe["int8"]["accuracy"][kind] for kind in ("fp32", "int8")]
    assert measured == pytest.approx([float(number) / 100 for number in found.groups()[1:]], abs=1e-4)
    kinds = Counter(node.op_type for node in model.graph.node)
    assert kinds["QuantizeLinear"] >= 14 and kinds["Conv"] == 7


def test_a_constant_discriminator_is_seen(here: Path) -> None:
    """Of real images alone, one that always says "real" would agree with one that tells them from others."""
    quantizer = QuantizationData(load_export_source(here, "discriminator"), QuantizationOptions())
    real = {tuple(image.flatten().tolist()) for batch in quantizer._test_inputs("") for image in batch[0]}

    def trained(inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return torch.tensor([1.0 if tuple(image.flatten().tolist()) in real else -1.0 for image in inputs[0]])

    found = quantizer.agreement(trained, lambda inputs: torch.ones(len(inputs[0])))
    assert found["accuracy"] == {"fp32": 1.0, "int8": 0.5} and found["same_verdict"] == 0.5


def test_a_discriminator_is_shown_the_images_of_its_generator(here: Path) -> None:
    quantizer = QuantizationData(load_export_source(here, "discriminator"), QuantizationOptions())
    images = torch.cat([batch[0] for batch in quantizer.calibration_inputs()])
    generator = load_generator(here, ema=False, device="cpu")[0]
    with torch.no_grad():
        fakes = generator(generate.latents(2, range(256), TINY["latent_dim"]))
    assert len(images) == 512
    torch.testing.assert_close(images[256:], fakes)
    judged = torch.cat([batch[0] for batch in quantizer._fake_inputs()])
    assert len(judged) == len(quantizer.test) == 1797 and not torch.equal(judged[:256], fakes)


def test_calibration_inputs(classifier: Path, sets: tuple[ImageSet, ImageSet]) -> None:
    train, test = sets
    quantizer = QuantizationData(load_export_source(classifier, None), QuantizationOptions())
    batches = quantizer.calibration_inputs()
    images = torch.cat([batch[0] for batch in batches])
    assert images.shape == (256, 1, 28, 28) and [len(batch) for batch in batches] == [1] * 4
    known = to_float(train.fetch(torch.arange(len(train)))).flatten(1)
    apart = torch.cdist(images.flatten(1), known, compute_mode="donot_use_mm_for_euclid_dist")
    chosen = (apart == 0).float().argmax(1)
    assert chosen.min() < 10 and chosen.max() > len(train) - 10  # of the whole set
    torch.testing.assert_close(known[chosen], images.flatten(1), rtol=0, atol=0)
    assert quantizer.test.fingerprint == test.fingerprint  # which training has not seen


@pytest.mark.slow
def test_test_images_can_be_named(call: Call, classifier: Path, image_folder: Path) -> None:
    """Of a checkpoint that says so, on the command line, or both."""
    state = checkpoint.load_checkpoint(classifier / "classifier.pt")
    network = build_classifier("cnn3", "msn", resolution=28, channels=1, classes=3)
    shutil.copytree("images", "others")
    for path in Path("others").rglob("*.png"):  # other images of the same classes
        Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path)
    named = {"data": "images", "test_data": "others", "data_root": "data", "limit": 3}
    own = classifier_state(network, "cnn3", "msn", ["a", "b", "c"])
    checkpoint.save_checkpoint(Path("named.pt"), {**own, "training": {**state["training"], "images": named}})
    checkpoint.save_checkpoint(Path("old.pt"), own)
    quantizer = QuantizationData(load_export_source(Path("named.pt"), None), QuantizationOptions())
    assert (quantizer.data, quantizer.test_name, len(quantizer.train)) == ("images", "others", 3)
    for path, flags in (("named.pt", []), ("old.pt", ["--data", "images", "--test-data", "others"])):
        code, told = call("export", path, "--int8", *flags, "--out", f"{path}.onnx")
        assert code == 0 and re.search(r"in int8 \(\d+ test images of others\)", told), told


def test_bad_images(call: Call, classifier: Path, here: Path, image_folder: Path) -> None:
    state = checkpoint.load_checkpoint(classifier / "classifier.pt")
    checkpoint.save_checkpoint(Path("bare.pt"), {key: value for key, value in state.items() if key != "training"})
    Path("flat").mkdir()
    for path in image_folder.rglob("*.png"):
        (Path("flat") / path.name).write_bytes(path.read_bytes())
    for path, flags, expected, part in (
        ("bare.pt", [], 2, "--int8: name the images with --data"),
        (classifier, ["--data", "nowhere"], 2, "--data nowhere: no such folder, zip or npz"),
        (classifier, ["--data", "images"], 2, "--test-data: images has no test split"),
        (classifier, ["--data", "images", "--test-data", "digits"], 1, "--test-data digits: its classes differ from"),
        (classifier, ["--data", "flat"], 1, "--data flat: has no labels"),
        (classifier, ["--num", "9", "--features", "digits"], 2, "--num, --features: for the FID of a generator; a cl"),
        (here, ["--what", "discriminator", "--num", "9"], 2, "--num: for the FID of a generator; a discriminator has"),
        (here, ["--what", "discriminator", "--test-data", "digits"], 2, "--test-data: for the accuracy of a classif"),
        (here, ["--test-data", "digits"], 2, "--test-data: for the accuracy of a classifier; a generator takes --data"),
    ):
        code, told = call("export", path, "--int8", *flags, "--out", f"{path}.onnx")
        assert code == expected and part in told.splitlines()[-1], told
    assert not Path("x.onnx").exists()


def test_a_conditional_discriminator_needs_labels(here: Path, image_set: Callable[..., ImageSet]) -> None:
    quantizer = QuantizationData(
        load_export_source(Path("checkpoints/classes"), "discriminator"), QuantizationOptions()
    )
    images, labels = quantizer.calibration_inputs()[0]
    assert images.shape == (64, 1, 32, 32) and labels.dtype == torch.int64
    quantizer.train = image_set(channels=1, labelled=False)
    with pytest.raises(UserError, match="--data digits: needs labels of 10 classes"):
        quantizer.calibration_inputs()
    names = tuple(f"animal-{number}" for number in range(10))  # as many, but others
    quantizer.train = dataclasses.replace(image_set(channels=1), classes=names)
    with pytest.raises(UserError, match=r"its classes \(animal-0, .*\) are not those of the checkpoint \(0, 1, "):
        quantizer.calibration_inputs()
