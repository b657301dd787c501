"""The networks that look at images, by name."""

from __future__ import annotations

from collections.abc import Callable

from gan.errors import UsageError
from gan.metrics.classifier_extractor import ClassifierExtractor
from gan.metrics.digits import DigitsExtractor
from gan.metrics.extractor import Extractor, ExtractorOptions
from gan.metrics.inception_extractor import InceptionExtractor

# To add a network: a class with the attributes of `Extractor` that is made from `ExtractorOptions`, and a line here.
EXTRACTORS: dict[str, Callable[[ExtractorOptions], Extractor]] = {
    "inception": InceptionExtractor,
    "digits": DigitsExtractor,
    "classifier": ClassifierExtractor,
}


def create_extractor(name: str, options: ExtractorOptions | None = None) -> Extractor:
    """The network called `name`, its weights loaded and checked. Call it before long work.

    Raises:
        UsageError: no such network, or an option that it does not have.
        UserError: its weights cannot be had.
    """
    if name not in EXTRACTORS:
        raise UsageError(f"--features {name}: no such network; there are {', '.join(EXTRACTORS)}")
    return EXTRACTORS[name](options or ExtractorOptions())
