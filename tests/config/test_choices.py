"""Names of choices against the tables with the code behind them."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from gan.config import choices
from gan.config.norm_spec import norm_folder_name
from gan.experiments.compare.arms import WITHOUT_PAIRS
from gan.export.formats import FORMATS
from gan.metrics.extractors import EXTRACTORS
from gan.metrics.score_table import METRICS
from gan.models import NETWORKS
from gan.models.classifiers import CLASSIFIERS
from gan.models.dcgan import BOTTOM
from gan.models.r3gan import WIDTHS
from gan.models.resnet import SHAPES
from gan.nn.diff_augment import AUGMENTATIONS
from gan.nn.losses import LOSSES
from gan.norm import NORMS


@pytest.mark.parametrize(
    "names, table",
    [
        (choices.NETWORKS.names, NETWORKS),
        (choices.RESOLUTIONS, NETWORKS),
        (choices.RESOLUTIONS["dcgan"], BOTTOM),
        (choices.RESOLUTIONS["sngan-cnn"], BOTTOM),
        (choices.RESOLUTIONS["resnet"], SHAPES),
        (choices.RESOLUTIONS["r3gan"], WIDTHS),
        (choices.CLASSIFIERS, CLASSIFIERS),
        (choices.NORMS.names, NORMS),
        (choices.LOSSES.names, LOSSES),
        (choices.AUGMENTATIONS.names, AUGMENTATIONS),
        (choices.EXPORT_FORMATS, FORMATS),
        (choices.FEATURES.names, EXTRACTORS),
        (choices.METRICS, METRICS),
    ],
)
def test_names_are_those_of_the_table(names: tuple[object, ...], table: Collection[object]) -> None:
    assert list(names) == list(table)


def test_losses_without_pairs() -> None:
    assert list(WITHOUT_PAIRS) == [name for name, loss in LOSSES.items() if not loss.uses_real]


def test_paths_of_windows() -> None:
    """The colon of a drive is not the one before a name."""
    assert choices.NORMS.references(r"C:\norms\my.py:soft+mean") == [r"C:\norms\my.py:soft"]
    assert choices.FEATURES.references(r"D:\my.py:thumbnail") == [r"D:\my.py:thumbnail"]
    for value in (r"classifier:C:\x.pt", r"D:\my.py:thumbnail"):
        assert choices.FEATURES.problem(value) is None
    assert norm_folder_name("C:/norms/my.py:soft+mean") == "my-soft+mean"
