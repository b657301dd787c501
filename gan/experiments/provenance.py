"""What trainings were made with, the machine and the versions of each, and whether those of several are the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gan.runtime import Runtime
from gan.utils.environment import hardware_info, program_versions

_KINDS = (("runtime", "machine, precision or number of threads"), ("versions", "versions"))


def provenance(runtime: Runtime) -> dict[str, Any]:
    """What result.json says of the process that ended a training: its `runtime` and `versions`."""
    place = {"device": str(runtime.device), "precision": runtime.precision, **hardware_info(runtime.device)}
    return {"runtime": place, "versions": program_versions()}


def provenance_warnings(done: Sequence[Mapping[str, Any]]) -> list[str]:
    """What differs between the origins of trainings, a line for each kind; nothing where all are the same.

    Args:
        done: trainings, each with `runtime` and `versions`. Only what is known of all of them counts.
    """
    lines = []
    for kind, what in _KINDS:
        found = [result[kind] for result in done]
        known = [key for key in found[0] if all(key in one for one in found)] if found else []
        if unlike := [key for key in known if any(one[key] != found[0][key] for one in found)]:
            lines.append(
                f"Not all trainings had the same {what} ({', '.join(unlike)}); the result.json of each says which."
            )
    return lines


def provenance_facts(done: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Machines and versions in words, each of them once."""
    machines = dict.fromkeys(_machine(result["runtime"]) for result in done)
    programs = dict.fromkeys(", ".join(f"{k} {v}" for k, v in result["versions"].items()) for result in done)
    return [("machine", "; ".join(machines)), ("program", "; ".join(programs))]


def _machine(runtime: Mapping[str, Any]) -> str:
    parts = [runtime["device"], runtime["precision"]]
    parts += [str(runtime[key]) for key in ("gpu", "cpu") if key in runtime]
    if "threads" in runtime:
        parts.append(f"{runtime['threads']} thread{'' if runtime['threads'] == 1 else 's'}")
    return ", ".join(parts)
