"""The feature extractors by name, and the function that creates the chosen one. Importing it loads torchvision."""

import shlex
from collections.abc import Callable
from dataclasses import replace

from gan.config.choices import FEATURES
from gan.config.registry import classifier_file
from gan.data.datasets import DATASETS
from gan.distributed import collectives
from gan.errors import UsageError, UserError
from gan.metrics.classifier_extractor import ClassifierExtractor
from gan.metrics.digits import DigitsExtractor
from gan.metrics.extractor import Extractor, ExtractorOptions
from gan.metrics.fidelity_extractor import ClipExtractor, Dinov2Extractor
from gan.metrics.inception_extractor import InceptionExtractor
from gan.metrics.weights_file import FLAG, NoWeights
from gan.runs.command_line import program_name
from gan.utils.progress import working

# To add a network: a class with the attributes of `Extractor`, constructed from `ExtractorOptions`, and a line here.
EXTRACTORS: dict[str, Callable[[ExtractorOptions], Extractor]] = {
    "inception": InceptionExtractor,
    "digits": DigitsExtractor,
    "classifier": ClassifierExtractor,
    "dinov2": Dinov2Extractor,
    "dinov2:s": Dinov2Extractor,
    "dinov2:b": Dinov2Extractor,
    "dinov2:g": Dinov2Extractor,
    "clip": ClipExtractor,
}
_WITHOUT_FILE = ("digits", "classifier")  # built-in names that do not take a file of weights by its flag

_WITH_KNOWN_HASH = ("inception", "clip")  # built-in names whose weights are compared with the published ones


def create_extractor(
    options: ExtractorOptions, data: str | None = None, *, otherwise: str = "", is_fixed: bool = False
) -> Extractor:
    """Create the chosen extractor, its weights loaded and checked. Call it before long work.

    Among several ranks of a machine one goes first, since it may download weights.

    Args:
        data: the real images; their name decides which extractor is the default.
        otherwise: how the command works without an extractor, for the message that weights are missing.
        is_fixed: a protocol demands this extractor, so that the message names no other.

    Raises:
        UsageError: no such extractor, or an option that it does not have.
        UserError: its weights are not available.
    """
    features = options.features
    if features == "auto":
        features = "digits" if data == "digits" else "inception"
    classifier = classifier_file(features)
    name = "classifier" if classifier else FEATURES.canonical(features)
    if problem := FEATURES.problem(name):
        raise UsageError(f"--features {features}: {problem}")
    if options.preprocess and name != "inception":
        raise UsageError(f"--preprocess: is for --features inception, not for {features}")
    if options.weights and (name in _WITHOUT_FILE or name not in EXTRACTORS):
        raise UsageError(f"{FLAG}: is for --features inception, dinov2 or clip, not for {features}")
    if options.allow_other_weights and name not in _WITH_KNOWN_HASH:
        raise UsageError(f"--allow-other-weights: is for --features inception or clip, not for {features}")
    if options.norm and not classifier:
        raise UsageError(f"--norm: is for --features classifier:FILE, not for {features}")
    options = replace(options, features=name, weights=classifier or options.weights)

    def create() -> Extractor:
        try:
            return FEATURES.load(name)(options)
        except NoWeights as error:
            others = "" if is_fixed else _other_features(data)
            raise UserError("; ".join(filter(None, (str(error), others, otherwise)))) from error

    with working(f"loading the {name} extractor"):
        return collectives.first_local_rank_first(create)


def _other_features(data: str | None) -> str:
    """Advice on features that need no Inception weights."""
    if data == "digits":
        return "--features digits needs no weights"
    train = f"classify features --data {shlex.quote(data) if data else 'SET'}"
    if data not in DATASETS:
        train += " --test-data TEST-SET"  # unless the set has a test split, which named datasets have
    return (
        f"or use a classifier of your own labelled images as extractor: {program_name()} {train} --norms bn, then "
        "--features classifier:checkpoints/features/bn-lr0.001-seed0/classifier.pt"
    )
