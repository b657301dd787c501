"""The device of these tests: see `tests.helpers.fake_device`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gan.norm import convolution_norm, spectral
from gan.runtime import Runtime
from tests.helpers.fake_device import fake_cuda


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    """A GPU in fp32 without values; all tensors that the test makes are fake."""
    for module in (spectral, convolution_norm):  # the first σ takes many iterations, all alike here
        monkeypatch.setattr(module, "_INITIAL_ITERATIONS", 2)
    with fake_cuda() as device:
        yield Runtime(device, bf16=False)
