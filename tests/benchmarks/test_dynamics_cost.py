"""The arguments of the cost of training dynamics."""

from __future__ import annotations

from typing import Any

import dynamics_cost
import pytest

from gan.config import plugins


def test_a_norm_may_have_a_colon(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[tuple[str, str]] = []

    def build(network: str, norm: str) -> Any:
        built.append((network, norm))
        raise KeyboardInterrupt

    monkeypatch.setattr(dynamics_cost, "build", build)
    monkeypatch.setattr(plugins, "_allowed", set())
    with pytest.raises(KeyboardInterrupt):
        dynamics_cost.main(["vgg7:own.py:norm"])
    assert built == [("vgg7", "own.py:norm")] and plugins._allowed == {"own.py:norm"}
    with pytest.raises(SystemExit, match="vgg7: give NETWORK:NORM, such as vgg7:sn"):
        dynamics_cost.main(["vgg7"])
