"""`result.json` of a finished training, and its provenance: machine and versions, compared over all trainings."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gan.errors import UserError
from gan.runs.listing import read_object
from gan.runtime import Runtime
from gan.utils.counted import counted
from gan.utils.environment import hardware_info, program_versions
from gan.utils.files import write_json
from gan.utils.written_by import written_by

RESULT = "result.json"
REMEDY = "remove this folder to train it again"
_KINDS = (("runtime", "machine, precision or number of threads"), ("versions", "versions"))


def provenance(runtime: Runtime) -> dict[str, Any]:
    """Return `runtime` and `versions` of this process, for the result.json of a training."""
    machine = {"device": str(runtime.device), "precision": runtime.precision, **hardware_info(runtime.device)}
    return {"runtime": machine, "versions": program_versions()}


def write_result(folder: Path, facts: Mapping[str, Any], runtime: Runtime) -> None:
    """Mark a training as done: write its `result.json`, with the machine and the versions of this process.

    Args:
        folder: folder of the training.
        facts: what the log does not have; `diverged` is None, or says where the training diverged.

    Raises:
        UserError: the file cannot be written.
    """
    write_json(folder / RESULT, {**facts, **provenance(runtime)})


@contextmanager
def refuse_damaged(folder: Path, file: str = "files") -> Iterator[None]:
    """Report any failure to read the files of a training as one error that names its folder and the remedy.

    Raises:
        UserError: in place of OSError and of what malformed content raises.
    """
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise UserError(
            f"{folder}: damaged {file} ({type(error).__name__}: {error}; {_written_by(folder)}); {REMEDY}"
        ) from error


def _written_by(folder: Path) -> str:
    """The version that wrote the files of a training; in `classify`, config.json is that of the experiment."""
    paths = (folder / RESULT, folder / "config.json", folder.parent / "config.json")
    contents = [read_object(path) for path in paths]
    return written_by(next((content for content in contents if "versions" in content), {}))


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
        parts.append(counted(runtime["threads"], "thread"))
    return ", ".join(parts)
