"""A user's own code of each kind on the command line: trained, recorded, resumed, sampled, scored, exported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest import MonkeyPatch

import gan
from gan.config import plugins
from gan.runs import checkpoint
from tests.helpers.commands import Call
from tests.helpers.own_code import FLAGS, SOURCE, TRAIN, words, write_own

RUN = Path("checkpoints/r")


@pytest.fixture(autouse=True)
def _forget(monkeypatch: MonkeyPatch) -> Iterator[None]:
    """Each command forgets what earlier ones allowed, as separate processes do."""
    monkeypatch.setattr(plugins, "_allowed", set())
    monkeypatch.setattr(plugins, "_loaded", {})
    yield


@pytest.fixture
def separately(call: Call) -> Call:
    def run(*arguments: object) -> tuple[int, str]:
        plugins._allowed.clear()
        plugins._loaded.clear()
        return call(*arguments)

    return run


def scored(flag: str) -> list[str]:
    return ["--report-every", "2"] if flag == "--features" else []


def state(step: int = 4) -> dict[str, Any]:
    return checkpoint.load_checkpoint(RUN / f"step-{step:08d}.pt")


def same(first: Any, second: Any) -> bool:
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    return bool((first == second).all()) if hasattr(first, "shape") else first == second


@pytest.mark.parametrize("flag", FLAGS)
def test_each_kind_is_recorded_and_resumes_to_the_same_bytes(separately: Call, flag: str) -> None:
    write_own()
    own, name = [*words([flag]), *scored(flag)], FLAGS[flag].split(",")[-1]
    code, told = separately("train", "r", *TRAIN, *own)
    assert code == 0, told
    whole = state()
    record = {name: {"sha256": plugins._loaded["own.py"].sha256, "version": None}}
    assert whole["plugins"] == record == json.loads((RUN / "config.json").read_text())["plugins"]

    (RUN / "step-00000004.pt").unlink()
    code, told = separately("train", "r", "--resume")
    assert code == 2 and f"add {flag} {FLAGS[flag]} to the command" in told and "images" not in told.split("add")[0]
    code, told = separately("train", "r", "--resume", *words([flag]))
    assert code == 0, told
    resumed = state()
    assert same({**whole, "seconds": 0}, {**resumed, "seconds": 0})

    write_own(SOURCE + "# edited\n")
    code, told = separately("train", "r", "--resume", "--steps", "6", *words([flag]))
    assert code == 1 and f"the source of {name} has changed" in told
    assert record[name]["sha256"][:12] in told and plugins._loaded["own.py"].sha256[:12] in told


def test_runs_without_own_code_have_no_record(call: Call) -> None:
    assert call("train", "r", *TRAIN)[0] == 0
    assert "plugins" not in state() and "plugins" not in json.loads((RUN / "config.json").read_text())


def test_another_path_and_a_config_file_are_refused(separately: Call) -> None:
    write_own()
    assert separately("train", "r", *TRAIN, "--norm", "own.py:norm")[0] == 0
    Path("elsewhere").mkdir()
    Path("elsewhere/own.py").write_text(SOURCE)
    code, told = separately("train", "r", "--resume", "--steps", "6", "--norm", "elsewhere/own.py:norm")
    assert code == 2 and "--norm: own.py:norm -> elsewhere/own.py:norm" in told and "must have the same path" in told
    code, told = separately("train", "s", "--config", RUN / "config.json")
    assert code == 2 and "add --norm own.py:norm to the command" in told and not Path("checkpoints/s").exists()
    code, told = separately("train", "s", "--config", RUN / "config.json", "--norm", "own.py:norm")
    assert code == 0, told


def test_sample_and_report_need_only_the_network(separately: Call) -> None:
    file = write_own()
    every = [*words(list(FLAGS)), "--report-every", "4"]
    assert separately("train", "r", *TRAIN, *every)[0] == 0
    for command in (["sample", RUN, "--out", "a.png"], ["report", RUN, "--num", "20", "--metrics", "fid"]):
        code, told = separately(*command)
        assert code == 2 and "add --network own.py:network to the command" in told
        code, told = separately(*command, "--network", "other.py:network")
        assert code == 2 and "own.py:network" in told.replace("other.py:network", "")
        code, told = separately(*command, "--network", "own.py:network")
        assert code == 0, told
    record = json.loads(Path("reports/r/report.json").read_text())["results"][0]["plugins"]
    assert set(record) == {name.split(",")[-1] for name in FLAGS.values()}

    assert separately("train", "plain", *TRAIN, *words(["--norm", "--loss", "--augment"]))[0] == 0
    file.unlink()
    plain = Path("checkpoints/plain")
    assert separately("sample", plain, "--out", "b.png")[0] == 0
    assert separately("report", plain, "--num", "20", "--metrics", "fid")[0] == 0
    code, told = separately("report", plain, "--num", "20", "--network", "own.py:network")
    assert code == 2 and "is not that of the checkpoints (dcgan)" in told


def test_an_own_extractor_without_logits(separately: Call) -> None:
    write_own()
    assert separately("train", "r", *TRAIN)[0] == 0
    scores = ["report", RUN, "--num", "20", "--features", "own.py:features"]
    code, told = separately(*scores)
    assert code == 0 and told.count("the Inception score is left out") == 1
    result = json.loads(Path("reports/r/report.json").read_text())["results"][0]
    assert "inception_score" not in result and result["protocol"]["extractor"] == "own.py:features"
    assert result["protocol"]["weights"] == plugins._loaded["own.py"].sha256
    code, told = separately(*scores, "--metrics", "is")
    assert code == 2 and "--metrics is: needs logits" in told
    stats = ["data", "stats", "digits", "--out", "s.npz", "--resolution", "32", "--channels", "1"]
    assert separately(*stats, "--features", "own.py:features")[0] == 0
    code, told = separately("report", RUN, "--num", "20", "--ref", "s.npz")
    assert code == 2 and "add --features own.py:features to the command" in told
    assert separately("report", RUN, "--num", "20", "--ref", "s.npz", "--features", "own.py:features")[0] == 0


def test_compare(separately: Call) -> None:
    write_own()
    flags = [*(word for word in TRAIN if word != "--sample-every"), "--report-every", "4", "--seeds", "1"]
    own = ["--norms", "none,own.py:norm", *words(["--features"])]
    flags.remove("100")
    code, told = separately("compare", "r", *flags, *own)
    assert code == 0, told
    config = json.loads((RUN / "config.json").read_text())
    assert set(config["plugins"]) == {"own.py:norm", "own.py:features"}
    (folder,) = RUN.glob("own-norm-seed0")
    assert set(json.loads((folder / "result.json").read_text())["plugins"]) == {"own.py:norm", "own.py:features"}
    assert separately("compare", "r")[0] == 0, "nothing is left to train, so no code is needed"
    code, told = separately("compare", "r", "--seeds", "2")
    assert code == 2 and "add --norms none,own.py:norm --features own.py:features to the command" in told
    code, told = separately("compare", "r", "--seeds", "2", *own)
    assert code == 0, told
    write_own(SOURCE + "# edited\n")
    code, told = separately("compare", "r", "--seeds", "3", *own)
    assert code == 1 and "has changed" in told


def test_classify_and_its_classifier(separately: Call) -> None:
    write_own()
    flags = "--model resnet18 --epochs 1 --limit 40 --batch 20 --resolution 8 --precision fp32".split()
    code, told = separately("classify", "r", *flags, "--norms", "own.py:norm")
    assert code == 0, told
    (file,) = RUN.glob("*/classifier.pt")
    assert set(checkpoint.load_checkpoint(file)["plugins"]) == {"own.py:norm"}
    code, told = separately("classify", "r", "--seeds", "2")
    assert code == 2 and "add --norms own.py:norm to the command" in told
    stats = ["data", "stats", "digits", "--out", "s.npz", "--resolution", "8", "--features", f"classifier:{file}"]
    code, told = separately(*stats)
    assert code == 2 and "add --norm own.py:norm to the command" in told
    code, told = separately(*stats, "--norm", "own.py:norm")
    assert code == 0, told
    code, told = separately("export", file, "--format", "safetensors", "--out", "c.safetensors")
    assert code == 2 and "add --norm own.py:norm to the command" in told
    code, told = separately(
        "export", file, "--format", "safetensors", "--out", "c.safetensors", "--norm", "own.py:norm"
    )
    assert code == 0, told
    code, told = separately("train", "t", *TRAIN, "--report-every", "2", "--features", f"classifier:{file}")
    assert code == 2 and "only `report`, `data stats` and `export` can load" in told
    write_own(SOURCE + "# edited\n")
    code, told = separately("classify", "r", "--seeds", "2", "--norms", "own.py:norm")
    assert code == 1 and "has changed" in told


def test_export_of_the_discriminator(separately: Call) -> None:
    write_own()
    assert separately("train", "r", *TRAIN, "--norm", "own.py:norm")[0] == 0
    discriminator = ["export", RUN, "--format", "safetensors", "--out", "d.safetensors", "--what", "discriminator"]
    code, told = separately(*discriminator)
    assert code == 2 and "add --norm own.py:norm to the command" in told
    code, told = separately(*discriminator, "--norm", "own.py:norm")
    assert code == 0, told
    generator = ["export", RUN, "--format", "safetensors", "--out", "g.safetensors"]
    assert separately(*generator, "--norm", "own.py:norm")[0] == 2, "a generator has no norm of its own"
    assert separately(*generator)[0] == 0


@pytest.mark.parametrize("debug", [False, True])
def test_an_error_while_training_has_file_and_line(separately: Call, debug: bool, monkeypatch: MonkeyPatch) -> None:
    write_own(
        "calls = []\nclass loss:\n    def discriminator(self, real, fake):\n        calls.append(1)\n"
        "        if len(calls) > 3: real = real @ fake[:3]\n        return real.mean() - fake.mean()\n"
        "    def generator(self, real, fake):\n        return -fake.mean()\n"
    )
    command = ["--debug"] * debug + ["train", "r", *TRAIN, *words(["--loss"])]
    monkeypatch.setattr("sys.argv", ["msn-gan", *command])
    code, told = separately(*command)
    assert code == 1 and "msn-gan: own.py:5: RuntimeError: " in told and "(--loss own.py:loss)" in told
    assert ("Traceback" in told) == debug and "bug" not in told.split("msn-gan: own.py")[1]


@pytest.mark.slow
def test_bench(separately: Call) -> None:
    write_own()
    plan = "--models cnn3 --batch 2 --rounds 1 --device cpu --precision fp32".split()
    code, told = separately("bench", *plan, "--norms", "none,own.py:norm", "--json", "bench.json")
    assert code == 0, told
    assert set(json.loads(Path("bench.json").read_text())["plugins"]) == {"own.py:norm"}


def test_a_changed_network_is_refused_when_a_run_is_scored(separately: Call) -> None:
    write_own()
    assert separately("train", "r", *TRAIN, *words(["--network"]))[0] == 0
    write_own(SOURCE + "# edited\n")
    for command in (["sample", RUN, "--out", "a.png"], ["report", RUN, "--num", "20", "--metrics", "fid"]):
        code, told = separately(*command, "--network", "own.py:network")
        assert code == 1 and "the source of own.py:network has changed" in told and "skipped" not in told
    Path("own.py").unlink()
    code, told = separately("sample", RUN, "--out", "a.png", "--network", "own.py:network")
    assert code == 2 and "own.py cannot be read: No such file or directory" in told


def test_from_python(separately: Call) -> None:
    write_own()
    small = {"g_width": 4, "d_width": 4, "latent_dim": 8, "batch": 8, "steps": 2, "precision": "fp32"}
    run = gan.train("r", norm="own.py:norm", network="own.py:network", device="cpu", **small)
    plugins._allowed.clear()
    with pytest.raises(plugins.CodeNotNamed):
        gan.load_generator(run)
    assert gan.load_generator(run, network="own.py:network").sample(2).shape[0] == 2
    plugins._allowed.clear()
    with pytest.raises(plugins.CodeNotNamed):
        gan.score(run, num=20, metrics="fid")
    report = gan.score(run, num=20, metrics="fid", features="own.py:features", network="own.py:network")
    assert report.record["results"][0]["protocol"]["extractor"] == "own.py:features"


@pytest.mark.slow
def test_a_classifier_of_generated_images_needs_the_network(separately: Call) -> None:
    file = write_own()
    digits = ["--data", "digits", "--channels", "1", "--conditional"]
    assert separately("train", "g", *TRAIN, *digits, *words(["--network"]))[0] == 0
    settings = "--model cnn3 --limit 20 --batch 10 --epochs 1 --precision fp32".split()
    command = ["classify", "r", *settings, "--norms", "none", "--generated", "checkpoints/g"]
    code, told = separately(*command)
    assert code == 2 and "add --network own.py:network to the command" in told and not RUN.exists()
    code, told = separately(*command, *words(["--network"]))
    assert code == 0, told
    assert set(json.loads((RUN / "config.json").read_text())["plugins"]) == {"own.py:network"}
    code, told = separately("classify", "r", "--norms", "sn")
    assert code == 2 and "add --network own.py:network to the command" in told
    code, told = separately("classify", "r", "--norms", "sn,bn", "--jobs", "2", *words(["--network"]))
    assert code == 0, told
    file.write_text(SOURCE + "# edited\n")
    code, told = separately("classify", "r", "--norms", "mean", *words(["--network"]))
    assert code == 1 and "the source of own.py:network has changed" in told
