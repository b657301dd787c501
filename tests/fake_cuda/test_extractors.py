"""Feature extractors on the fake device; images come from the CPU, and the features return to it, by design."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gan.metrics import batched_inference, fidelity_extractor, inception_extractor
from gan.metrics.batched_inference import full_precision
from gan.metrics.digits import DigitsNetwork, train_digits
from gan.metrics.dinov2_network import Dinov2, Dinov2Size
from gan.metrics.extractor import ExtractorOptions
from gan.metrics.inception_extractor import InceptionExtractor
from gan.metrics.preprocess import PREPROCESS, for_classifier
from gan.runtime import Runtime
from tests.helpers.fake_device import device_only
