"""The bench command on the smallest network: measurements, texts, interruption."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gan.bench import peak_memory, runner
from gan.bench.report import LABELS, Spread, bench_markdown, summarize_model, verdict
from gan.bench.runner import BenchPlan, run_bench
from gan.bench.workload import QUANTITIES, Workload, count_flop
from gan.cli import main
from gan.config.presets import PRESETS
from gan.errors import UsageError, UserError
from gan.models import build_discriminator, count_parameters
from gan.runtime import Runtime

CPU = Runtime(torch.device("cpu"), bf16=False)
SMALL: dict[str, Any] = {"batch": 4, "rounds": 2, "precision": "fp32", "device": "cpu", "memory": False}
FLOP = {"forward": 10, "training": 30}


def made_up(train: dict[str, list[float]], other: float = 1.0) -> dict[str, Any]:
    """Results of made-up training times; all other times are equal."""
    count = len(next(iter(train.values())))
    rounds = [
        {q: {norm: train[norm][n] if q == "train" else other for norm in train} for q in QUANTITIES}
        for n in range(count)
    ]
    parameters = {"none": 90, "bn": 100, "sn": 90, "msn": 90}
    sizes = {norm: {"parameters": parameters[norm], "peak_memory_bytes": 2**20, "flop": FLOP} for norm in train}
    return summarize_model("cnn3", sizes, rounds)


@pytest.fixture(autouse=True)
def _short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "TURN", 0.001)


def test_command_gives_all_fields(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bench.json"
    monkeypatch.setattr(sys, "argv", ["/bin/msn-gan", "bench", "--norms", "sn(gain=2)"])
    arguments = ["bench", "--models", "cnn3", "--norms", "none,bn,sn,msn", "--batch", "4", "--rounds", "2"]
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--precision", "fp32", "--device", "cpu", "--no-memory", "--json", str(path)])
    assert not stopped.value.code
    shown = capsys.readouterr().out
    record = json.loads(path.read_text())
    assert bench_markdown(record) + "\n" == shown
    assert record["command"] == "msn-gan bench --norms 'sn(gain=2)'"
    assert set(record) == {"command", "hardware", "versions", "settings", "definitions", "models", "stopped"}
    assert record["stopped"] is None and record["settings"]["precision"] == "fp32"
    (found,) = record["models"]
    assert found["rounds"] == 2 and list(found["norms"]) == ["none", "bn", "sn", "msn"]
    for of in found["norms"].values():
        assert set(of) == {"flop", "peak_memory_bytes", "parameters", "seconds"}
        for quantity in QUANTITIES:
            assert len(of["seconds"][quantity]["rounds"]) == 2
            assert min(of["seconds"][quantity]["rounds"]) > 0
    channels = 16 + 32 + 32  # BN has a scale and a shift for each, MSN m alone
    assert found["norms"]["bn"]["parameters"] - found["norms"]["msn"]["parameters"] == channels
    of = {(ratio["norms"], ratio["of"]) for ratio in found["ratios"]}
    assert of == {(pair, name) for pair in ("msn/bn", "msn/sn", "msn/none") for name in (*QUANTITIES, "parameters")}
    assert len(found["claim"]) == 1 + len(QUANTITIES)
    for quantity in QUANTITIES:
        assert LABELS[quantity] in shown


def test_a_network_with_other_work_is_named_beside_each_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ResNet discriminator merges a convolution and a mean under MSN, but cannot under BN."""
    monkeypatch.setitem(PRESETS, "sngan-resnet", PRESETS["sngan-resnet"].replace({"d_width": 4}))
    rounds = [{quantity: {"bn": 2.0, "msn": 1.0} for quantity in QUANTITIES}]
    sizes = {
        norm: {"parameters": 9, "peak_memory_bytes": None, "flop": count_flop("sngan-resnet", norm)}
        for norm in ("bn", "msn")
    }
    share = {kind: sizes["msn"]["flop"][kind] / sizes["bn"]["flop"][kind] for kind in ("forward", "training")}
    assert share["forward"] < 0.8
    _, train, *others = summarize_model("sngan-resnet", sizes, rounds)["claim"]
    texts = "; not only due to the norm: MSN's network has {:.0%} of the FLOP of BN's"
    assert train == "training step: yes: 50.0% less time" + texts.format(share["training"])
    assert all(line.endswith(texts.format(share["forward"])) for line in others) and len(others) == 4


def test_ratios_are_taken_within_rounds() -> None:
    found = made_up({"bn": [1.0, 2.0, 4.0], "sn": [1.0, 1.0, 1.0], "msn": [0.5, 1.8, 2.0]})
    ratios = {(ratio["norms"], ratio["of"]): ratio for ratio in found["ratios"]}
    train = ratios["msn/bn", "train"]
    assert train["median"] == pytest.approx(0.5)  # of 0.5, 0.9, 0.5; of the medians it would be 0.9
    assert train["quartiles"] == pytest.approx([0.5, 0.7])
    assert ratios["msn/sn", "train"]["median"] == pytest.approx(1.8)
    assert ratios["msn/bn", "parameters"]["median"] == pytest.approx(0.9)
    assert ratios["msn/bn", "peak_memory_bytes"]["median"] == 1
    assert ("msn/none", "train") not in ratios
    assert found["norms"]["bn"]["seconds"]["train"]["median"] == 2
    assert found["norms"]["bn"]["seconds"]["train"]["quartiles"] == [1.5, 3]


@pytest.mark.parametrize(
    "ratio, words",
    [
        (Spread(0.80, 0.79, 0.81), "yes: 20.0% less time"),
        (Spread(0.85, 0.84, 0.86), "as a rate only: 17.6% more in the same time, 15.0% less time"),
        (Spread(0.95, 0.94, 0.96), "no: faster, but 5.0% less time is not 16 %"),
        (Spread(1.25, 1.20, 1.30), "no: 25.0% more time"),
        (Spread(0.80, 0.70, 0.90), "yes: 20.0% less time; not certain, the upper quartile is above 0.840"),
    ],
)
def test_verdict(ratio: Spread, words: str) -> None:
    assert verdict(ratio) == words


def test_words_name_what_the_claim_could_mean() -> None:
    fast, *lines = made_up({"bn": [1.0], "msn": [0.7]})["claim"]
    assert fast == 'On this machine, "MSN is 16 % faster than BN" on cnn3 could mean: training step'
    assert lines[0] == "training step: yes: 30.0% less time"
    assert made_up({"bn": [1.0], "msn": [1.4]})["claim"][0].endswith("could mean: none of these times")
    assert made_up({"sn": [1.0], "msn": [1.4]})["claim"] == []


@pytest.mark.parametrize("model, norm", [("cnn3", "msn"), ("cnn3", "bn"), ("densenet-bc", "msn"), ("resnet18", "sn")])
def test_folded_answers_are_those_of_the_network(model: str, norm: str) -> None:
    subject = Workload(model, norm, 4, CPU)
    subject.network.eval()
    fresh = Workload(model, norm, 4, CPU)
    torch.testing.assert_close(
        subject.infer(subject.folded, 1), subject.infer(subject.network, 1), rtol=1e-4, atol=1e-5
    )
    fresh.train_step()  # the folded copy stays what it was
    torch.testing.assert_close(fresh.infer(fresh.folded, 1), subject.infer(subject.folded, 1))


def test_a_conditional_discriminator_is_given_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "sngan-projection", PRESETS["sngan-projection"].replace({"d_width": 4}))
    network = Workload("sngan-projection", "sn", 4, CPU).network
    (config,) = [PRESETS["sngan-projection"].replace({"norm": "sn"})]
    assert count_parameters(network) == count_parameters(build_discriminator(config, 10))
    assert count_parameters(network) > count_parameters(build_discriminator(config.replace({"conditional": False})))
    assert count_flop("sngan-projection", "sn")["forward"] > 0


def test_flop_of_cnn3_by_hand() -> None:
    first, second = 16 * 3 * 25 * 32**2, 32 * 16 * 9 * 34**2
    third, last = 32 * 32 * 16 * 18**2, 32 * 18**2 * 10
    forward = first + second + third + last
    assert count_flop("cnn3", "msn") == {"forward": 2 * forward, "training": 2 * (3 * forward - first)}


def test_peak_memory_holds_what_the_backward_pass_needs() -> None:
    found = peak_memory.training_peak_memory("cnn3", "msn", 128, CPU)
    assert found is not None
    maps = 128 * 4 * (16 * 32**2 + 32 * 34**2 + 32 * 18**2)  # in fp32
    assert maps < found < 20 * maps


def test_bad_plans() -> None:
    for wrong, words in (
        ({"models": ("cnn9",)}, "--models cnn9: unknown; choose from cnn3, vgg7"),
        ({"norms": ("bm",)}, "--norms bm: choose from none, "),
        ({"batch": 1}, "--batch 1: must be at least 2"),
        ({"rounds": 0}, "--rounds 0: must be at least 1"),
        ({"seconds": 0.0}, "--seconds 0.0: must be above 0"),
    ):
        with pytest.raises(UsageError, match=words):
            BenchPlan(**{"models": ("cnn3",), "norms": ("bn",), **wrong})


def test_bad_json_folder_is_refused_before_anything_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["bench", "--json", "/nowhere/bench.json"])
    assert stopped.value.code == 2
    assert "--json /nowhere/bench.json: there is no folder /nowhere" in capsys.readouterr().err


def after(count: int, action: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run an action after some turns."""
    whole, turns = Workload.seconds, 0

    def seconds(self: Workload, quantity: str, repeats: int, *, warm: bool) -> float:
        nonlocal turns
        turns += 1
        if turns == count:
            action()
        return whole(self, quantity, repeats, warm=warm)

    monkeypatch.setattr(Workload, "seconds", seconds)


def test_interrupted_keeps_whole_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    calibration, a_round = 2 * 5, 2 * 5
    after(calibration + a_round + 3, lambda: signal.raise_signal(signal.SIGINT), monkeypatch)
    record, code = run_bench(BenchPlan(("cnn3", "vgg7"), ("bn", "msn"), **{**SMALL, "rounds": 5}))
    assert code == 130 and record["stopped"].startswith("interrupted in cnn3")
    (found,) = record["models"]
    assert found["rounds"] == 1 and len(found["norms"]["msn"]["seconds"]["train"]["rounds"]) == 1
    assert "## cnn3, 1 round" in bench_markdown(record)


def test_a_signal_to_all_processes_is_no_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM to a process group, as sent by timeout(1), ends the process that measures memory too."""

    def killed(*_: object) -> int:
        signal.raise_signal(signal.SIGTERM)
        raise MemoryError

    monkeypatch.setattr(runner, "training_peak_memory", killed)
    record, code = run_bench(BenchPlan(("cnn3", "vgg7"), ("msn",), **{**SMALL, "memory": True}))
    assert code == 128 + signal.SIGTERM and record["stopped"].startswith("interrupted in cnn3")


def test_without_memory_what_is_finished_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    after(5 + 2 * 5 + 2, fail, monkeypatch)
    record, code = run_bench(BenchPlan(("cnn3", "vgg7"), ("msn",), **SMALL))
    assert code == 1 and record["stopped"] == "vgg7: out of memory; use a smaller --batch, or fewer --norms"
    assert [found["model"] for found in record["models"]] == ["cnn3"]
    after(1, fail, monkeypatch)
    with pytest.raises(UserError, match="cnn3: out of memory; use a smaller --batch"):
        run_bench(BenchPlan(("cnn3",), ("msn",), **SMALL))


def test_a_small_budget_still_gives_a_round(capsys: pytest.CaptureFixture[str]) -> None:
    record, code = run_bench(BenchPlan(("cnn3",), ("msn",), **SMALL, seconds=0.001))
    assert code == 0 and record["models"][0]["rounds"] == 1
    assert "--seconds reached after 1 of 2 rounds" in capsys.readouterr().err
