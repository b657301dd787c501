"""The folder of a report: its default name, and the check that no other report is replaced"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from gan.distributed import collectives
from gan.errors import UsageError
from gan.runs.lock import exclusive_lock, is_locked

ROOT = Path("reports")
RECORD_NAME = "report.json"
IMAGES_FOLDER = "report-images"
_PARTS = (RECORD_NAME, "report.md", "report.html", IMAGES_FOLDER)
_IMAGES = (".png", ".svg")
_LOCK = ".report.lock"
_IN_USE = "another process is writing a report there; wait until it ends, or choose another --out"


def require_no_report(folder: Path | None) -> None:
    """Raise a UsageError if the folder, where there is one, contains a report or a part of one."""
    if folder and (parts := [name for name in _PARTS if (folder / name).exists()]):
        raise UsageError(
            f"--out {folder}: contains {', '.join(parts)}; --overwrite replaces the report, or choose another folder"
        )


def default_report_folder(name: Path, question: str) -> Path:
    """`reports/NAME`, or `reports/NAME-2`, `-3`, ... if the folders before have reports of other questions.

    A folder that another process has `reserved` is left out.

    Args:
        name: of the first target.
        question: the hash in report.json of what is scored and how; a report of the same question is replaced.
    """
    first = folder = ROOT / name
    number = 1
    while (any((folder / part).exists() for part in _PARTS) and _question_in(folder) != question) or is_locked(
        folder, _LOCK
    ):
        number += 1
        folder = first.with_name(f"{first.name}-{number}")
    return folder


@contextmanager
def reserved(folder: Path) -> Iterator[None]:
    """Lock the folder of a report within the block. Several ranks call it together; rank 0 locks.

    Raises:
        UserError: another process writes a report there, or the folder cannot be created.
    """
    with ExitStack() as stack:

        def lock() -> None:
            stack.enter_context(exclusive_lock(folder, _LOCK, in_use=_IN_USE))

        collectives.on_rank0(lock)
        yield


def remove_report(folder: Path) -> None:
    """Remove the files of a report, if there is one; other files in the folder are kept."""
    for path in (folder / IMAGES_FOLDER).glob("*"):
        if path.suffix in _IMAGES:
            path.unlink(missing_ok=True)
    for name in _PARTS[:-1]:
        (folder / name).unlink(missing_ok=True)


def _question_in(folder: Path) -> Any:
    try:
        return json.loads((folder / RECORD_NAME).read_text(encoding="utf-8"))["question"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # no report.json, or that of an older version
