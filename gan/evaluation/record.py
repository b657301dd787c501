"""The content of a new report.json, and the hash by which two reports of the same question are recognized"""

import hashlib
import json
import time
from collections.abc import Sequence
from typing import Any

from gan.data.image_set import ImageSet
from gan.evaluation.options import EvaluationOptions
from gan.evaluation.targets import Target
from gan.metrics.extractor import Extractor
from gan.metrics.protocol import FEATURE_FIELDS
from gan.metrics.reference import Reference
from gan.runs.command_line import command_text
from gan.utils.environment import program_versions

_SCHEMA = 1


def new_record(
    options: EvaluationOptions,
    data: str | None,
    extractor: Extractor,
    entries: Sequence[Target],
    real: Sequence[ImageSet],
    statistics: Reference | None,
    note: str | None,
    *,
    held_out: Sequence[ImageSet] = (),
) -> dict[str, Any]:
    """The content of report.json before anything is scored.

    Args:
        data: name of the real images.
        entries: with the number of images to score.
        real: the real images, in each size that is compared.
        statistics: the statistics that replace them, if any.
        note: sentence for the report.
        held_out: the held-out images, in each size.
    """
    settings = {
        "data": data,
        "split": options.split if data else None,
        "ref": str(options.ref) if options.ref else None,
        "metrics": list(options.scores),
        "features": extractor.name,
        "seed": options.seed,
        "ema": options.ema,
        "mixed_protocols": options.mixed_protocols,
        **({"standing_stats": options.standing_stats} if options.standing_stats else {}),
        **({"repeats": options.repeats} if options.repeats > 1 else {}),
        **({"held_out": options.held_out} if options.held_out else {}),
        **({"per_class": True} if options.per_class else {}),
    }
    reference = None
    if real:
        reference = {
            "name": data,
            "images": len(real[0]),
            "conversions": real[0].conversions,
            "conversions_by_size": {f"{images.resolution}x{images.resolution}": images.conversions for images in real},
            "notes": list(real[0].notes),
        }
    question = [
        settings,
        [
            (str(entry.path), entry.count, entry.facts.get("sha256") or entry.facts.get("fingerprint"))
            for entry in entries
        ],
        [getattr(extractor.protocol, name) for name in FEATURE_FIELDS],
        [images.fingerprint for images in real],
        statistics.content if statistics else None,
        *(images.fingerprint for images in held_out),
    ]
    return {
        "schema": _SCHEMA,
        "made": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "command": command_text(),
        "question": hashlib.sha256(json.dumps(question).encode()).hexdigest(),
        "settings": {**settings, "batch": extractor.batch_size},
        "reference": reference,
        "planned": len(entries),
        "notes": [note] if note else [],
        "passed_over": [],
        "stopped": None,
        "real_grid": None,
        "results": [],
        "versions": program_versions(),
    }
