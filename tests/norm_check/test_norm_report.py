"""The tables of `norm list` and `norm check`, and norms made with torch's own functions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gan.config import plugins
from gan.models.norms import create_norm
from gan.norm import NORMS
from gan.norm_check import report
from gan.norm_check.runner import PROPERTIES, Checked, check_norm
from gan.norm_check.subject import FAILS, MEASURED, OK, Finding, Subject

CPU = torch.device("cpu")
CODE = """
import torch
from torch.nn.utils import parametrizations, spectral_norm

def drawing(layer):
    return parametrizations.spectral_norm(layer)

def careful(layer):
    with torch.random.fork_rng():
        return parametrizations.spectral_norm(layer)

def former(layer):
    with torch.random.fork_rng():
        return spectral_norm(layer)
"""


@pytest.mark.parametrize(
    "name, broken",
    [
        ("drawing", ["raw weights as under none"]),  # its vectors are drawn from the global random numbers
        ("careful", []),
        ("former", ["deepcopy copies the layer", "folding"]),  # `weight` is no leaf
    ],
)
def test_the_spectral_norms_of_torch(name: str, broken: list[str], tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(CODE)
    plugins.allow([f"{file}:{name}"])
    fast = {key: check for key, check in PROPERTIES.items() if key != "time of a step"}
    assert report.failed_names(check_norm(f"{file}:{name}", CPU, fast)) == broken


def test_long_texts_are_below_the_table_once() -> None:
    long = "word " * 30
    findings = [Finding(OK, "short"), Finding(FAILS, long), Finding(FAILS, long), Finding(FAILS, "other")]
    results = [Checked(name, finding, 0.0) for name, finding in zip("abcd", findings, strict=True)]
    table, below = report.check_table(results).split("\n\n")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    assert rows[0] == ["a", "ok", "short"] and rows[1][2].endswith("…") and rows[2] == ["c", "fails", "as b"]
    assert below == f"b: {long}"
    assert report.failed_names(results) == ["b", "c", "d"]


@pytest.mark.parametrize("norm", NORMS)
def test_a_network_as_a_training_stores_it(norm: str) -> None:
    """Its weights are channels-last, unlike those of a layer by itself."""
    parameters = Subject(norm, create_norm(norm)).discriminator().parameters()
    assert any(not weight.is_contiguous() for weight in parameters)
    ((_, finding, _),) = check_norm(norm, CPU, {"training step": PROPERTIES["training step"]})
    assert finding.verdict == OK, finding.text


@pytest.mark.parametrize(
    "norm", ["wn", *(pytest.param(norm, marks=pytest.mark.slow) for norm in ("sn-conv+mean", "gradnorm"))]
)
def test_information_is_measured(norm: str) -> None:
    for name in ("operator norms", "time of a step"):
        ((_, finding, _),) = check_norm(norm, CPU, {name: PROPERTIES[name]})
        assert finding.verdict == MEASURED and "not measured" not in finding.text, finding.text


@pytest.mark.parametrize("groups", [32, *(pytest.param(groups, marks=pytest.mark.slow) for groups in (3, 64))])
def test_layers_have_channels_for_the_groups(groups: int) -> None:
    fast = {key: check for key, check in PROPERTIES.items() if key not in ("training step", "time of a step")}
    results = check_norm(f"group(groups={groups})", CPU, fast)
    assert not [(name, f.text) for name, f, _ in results if f.verdict == FAILS or "not measured" in f.text]


def test_an_information_cannot_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def unmeasurable(subject: object) -> Finding:
        raise RuntimeError("no clock")

    ((_, finding, _),) = check_norm("sn", CPU, {"time of a step": unmeasurable})
    assert finding == Finding("measured", "not measured: RuntimeError: no clock")


def test_a_check_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    check_norm("sn+mean", CPU, {"raw weights as under none": PROPERTIES["raw weights as under none"]})
    assert torch.equal(torch.get_rng_state(), before)


def test_the_list_is_printed_without_torch() -> None:
    code = "import sys; sys.argv[1:] = ['norm', 'list']\ntry:\n    from gan.__main__ import run; run()\n"
    code += "except SystemExit:\n    assert 'torch' not in sys.modules"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "| msn-affine  | alias of sn+affine-mean |" in told and "arXiv 1907.04003" in told
    assert told.splitlines()[-1].startswith("Join a weight map, a feature norm and a critic by +")
