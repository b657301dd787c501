"""Names of choices against the tables with the code behind them."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from gan.config import choices
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
