"""Scores of the same targets by several named protocols, in one record"""

from __future__ import annotations

import hashlib
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gan.data.datasets import DATASETS, open_source
from gan.data.image_set import ImageSet
from gan.data.named_datasets import TorchvisionDataset
from gan.errors import UserError
from gan.evaluation.image_streams import random_part
from gan.evaluation.named_protocols import NAMED_PROTOCOLS, describe, options_of
from gan.evaluation.options import EvaluationOptions
from gan.metrics.score_checks import IS_SPLITS
from gan.utils.counted import counted

if typing.TYPE_CHECKING:
    from gan.evaluation.evaluator import Evaluation


class EvaluationByProtocol:
    """One report by several named protocols, with the interface of `Evaluation`. All checks precede all work."""

    def __init__(self, options: EvaluationOptions, create: Callable[[EvaluationOptions], Evaluation]) -> None:
        """Prepare an evaluation for each of `options.as_protocol`.

        Args:
            create: the class Evaluation.

        Raises:
            UsageError, UserError: as Evaluation; a flag contradicts a protocol, or a real set has too few images.
        """
        options.check()
        names = tuple(dict.fromkeys(options.as_protocol))
        self._parts = [create(options_of(options, name)) for name in names]
        self.record = _merged([part.record for part in self._parts], names)
        for part in self._parts:
            part.record = self.record

    @property
    def out(self) -> Path | None:
        """The folder of the report; None: nothing is written."""
        return self._parts[0].out

    @out.setter
    def out(self, folder: Path | None) -> None:
        for part in self._parts:
            part.out = folder

    def run(self) -> None:
        """Score all targets by each protocol in turn; raise a UserError if none can be scored."""
        for part in self._parts:
            part.run()

    def write(self) -> None:
        """Write report.json as it stands."""
        self._parts[0].write()

    def default_folder(self) -> Path:
        """The folder of the report if the user names none."""
        return self._parts[0].default_folder()


def create_evaluation(
    options: EvaluationOptions, create: Callable[[EvaluationOptions], Evaluation]
) -> Evaluation | EvaluationByProtocol:
    """The evaluation that the options ask for; `create` is the class Evaluation."""
    return EvaluationByProtocol(options, create) if options.as_protocol else create(options)


def _merged(records: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """One record, without results, of those of several protocols."""
    first = records[0]
    others = [record["reference"] for record in records[1:]]
    return {
        **first,
        "question": hashlib.sha256("".join(record["question"] for record in records).encode()).hexdigest(),
        "settings": {**first["settings"], "as": list(names)},
        "other_references": [entry for n, entry in enumerate(others) if entry not in [first["reference"], *others[:n]]],
        "planned": sum(record["planned"] for record in records),
        "notes": [*dict.fromkeys(line for record in records for line in record["notes"])],
        "protocols": describe(names),
    }


def require_protocol_split(data: str, data_root: Path, options: EvaluationOptions) -> None:
    """Check that a set of the user's own has the split of the named protocol, if there is one.

    Raises:
        UserError: they have no such split.
        UsageError: there is no such set.
    """
    if not options.as_protocol or options.split == "train" or isinstance(DATASETS.get(data), TorchvisionDataset):
        return
    source = open_source(data, data_root=data_root, split=options.split)
    if source.listing.split_folder is None:
        raise UserError(
            f"--as {options.as_protocol[0]}: {source.name} has no {options.split} split; put its images into "
            f"the folders train and {options.split}, or choose a protocol of the training images"
        )


def protocol_images(images: ImageSet, options: EvaluationOptions) -> ImageSet:
    """The real images of the named protocol: all, or as many as it names, at random by `--seed`.

    Raises:
        UserError: there are fewer.
    """
    wanted = NAMED_PROTOCOLS[options.as_protocol[0]].reference if options.as_protocol else None
    if wanted is None or wanted == len(images):
        return images
    if wanted > len(images):
        raise UserError(
            f"--as {options.as_protocol[0]}: {images.name} has {counted(len(images), 'image')} in its {options.split} "
            f"split; the protocol needs {wanted:,}"
        )
    return images.part(random_part(len(images), wanted, options.seed))


def first_of_protocol(results: Sequence[dict[str, Any]], options: EvaluationOptions) -> dict[str, Any] | None:
    """The first result that later ones are compared with: of the same named protocol, if there is one."""
    name = protocol_facts(options).get("named_protocol")
    return next((row for row in results if row.get("named_protocol") == name), None)


def protocol_facts(options: EvaluationOptions) -> dict[str, str]:
    """The entry of a result that names its protocol; empty without `--as`."""
    return {"named_protocol": options.as_protocol[0]} if options.as_protocol else {}


def is_splits(options: EvaluationOptions) -> int:
    """Number of splits of the Inception score."""
    return NAMED_PROTOCOLS[options.as_protocol[0]].is_splits if options.as_protocol else IS_SPLITS
