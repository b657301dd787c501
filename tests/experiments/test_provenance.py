"""Provenance of trainings, and the warnings where it differs."""

from __future__ import annotations

from typing import Any

from gan.experiments.provenance import provenance, provenance_facts, provenance_warnings
from gan.runtime import Runtime


def made(threads: int = 2, torch: str = "2.0") -> dict[str, Any]:
    place = {"device": "cpu", "precision": "fp32", "cpu": "a CPU", "threads": threads}
    return {"runtime": place, "versions": {"torch": torch}}


def test_one_origin_needs_no_warning() -> None:
    assert provenance_warnings([]) == [] == provenance_warnings([made(), made()])
    assert provenance_facts([made(), made()]) == [("machine", "cpu, fp32, a CPU, 2 threads"), ("program", "torch 2.0")]


def test_differences_are_named() -> None:
    assert provenance_warnings([made(), made(threads=1)]) == [
        "Not all trainings have the same machine, precision or number of threads (threads); see the result.json of "
        "each."
    ]
    assert provenance_warnings([made(), made(torch="1.0")])[0].startswith(
        "Not all trainings have the same versions (torch);"
    )
    text = dict(provenance_facts([made(), made(threads=1, torch="1.0")]))
    assert text["machine"] == "cpu, fp32, a CPU, 2 threads; cpu, fp32, a CPU, 1 thread"
    assert text["program"] == "torch 2.0; torch 1.0"


def test_missing_keys_are_not_compared() -> None:
    old = {"runtime": {"device": "cpu", "precision": "fp32"}, "versions": {"torch": "2.0"}}
    assert provenance_warnings([old, made()]) == []


def test_this_process(runtime: Runtime) -> None:
    found = provenance(runtime)
    assert {"device", "precision", "cpu", "threads"} <= set(found["runtime"]) and found["versions"]["torch"]
