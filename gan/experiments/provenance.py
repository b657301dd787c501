"""Provenance of trainings: the machine and the versions of each, and whether they are equal for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gan.runtime import Runtime
from gan.utils.environment import hardware_info, program_versions

_KINDS = (("runtime", "machine, precision or number of threads"), ("versions", "versions"))


def provenance(runtime: Runtime) -> dict[str, Any]:
    """Return `runtime` and `versions` of this process, for the result.json of a training."""
    machine = {"device": str(runtime.device), "precision": runtime.precision, **hardware_info(runtime.device)}
    return {"runtime": machine, "versions": program_versions()}


def provenance_warnings(done: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a warning for each kind of provenance that differs between trainings.

    Args:
        done: trainings, each with `runtime` and `versions`. Only keys that all of them have are compared.
    """
    lines = []
    for kind, description in _KINDS:
        records = [result[kind] for result in done]
        shared = [key for key in records[0] if all(key in record for record in records)] if records else []
        if unequal := [key for key in shared if any(record[key] != records[0][key] for record in records)]:
            lines.append(
                f"Not all trainings have the same {description} ({', '.join(unequal)}); see the result.json of each."
            )
    return lines


def provenance_facts(done: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return the different machines and versions in words, as (name, value)."""
    machines = dict.fromkeys(_machine(result["runtime"]) for result in done)
    programs = dict.fromkeys(", ".join(f"{k} {v}" for k, v in result["versions"].items()) for result in done)
    return [("machine", "; ".join(machines)), ("program", "; ".join(programs))]


def _machine(runtime: Mapping[str, Any]) -> str:
    parts = [str(runtime[key]) for key in ("device", "precision", "gpu", "cpu") if key in runtime]
    if "threads" in runtime:
        parts.append(f"{runtime['threads']} thread{'' if runtime['threads'] == 1 else 's'}")
    return ", ".join(parts)
