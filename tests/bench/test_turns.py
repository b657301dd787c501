"""Measurements in turn: their order, whole rounds, and the time limit."""

from __future__ import annotations

import itertools
import time

import pytest

from gan.bench.turns import take_turns


def test_every_other_round_is_reversed_and_results_are_in_order() -> None:
    order: list[str] = []
    counter = itertools.count()

    def measure(item: str) -> int:
        order.append(item)
        return next(counter)

    rounds = list(take_turns("abc", 3, measure, label="x"))
    assert "".join(order) == "abccbaabc"
    assert rounds == [[0, 1, 2], [5, 4, 3], [6, 7, 8]]


def test_an_unfinished_round_is_dropped() -> None:
    measured: list[str] = []
    rounds = list(take_turns("ab", 5, measured.append, label="x", stopped=lambda: len(measured) == 3))
    assert len(rounds) == 1 and measured == ["a", "b", "b"]


def test_the_time_limit_leaves_one_round(capsys: pytest.CaptureFixture[str]) -> None:
    rounds = list(take_turns("ab", 5, len, label="cnn3", deadline=time.monotonic()))
    assert rounds == [[1, 1]]
    assert "cnn3: --seconds reached after 1 of 5 rounds" in capsys.readouterr().err
    assert len(list(take_turns("ab", 5, len, label="cnn3", deadline=time.monotonic() + 1000))) == 5
