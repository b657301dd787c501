"""`msn-gan export`: every format of every kind of checkpoint, kept only if it is the trained network."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gan.export import formats
from gan.export.export import ExportOptions, export_network
from gan.export.verify import NetworkFunction
from gan.models import build_discriminator
from gan.models.classifiers import build_classifier
from gan.runs import checkpoint
from gan.runs.checkpoint import train_config_of
from gan.sampling import generate
from gan.sampling.load_generator import load_generator
from tests.conftest import TINY
from tests.helpers.bare import run_bare

onnx = pytest.importorskip("onnx", reason="needs the extra: pip install msn-gan[onnx]")
for _package in ("onnxruntime", "onnxscript", "safetensors"):
    pytest.importorskip(_package, reason="needs the extra: pip install msn-gan[onnx]")

Call = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def as_bytes(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained generator of `plain`, not averaged, its images in bytes."""
    out = tmp_path_factory.mktemp("bytes") / "g.onnx"
    return export_network(ExportOptions(made / "checkpoints" / "plain", ema=False, uint8=True, out=out))


def latents(count: int = 5) -> Tensor:
    return generate.latents(3, range(count), TINY["latent_dim"])


def onnx_run(path: str, **inputs: Tensor) -> Tensor:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    return torch.from_numpy(found)


def test_a_generator_gives_the_images_of_the_checkpoint(call: Call, here: Path, as_bytes: Path) -> None:
    code, told = call("export", here, "--opset", "16")
    path = "exports/plain-step-00000004-generator.onnx"
    assert code == 0 and f"wrote {path}" in told and "largest difference from the trained network, 64 random" in told
    images = {}
    for ema in (True, False):
        generator = load_generator(here, ema=ema, device="cpu")[0]
        with torch.no_grad():
            images[ema] = generator(latents())
    assert (images[True] - images[False]).abs().max() > 0.01  # so that the two cannot be taken for each other
    torch.testing.assert_close(onnx_run(path, latents=latents()), images[True], rtol=0, atol=1e-4)
    assert ".py" not in Path(path).read_bytes().decode("latin-1")  # the exporter notes source lines, with their paths
    model = onnx.load(path)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 16)] and model.ir_version == 8
    for port, shape in ((model.graph.input[0], [8]), (model.graph.output[0], [1, 32, 32])):
        batch, *rest = port.type.tensor_type.shape.dim
        assert batch.dim_param and not batch.dim_value and [size.dim_value for size in rest] == shape
    metadata = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert metadata["inputs"][0]["shape"] == ["batch", 8] and metadata["outputs"][0]["range"] == [-1, 1]
    assert metadata["recipe"]["folded"] == {"batch norm": 4} and metadata["recipe"]["opset"] == 16
    assert metadata["recipe"]["constant"] == metadata["recipe"]["kept"] == {} and metadata["recipe"]["ema"] is True
    # and the same, not averaged and in bytes
    shutil.copy(as_bytes, "raw.onnx")
    found = onnx_run("raw.onnx", latents=latents())
    assert found.dtype == torch.uint8
    apart = (found.int() - generate.to_uint8(images[False]).int()).abs()
    assert apart.max() <= 1 and (apart > 0).float().mean() < 0.01


def test_a_discriminator_as_safetensors(call: Call, here: Path) -> None:
    from safetensors import safe_open

    code, told = call("export", here, "--what", "discriminator", "--format", "safetensors")
    assert code == 0, told
    with safe_open("exports/plain-step-00000004-discriminator.safetensors", "pt") as file:
        names, metadata = set(file.keys()), file.metadata()
        bias = file.get_tensor("layers.0.bias")
    assert names == {f"layers.{n}.{part}" for n in range(7) for part in ("weight", "bias")} | {
        "head.linear.weight",
        "head.linear.bias",
    }
    recipe, inputs = json.loads(metadata["recipe"]), json.loads(metadata["inputs"])
    assert recipe["norm"] == "msn" and recipe["step"] == 4 and recipe["network"] == "discriminator"
    assert recipe["folded"] == {"spectral norm": 8, "centering": 7} and recipe["config"]["latent_dim"] == 8
    assert recipe["config"]["data"] == "digits" and "data_root" not in recipe["config"]
    assert inputs[0]["name"] == "images" and inputs[0]["range"] == [-1, 1] and inputs[0]["shape"][1:] == [1, 32, 32]
    state = checkpoint.newest_checkpoint(here)[1]
    discriminator = build_discriminator(train_config_of(state, here))
    discriminator.load_state_dict(state["discriminator"])
    norm = discriminator.layers[0].norm
    torch.testing.assert_close(bias, (norm.bias - norm.running_mean).detach())


def test_a_critic_is_refused(call: Call) -> None:
    size = "--steps 1 --batch 4 --g-width 4 --d-width 4 --report-every 0".split()
    assert call("train", "r", "--norm", "sn+gradnorm", *size)[0] == 0
    command = ("export", "checkpoints/r", "--format", "safetensors", "--out", "r.safetensors")
    code, told = call(*command, "--what", "discriminator")
    assert code == 2 and "has --norm sn+gradnorm, whose critic changes its logits" in told
    assert not Path("r.safetensors").exists()
    assert call(*command)[0] == 0  # the generator


def test_a_conditional_generator_as_torch_export(call: Call, here: Path) -> None:
    code, told = call("export", "checkpoints/classes", "--format", "torch-export", "--uint8")
    replaced = "a constant scale and shift (no layer before it, or class-conditional): generator.blocks.0.norm"
    assert code == 0 and f"{replaced} (ConditionalBatchNorm2d)" in told
    extra = {formats.METADATA: ""}
    program = torch.export.load("exports/classes-step-00000004-generator.pt2", extra_files=extra).module()
    metadata = json.loads(extra[formats.METADATA])
    assert json.loads(metadata["inputs"])[1]["range"] == [0, 9]
    assert json.loads(metadata["outputs"])[0]["dtype"] == "uint8"
    generator = load_generator(Path("checkpoints/classes"), ema=True, device="cpu")[0]
    for count in (1, 3):
        labels = torch.arange(count) + 4
        with torch.no_grad():
            expected = generate.to_uint8(generator(latents(count), labels)).int()
        assert (program(latents(count), labels).int() - expected).abs().max() <= 1


def test_a_classifier(call: Call, here: Path) -> None:
    assert call("export", "k.pt", "--format", "torch-export", "--out", "k.pt2")[0] == 0
    network = build_classifier("cnn3", "msn", resolution=28, channels=1, classes=10).eval()
    images = torch.rand(3, 1, 28, 28)
    with torch.no_grad():
        torch.testing.assert_close(torch.export.load("k.pt2").module()(images), network(images), rtol=0, atol=1e-4)


def test_the_folder_of_a_classifier(call: Call, here: Path) -> None:
    """That of a training of `classify`, or that of the run where it has one training."""
    Path("run/msn").mkdir(parents=True)
    shutil.copy("k.pt", "run/msn/classifier.pt")
    for folder in ("run", "run/msn"):
        code, told = call("export", folder, "--format", "torch-export", "--out", "k.pt2", "--overwrite")
        assert code == 0 and "wrote k.pt2" in told, told
    shutil.copytree("run/msn", "run/sn")
    code, told = call("export", "run", "--format", "torch-export")
    assert code == 2 and told == (
        "msn-gan: run: contains 2 classifiers; name one of them, as run/msn/classifier.pt\n"
    ), told


@pytest.mark.parametrize("by, part", [(2e-4, "differs from the trained one by"), (float("nan"), "not finite")])
def test_a_wrong_network_is_refused(
    call: Call, here: Path, monkeypatch: pytest.MonkeyPatch, by: float, part: str
) -> None:
    Path("g.safetensors").write_text("what was there")
    right = formats.FORMATS["safetensors"]

    def load(*arguments: Any) -> NetworkFunction:
        run = right.load(*arguments)
        return lambda inputs: run(inputs) + by

    monkeypatch.setitem(formats.FORMATS, "safetensors", dataclasses.replace(right, load=load))
    code, told = call("export", here, "--format", "safetensors", "--out", "g.safetensors", "--overwrite")
    assert code == 1 and "msn-gan: g.safetensors: not written" in told and part in told
    assert Path("g.safetensors").read_text() == "what was there" and not list(Path().glob(".g.*"))


def test_a_full_disk_leaves_nothing(call: Call, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code, told = call("export", here, "--format", "safetensors", "--out", "g.safetensors")
    assert code == 1 and "g.safetensors: No space left on device" in told
    assert not list(Path().glob("*g.safetensors*"))


BAD = {
    "opset": (["--opset", "99"], 2, "--opset 99: choose from 16 to 25"),
    "format": (["--format", "tflite"], 2, "'tflite' is not one of"),
    "suffix": (["--out", "g.pt"], 2, "--out g.pt: a file of --format onnx ends in .onnx"),
    "folder": (["--out", "folder.onnx"], 2, "--out folder.onnx: is a folder"),
    "unwritable": (["--out", "k.pt/g.onnx"], 1, "--out k.pt: cannot be written to"),
    "bytes of logits": (["--what", "discriminator", "--uint8"], 2, "--uint8: is for the images of a generator"),
    "average of logits": (["--what", "discriminator", "--no-ema"], 2, "--no-ema: only a generator has EMA weights"),
    "int8 weights": (["--format", "safetensors", "--int8"], 2, "--int8: is for --format onnx, not for safetensors"),
    "opset of torch": (["--format", "torch-export", "--opset", "18"], 2, "--opset: is for --format onnx"),
    "bytes of weights": (["--format", "safetensors", "--uint8"], 2, "--uint8: safetensors contain weights"),
    "data": (["--data", "digits", "--num", "9"], 2, "--data, --num: only for --int8"),
    "extractor": (["--precision", "bf16", "--batch", "9"], 2, "--precision, --batch: only for --int8"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_flags(call: Call, here: Path, name: str) -> None:
    Path("folder.onnx").mkdir()
    flags, expected, part = BAD[name]
    before = set(Path().rglob("*"))
    code, told = call("export", here, *flags)
    assert (code, told.count("\n")) == (expected, 1) and part in told, told
    assert set(Path().rglob("*")) == before


def test_bad_checkpoints(call: Call, here: Path) -> None:
    whole = Path("k.pt").read_bytes()
    Path("cut.pt").write_bytes(whole[:-100])
    Path("altered.pt").write_bytes(whole[:3000] + b"x" + whole[3001:])
    state = checkpoint.load_checkpoint(Path("k.pt"))
    checkpoint.save_checkpoint(Path("other.pt"), {**state, "norm": "bn"})
    weights = {**state["weights"], "linear.bias": torch.full((10,), torch.nan)}
    checkpoint.save_checkpoint(Path("nan.pt"), {**state, "weights": weights})
    gan = checkpoint.newest_checkpoint(here)[1]
    checkpoint.save_checkpoint(Path("unlike.pt"), {**gan, "config": {**gan["config"], "d_width": 6}})
    for path, flags, expected, part in (
        ("cut.pt", [], 1, "is not a complete msn-gan checkpoint"),
        ("altered.pt", [], 1, "is damaged"),
        ("absent.pt", [], 1, "no such checkpoint or run"),
        ("samples", [], 1, "contains no checkpoint"),
        ("other.pt", [], 1, "does not fit this version of msn-gan"),
        ("unlike.pt", ["--what", "discriminator"], 1, "the weights do not fit the config"),
        ("k.pt", ["--what", "discriminator"], 2, "--what discriminator: k.pt is a classifier"),
        ("k.pt", ["--uint8"], 2, "--uint8: is for the images of a generator; a classifier outputs logits"),
        ("k.pt", ["--ema"], 2, "--ema: only a generator has EMA weights, a classifier has none"),
        ("nan.pt", ["--format", "safetensors"], 1, "the trained network itself outputs NaN or infinity"),
    ):
        code, told = call("export", path, *flags)
        assert (code, told.count("\n")) == (expected, 1) and part in told, told
        assert path in told or part.startswith("--") or path == "nan.pt"
    assert not Path("exports").exists() and not list(Path().rglob("*.onnx"))


def test_versions_that_do_not_know_the_opset(call: Call, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    def refuse(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("Opset 18 is under development\nand more")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    code, told = call("export", "k.pt")
    assert (
        code == 1
        and "the installed ONNX Runtime rejects the model (Opset 18 is under development); try a lower" in told
    )
    monkeypatch.setattr(onnx.defs, "onnx_opset_version", lambda: 17)
    code, told = call("export", "k.pt")
    assert code == 1 and told == "msn-gan: --opset 18: the installed onnx supports opsets up to 17\n"
    assert not Path("exports").exists()


@pytest.mark.parametrize("kind, package", [("onnx", "onnxscript"), ("safetensors", "safetensors")])
def test_missing_packages(call: Call, here: Path, monkeypatch: pytest.MonkeyPatch, kind: str, package: str) -> None:
    from gan.utils import optional_packages

    found = optional_packages.find_spec
    monkeypatch.setattr(optional_packages, "find_spec", lambda name: None if name == package else found(name))
    code, told = call("export", here, "--format", kind)
    assert code == 1 and told == (
        f"msn-gan: --format {kind}: needs {package}, not installed here; run: pip install {package}\n"
    )


@pytest.mark.parametrize("run", ["plain", "classes"])
def test_the_example_draws_the_images_without_torch(call: Call, here: Path, as_bytes: Path, run: str) -> None:
    """The program of docs/embedded.md, where nothing but ONNX Runtime and numpy can be imported."""
    if run == "plain":
        shutil.copy(as_bytes, "g.onnx")
    else:
        assert call("export", "checkpoints/classes", "--out", "g.onnx")[0] == 0
    run_bare(Path(__file__).parents[2] / "examples" / "generate_onnx.py", "g.onnx", "grid.png")
    grid = np.asarray(Image.open("grid.png"))
    assert grid.shape == (256, 256) and grid.dtype == np.uint8
    z = np.random.default_rng(0).standard_normal((64, TINY["latent_dim"]), dtype=np.float32)
    labels = {"labels": torch.arange(64) % 10} if run == "classes" else {}
    images = onnx_run("g.onnx", latents=torch.from_numpy(z), **labels)
    expected = images if run == "plain" else generate.to_uint8(images)
    tile = grid[32 * 2 : 32 * 3, 32 * 5 : 32 * 6]  # row 2, column 5
    assert np.array_equal(tile, expected[2 * 8 + 5, 0].numpy()) and tile.std() > 0


def test_the_page_shows_the_example_as_it_is() -> None:
    root = Path(__file__).parents[2]
    program = (root / "examples" / "generate_onnx.py").read_text()
    assert f"```python\n{program}```" in (root / "docs" / "embedded.md").read_text()
    assert len(program.splitlines()) < 40
