"""Timing of work on a device, and the description of the environment."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gan.utils.environment import OPTIONAL_PACKAGES, REQUIRED_PACKAGES, environment_lines, time_work


@pytest.mark.parametrize("kind", ["cuda", "mps", "cpu"])
def test_a_gpu_is_waited_for_before_and_after(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work on a GPU returns at once: without a wait, only its launch would be timed."""
    done: list[str] = []
    for name in ("cuda", "mps"):
        monkeypatch.setattr(getattr(torch, name), "synchronize", lambda name=name: done.append(name))
    assert time_work(lambda: done.append("work"), torch.device(kind)) >= 0
    assert done == (["work"] if kind == "cpu" else [kind, "work", kind])


def test_the_named_packages_are_those_of_pyproject() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    block = text.split("dependencies = [", 1)[1].split("\n]", 1)[0]
    named = [re.split(r"[<>=]", line.strip(' ",'))[0] for line in block.splitlines() if line.strip()]
    assert [name for name in named if name != "tomli"] == list(REQUIRED_PACKAGES)
    onnx, features = (re.search(rf"^{extra} = \[(.*)\]$", text, re.M) for extra in ("onnx", "features"))
    assert onnx and features
    assert re.findall(r'"([\w-]+)', onnx[1] + features[1]) == list(OPTIONAL_PACKAGES)


def test_environment_of_a_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "amx_bf16": True, "avx512_bf16": False})
    monkeypatch.setenv("MSN_GAN_CACHE", str(tmp_path))
    lines = dict(environment_lines())
    assert f"torch {metadata.version('torch')}" in lines["packages"]
    assert lines["CPU features"].startswith("AVX2, AMX-BF16; torch uses ")
    assert lines["threads"].startswith(f"{torch.get_num_threads()} ")
    assert lines["cache folder"] == str(tmp_path) and lines["memory"].endswith(" available")
    assert lines["GPU"].startswith("none")


def test_environment_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Driver and device as torch reports them."""
    gpu = SimpleNamespace(name="H200", total_memory=150 * 10**9, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: gpu)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr("torch.utils.collect_env.get_nvidia_driver_version", lambda run: "580.1\n580.1")
    lines = dict(environment_lines())
    assert lines["CUDA"].startswith("13.0, cuDNN ") and lines["CUDA"].endswith("driver 580.1, 580.1")
    assert lines["cuda:0"] == lines["cuda:1"] == "H200, 150 GB, capability 9.0"
