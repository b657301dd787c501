"""What the base class of `compare` and `classify` needs of their plans and trainings."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from gan.config import plugins

PlanT = TypeVar("PlanT", bound="Plan")

MOST_SEEDS = 10_000
"""Limit of --seeds, --tune and --then, since all trainings are listed before the first."""

Step = Callable[[], object]
"""Runs one training step and waits for the device."""


class Training(Protocol):
    """One training of an experiment."""

    @property
    def name(self) -> str:
        """Name of its folder."""

    @property
    def cell(self) -> str:
        """Its value of `--only`."""


class Plan(Protocol):
    """Configuration of an experiment: `differences` lists what may not change in it, `merge` adds trainings."""

    def to_dict(self) -> dict[str, Any]: ...
    def differences(self: PlanT, other: PlanT) -> list[str]: ...
    def merge(self: PlanT, other: PlanT) -> PlanT: ...
    def trainings(self) -> Iterator[Any]: ...
    @property
    def planned(self) -> int:
        """Number of all trainings, also of those that `trainings` cannot yield yet."""

    def own_code(self) -> list[plugins.OwnCode]: ...
    def plugin_records(self) -> plugins.Records: ...
