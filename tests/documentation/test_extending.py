"""The files and commands on docs/extending.md work as they stand there, and examples/ has the same norm."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.func import functional_call

from gan.cli import main
from gan.norm import power_iterate
from tests.helpers.commands import Call

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
FILES = {text.split("\n")[0].removeprefix("# "): text for kind, text in BLOCKS if kind != "sh"}
COMMANDS = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
CHECK = [line for line in COMMANDS if line.startswith("msn-gan norm check")]
NORM = FILES["my_norm.py"]


@pytest.fixture
def page(tmp_path: Path) -> None:
    """The files of the page, in the folder in which commands run."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")


def run(call: Call, command: str) -> str:
    program, *arguments = shlex.split(command)
    code, told = call(*arguments)
    assert (program, code) == ("msn-gan", 0), f"{command}\n{told}"
    return told


@pytest.mark.slow
def test_every_command_runs(page: None, call: Call) -> None:
    assert len(COMMANDS) == PAGE.count("\nmsn-gan ") >= 10 and len(FILES) == 6
    for command in COMMANDS:
        if command not in CHECK:
            run(call, command)
    for name in ("mine/report.html", "patch/step-00000002.pt", "soft/step-00000004.pt"):
        assert Path("checkpoints", name).exists(), name
    assert Path("patch.png").exists() and Path("soft.png").exists()


@pytest.mark.slow
@pytest.mark.skipif("norm" not in main.commands, reason="there is no command norm check")
def test_the_norm_passes_the_check(page: None, call: Call) -> None:
    for command in CHECK:
        run(call, command)


@pytest.mark.parametrize("scale", [0.1, 10.0])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_the_norm_is_what_the_page_says(scale: float, kind: type[nn.Conv2d]) -> None:
    """W / max(1, σ(W)), with gradients and second derivatives, below and above σ = 1."""
    own: dict[str, object] = {}
    exec(compile(NORM, "my_norm.py", "exec"), own)
    torch.manual_seed(0)
    layer = kind(2, 3, 3).double()
    raw = layer.weight.detach().mul_(scale).clone()
    normalized = own["soft"](layer)  # type: ignore[operator]
    power_iterate(normalized, 200)
    sigma = torch.linalg.matrix_norm(raw.flatten(1), 2)
    assert bool(sigma > 1) is (scale > 1)
    torch.testing.assert_close(normalized.weight, raw / sigma.clamp(min=1))
    names = [name for name, _ in normalized.named_parameters()]

    def call(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        return functional_call(normalized, dict(zip(names, values, strict=True)), (x,))

    x = torch.randn(2, 2, 5, 5, dtype=torch.float64, requires_grad=True)
    values = tuple(value.detach().clone().requires_grad_() for value in normalized.parameters())
    assert torch.autograd.gradcheck(call, (x, *values), fast_mode=True)
    assert torch.autograd.gradgradcheck(call, (x, *values), fast_mode=True)


def test_the_examples_have_the_norm_of_the_page() -> None:
    for path in ("my_norm.py", "msn-gan-soft-norm/src/msn_gan_soft_norm.py"):
        text = (ROOT / "examples" / path).read_text(encoding="utf-8")
        assert text.partition("import torch\n")[2] == NORM.partition("import torch\n")[2], path


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("my_loss.py", ".mean() + softplus(fake).mean()", " + softplus(fake)"),
        ("my_norm.py", "(weight.flatten(1) * self.v)", "(weight * self.v)"),
    ],
)
def test_the_errors_are_those_of_the_page(page: None, call: Call, name: str, old: str, new: str) -> None:
    assert old in FILES[name]
    Path(name).write_text(FILES[name].replace(old, new))
    flag = "--norm my_norm.py:soft" if name == "my_norm.py" else "--loss my_loss.py:minimax"
    code, told = call("train", "r", *flag.split(), "--config", "tiny.toml")
    (line,) = (line for line in told.splitlines() if line.startswith("msn-gan: "))
    assert code and line in re.sub(r"\n +", " ", PAGE), line
