"""The base class of configs; `test_train_config.py` tests the config of a GAN."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from gan.config.base import Config, config_field
from gan.config.train_config import TrainConfig
from gan.errors import UsageError
from gan.experiments.classify.config import ClassifyConfig


@dataclass(frozen=True)
class Some(Config):
    names: tuple[str, ...] = config_field(("a",), "names", choices=("a", "b"))
    rates: tuple[float, ...] = config_field((1.0,), "rates", low=0)
    count: int | None = config_field(None, "a number", low=2, high=5000)
    note: str = config_field("", "a note", free=True, key="remark")


def test_every_part_of_a_tuple_is_checked() -> None:
    with pytest.raises(UsageError) as caught:
        Some().replace({"names": ["a", "c"], "rates": [1, -2], "count": 1})
    assert str(caught.value).splitlines() == [
        "--names c: choose from a, b",
        "--rates -2.0: must be at least 0",
        "--count 1: must be at least 2",
    ]
    with pytest.raises(UsageError, match="^--count 5001: must be at most 5,000$"):
        Some().replace({"count": 5001})
    for wrong in ({"names": "a"}, {"rates": ["1"]}, {"rates": [True]}, {"count": 2.5}):
        with pytest.raises(UsageError, match="is not of type"):
            Some().replace(wrong)


def test_round_trip_and_differences() -> None:
    some = Some().replace({"names": ["a", "b"], "rates": [1, 0.5], "count": 3, "note": "x"})
    assert Some.from_dict(some.to_dict()) == some and some.rates == (1.0, 0.5)
    assert some.to_dict()["remark"] == "x" and "note" not in some.to_dict()
    assert Some().differences(some) == [
        "--names: ('a',) -> ('a', 'b')",
        "--rates: (1.0,) -> (1.0, 0.5)",
        "--count: None -> 3",
    ]


def test_own_code_is_blamed_only_where_it_differs() -> None:
    one = ClassifyConfig(norms=("own.py:f",))  # norms may be added
    assert one.differences(ClassifyConfig(norms=("bn",), epochs=5)) == ["--epochs: 30 -> 5"]
    assert TrainConfig(norm="own.py:f").differences(TrainConfig(norm="sn")) == [
        "--norm: own.py:f -> sn",
        "a file of your own code must have the same path as at the start",
    ]


def test_a_field_is_read_by_name_or_key() -> None:
    assert Some().replace({"remark": "x"}) == Some().replace({"note": "x"}) == Some(note="x")
    with pytest.raises(UsageError, match="two names of one config field: note and remark; give only the first"):
        Some().replace({"remark": "x", "note": "y"})
