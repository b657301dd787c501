"""The device of these tests: see `tests.helpers.fake_device`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gan.runtime import Runtime
from tests.helpers.fake_device import fake_cuda


@pytest.fixture
def gpu() -> Iterator[Runtime]:
    """A GPU in fp32 without values; all tensors that the test makes are fake."""
    with fake_cuda() as device:
        yield Runtime(device, bf16=False)
