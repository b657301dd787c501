"""`norm check`: built-in norms hold every property; a norm that breaks one is caught and named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from gan.config import plugins
from gan.config.norm_facts import FACTS, norm_rows, uses_batch
from gan.config.norm_spec import CRITICS
from gan.errors import UsageError
from gan.models.norms import create_norm
from gan.norm import NORMS, fold, settle_input_sizes
from gan.norm_check.runner import PROPERTIES, QUICK, check_norm, require_sound_norms
from gan.norm_check.subject import FAILS, Case, Subject
from tests.helpers.commands import Call
from tests.helpers.norm_layers import parameter_count

CPU = torch.device("cpu")
COMPOSED = ("wn+mean", "sn(gain=2)+mean", "sn(gain=learned)", "sn-conv+group", "ln+gradnorm", "bssn+in")
LONG = ("time of a step", "operator norms", "training step")
OF_LAYERS = {name: check for name, check in PROPERTIES.items() if name not in LONG}

HEAD = """
import torch
from torch import nn
from torch.nn.utils.parametrize import register_parametrization


class Around(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer


def parametrized(kind):
    def norm(layer):
        register_parametrization(layer, "weight", kind(layer.weight.detach()), unsafe=True)
        return layer
    return norm


class Map(nn.Module):
    def __init__(self, weight):
        super().__init__()

    def right_inverse(self, weight):
        return weight
"""

# Property that does not hold -> norms, each of which breaks it alone or first.
BROKEN = {
    "raw weights as under none": [
        "def norm(layer):\n    layer.weight.data.mul_(2)\n    return layer",
        "def norm(layer):\n    torch.randn(3)\n    return layer",
    ],
    "output shapes as under none": [
        "class Flat(Around):\n    def forward(self, x):\n        return self.layer(x).flatten(1)\n"
        "def norm(layer):\n    return Flat(layer)",
        "def norm(layer):\n    return nn.Sequential(layer, nn.BatchNorm2d(7))",
    ],
    "finite outputs": [
        "class Root(Around):\n    def forward(self, x):\n        return self.layer(x).sqrt()\n"
        "def norm(layer):\n    return Root(layer)",
    ],
    "gradients reach weights and inputs": [
        "class Cut(Map):\n    def forward(self, weight):\n        return weight.detach()\nnorm = parametrized(Cut)",
    ],
    "state moves in training only": [
        "class Count(Around):\n    def __init__(self, layer):\n        super().__init__(layer)\n"
        "        self.register_buffer('calls', torch.zeros(()))\n"
        "    def forward(self, x):\n        self.calls += 1\n        return self.layer(x)\n"
        "def norm(layer):\n    return Count(layer)",
    ],
    "gradients equal finite differences": [
        "class Wrong(torch.autograd.Function):\n    @staticmethod\n    def forward(ctx, x):\n        return 2 * x\n"
        "    @staticmethod\n    def backward(ctx, g):\n        return g\n"
        "class Twice(Map):\n    def forward(self, weight):\n        return Wrong.apply(weight)\n"
        "norm = parametrized(Twice)",
    ],
    "second derivatives equal finite differences": [
        "class Wrong(torch.autograd.Function):\n"
        "    @staticmethod\n    def forward(ctx, x):\n        ctx.save_for_backward(x)\n        return x * x.abs()\n"
        "    @staticmethod\n    def backward(ctx, g):\n        (x,) = ctx.saved_tensors\n"
        "        return g * 2 * x.detach().abs()\n"
        "class Square(Map):\n    def forward(self, weight):\n        return Wrong.apply(weight)\n"
        "norm = parametrized(Square)",
    ],
    "bf16 near fp32": [
        "class Fine(Map):\n    def forward(self, weight):\n"
        "        return weight + (10 * weight if torch.is_autocast_enabled('cpu') else 0)\nnorm = parametrized(Fine)",
    ],
    "state_dict restores the layer": [
        "class Hidden(Map):\n    scale = 1.0\n"
        "    def iterate(self, weight):\n        self.scale *= 0.5\n"
        "    def forward(self, weight):\n        return weight * self.scale\nnorm = parametrized(Hidden)",
    ],
    "deepcopy copies the layer": [
        "class Lock(Map):\n    def __deepcopy__(self, memo):\n        raise TypeError('cannot be copied')\n"
        "    def forward(self, weight):\n        return weight * 1\nnorm = parametrized(Lock)",
    ],
    "images independent in evaluation": [
        "class Batch(Around):\n    def forward(self, x):\n        return self.layer(x - x.mean(0, True))\n"
        "def norm(layer):\n    return Batch(layer)",
    ],
    "dtype and device of the layer": [
        "class Shift(Around):\n    def __init__(self, layer):\n        super().__init__(layer)\n"
        "        self.shift = nn.Parameter(torch.zeros(1))\n"
        "    def forward(self, x):\n        return self.layer(x) + self.shift\n"
        "def norm(layer):\n    return Shift(layer)",
    ],
    "critic returns logits": [
        "class Both:\n    def hidden(self, layer):\n        return layer\n    output = hidden\n"
        "    def critic(self, discriminator, images, labels=None):\n        return discriminator(images).mean()\n"
        "norm = Both()",
    ],
    "critic": [
        "class Both:\n    def hidden(self, layer):\n        return layer\n    output = hidden\n"
        "    def critic(self, discriminator, images, labels=None):\n        return discriminator(images)[:, None]\n"
        "norm = Both()",
        "class Wrong(torch.autograd.Function):\n    @staticmethod\n    def forward(ctx, x):\n        return 2 * x\n"
        "    @staticmethod\n    def backward(ctx, g):\n        return g\n"
        "class Both:\n    def hidden(self, layer):\n        return layer\n    output = hidden\n"
        "    def critic(self, discriminator, images, labels=None):\n        return Wrong.apply(discriminator(images))\n"
        "norm = Both()",
    ],
}


def own(folder: Path, code: str) -> str:
    """The reference of a user's own norm, which may be imported."""
    file = folder / "own.py"
    file.write_text(HEAD + code + "\n")
    reference = f"{file}:norm"
    plugins.allow([reference])
    return reference


@pytest.mark.parametrize("norm", [*NORMS, *COMPOSED])
def test_built_in_norms_hold(norm: str) -> None:
    results = check_norm(norm, CPU, OF_LAYERS)
    assert not [(name, finding.text) for name, finding, _ in results if finding.verdict == FAILS]


@pytest.mark.slow
@pytest.mark.parametrize("norm", [*NORMS, *COMPOSED])
def test_the_whole_check(norm: str) -> None:
    results = check_norm(norm, CPU)
    assert not [(name, finding.text) for name, finding, _ in results if finding.verdict == FAILS]


def test_the_norm_of_the_examples_holds() -> None:
    reference = f"{Path(__file__).parents[2] / 'examples' / 'my_norm.py'}:soft"
    plugins.allow([reference])
    results = check_norm(reference, CPU, OF_LAYERS)
    assert not [(name, finding.text) for name, finding, _ in results if finding.verdict == FAILS]


@pytest.mark.parametrize(
    "broken, code", [(name, code) for name, codes in BROKEN.items() for code in codes], ids=lambda value: value[:20]
)
def test_a_norm_that_breaks_a_property_is_caught(broken: str, code: str, tmp_path: Path) -> None:
    reference = own(tmp_path, code)
    ((name, finding, _),) = check_norm(reference, CPU, {broken: PROPERTIES[broken]})
    assert (name, finding.verdict) == (broken, FAILS), finding.text
    if broken in QUICK:
        with pytest.raises(UsageError, match=f"{broken}: .*; all properties: msn-gan norm check"):
            require_sound_norms(["sn", reference])


def test_every_layer_property_has_a_norm_that_breaks_it() -> None:
    assert set(OF_LAYERS) - set(BROKEN) == {"folding"}  # `fold` is our own code


def test_folding_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(layer: torch.nn.Module, *, strict: bool = True) -> torch.nn.Module:
        folded = fold(layer, strict=strict)
        for parameter in folded.parameters():
            parameter.data *= 1.01
        return folded

    monkeypatch.setattr("gan.norm_check.state.fold", wrong)
    ((_, finding, _),) = check_norm("sn", CPU, {"folding": PROPERTIES["folding"]})
    assert finding.verdict == FAILS and "the folded layer differs" in finding.text


def test_an_exception_in_own_code_is_told_with_its_line(tmp_path: Path) -> None:
    code = "class Bad(Around):\n    def forward(self, x):\n        return undefined\nnorm = lambda layer: Bad(layer)"
    ((_, finding, _),) = check_norm(own(tmp_path, code), CPU, {"finite outputs": PROPERTIES["finite outputs"]})
    assert finding.verdict == FAILS and "own.py:" in finding.text and "NameError" in finding.text


@pytest.mark.parametrize("name", FACTS)
def test_facts_are_those_of_the_code(name: str) -> None:
    subject = Subject(name, create_norm(name))
    for kind in ("linear", "conv2d"):
        case = Case(kind, subject)
        added = parameter_count(case.build()) - parameter_count(case.plain())
        formula = FACTS[name].parameters.partition(":")[0].partition(";")[0]
        if (name, kind) == ("in", "linear"):
            formula = FACTS["ln"].parameters.partition(":")[0]  # on a linear layer it is layer norm
        assert added == {"none": 0, "C_out": 32, "2 C_out": 64}[formula]
        layer = case.build().eval()
        settle_input_sizes(layer, case.inputs())
        if name not in CRITICS:
            assert (type(fold(layer, strict=False)).__name__ in ("Linear", "Conv2d")) == FACTS[name].folds
    ((_, finding, _),) = check_norm(name, CPU, {"x": PROPERTIES["images independent in evaluation"]})
    assert finding.values["depends_in_training"] == uses_batch(name)


def test_the_list_has_every_name() -> None:
    assert sorted(row[0] for row in norm_rows()) == sorted(NORMS)


def test_the_commands(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LONG:
        monkeypatch.delitem(PROPERTIES, name)
    assert call("norm", "list")[0] == 0
    assert call("norm", "check", "mean+sn", "--json", "check.json")[0] == 0
    record = json.loads(Path("check.json").read_text())
    assert record["norm"] == "msn" and record["holds"] and set(record["properties"]) == set(PROPERTIES)
    code, told = call("norm", "check", "mean+bn")
    assert code == 2 and "SPEC mean+bn: has two feature norms, mean and bn" in told
    Path("own.py").write_text(HEAD + BROKEN["finite outputs"][0])
    code, told = call("norm", "check", "own.py:norm")
    assert code == 1 and "SPEC own.py:norm: does not hold: finite outputs" in told
    code, told = call("norm", "check", "own.py:absent")
    assert code == 2 and "own.py has no absent; choose from " in told
    code, told = call("norm", "check", "sn", "--json", "no/check.json")
    assert code == 2 and "there is no folder" in told


def test_training_is_refused_before_any_work(call: Call) -> None:
    Path("own.py").write_text(HEAD + BROKEN["gradients reach weights and inputs"][0])
    for words in (("train", "r", "--norm"), ("compare", "r", "--norms"), ("classify", "r", "--norms")):
        code, told = call(*words, "own.py:norm", "--data", "digits")
        assert code == 2 and "own.py:norm: gradients reach weights and inputs: " in told, told
    assert not Path("checkpoints").exists()
