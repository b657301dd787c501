"""The values of --norm: canonical spelling, what is refused, and names of folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from gan.config.norm_spec import folder_name_clashes, norm_folder_name, parse_norm
from gan.errors import UsageError
from tests.helpers.commands import SMALL, Call


@pytest.mark.parametrize(
    "text, canonical",
    [
        ("sn+mean", "msn"),
        ("mean+sn", "msn"),
        ("none+mean", "mean"),
        ("sn+affine-mean", "msn-affine"),
        (" sn + mean ", "msn"),
        ("sn(gain=1)", "sn"),
        ("sn(gain=2.0)+mean", "sn(gain=2)+mean"),
        ("sn(gain=1.23456789)", "sn(gain=1.23456789)"),
        ("sn(gain=1.00000001)", "sn(gain=1.00000001)"),
        ("sn(gain=1e7)", "sn(gain=10000000)"),
        ("sn(gain=1e+300)", "sn(gain=1e+300)"),
        ("group(groups=4)", "group(groups=4)"),
        ("gradnorm+sn-conv", "sn-conv+gradnorm"),
        ("./a/../my.py:f+mean", "my.py:f+mean"),
        ("package.module:f", "package.module:f"),
    ],
)
def test_one_spelling(text: str, canonical: str) -> None:
    assert str(parse_norm(text)) == canonical
    assert str(parse_norm(canonical)) == canonical


@pytest.mark.parametrize(
    "text, message",
    [
        ("bn+ln", "has two feature norms, bn and ln; give one, as in bn"),
        ("mean+mean", "has two feature norms, mean and mean; give one, as in mean"),
        ("msn+mean", "has two feature norms, mean and mean; give one, as in msn"),
        ("msn+msn", "has two weight maps, sn and sn; give one, as in msn"),
        ("sn+wn", "has two weight maps, sn and wn; give one, as in sn"),
        (
            "msn+gradnorm",
            "gradnorm needs the gradient of each image by itself, and mean takes statistics over the batch",
        ),
        ("sn(gain=0)", "gain must be a number above 0, or learned"),
        ("sn(gain=nan)", "gain must be a number above 0, or learned"),
        ("sn(gain=2,gain=3)", "gain is given twice"),
        ("bn(gain=2)", "bn has no options, not 'gain'"),
        ("group(groups=0)", "groups must be a number from 1"),
        ("sn+", "'' is unknown; choose from none, wn, sn"),
        ("SN", "choose from none, wn, sn"),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_norm(text)
    assert message in str(caught.value)


def test_folder_names() -> None:
    assert norm_folder_name("sn(gain=2)+mean") == "sn-gain=2+mean"
    assert norm_folder_name("norms/my.py:f") == "my-f"
    assert folder_name_clashes(["a/my.py:f", "b/my.py:f", "sn"]) == [
        "--norms: a/my.py:f and b/my.py:f would share the folder my-f; rename one"
    ]


@pytest.mark.parametrize(
    "command", [("train", "r", "--norm"), ("compare", "r", "--norms"), ("classify", "r", "--norms")]
)
def test_groups_that_do_not_divide(call: Call, command: tuple[str, ...]) -> None:
    """Refused before the other trainings."""
    norm = "group(groups=3)" if command[-1] == "--norm" else "sn,group(groups=3)"
    small = ["--model", "cnn3"] if command[0] == "classify" else SMALL
    code, told = call(*command, norm, *small)
    assert code == 2 and "--norm: 3 groups do not divide" in told and "bug" not in told, told
    assert not list(Path().rglob("*.pt"))


def test_own_code_that_ends_the_process(call: Call) -> None:
    Path("own.py").write_text("def norm(layer):\n    raise SystemExit(0)\n")
    code, told = call("train", "r", "--norm", "own.py:norm", *SMALL)
    assert code == 1 and "own.py:2: SystemExit: 0 (--norm own.py:norm)" in told
