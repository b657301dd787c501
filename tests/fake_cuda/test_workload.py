"""What `bench` times, on the fake device: training steps and inference of a network and of its folded copy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gan.bench.workload import Workload
from gan.runtime import Runtime
from tests.helpers.fake_device import device_only


@pytest.mark.parametrize(("model", "norm"), [("cnn3", "msn"), ("cnn3", "bn"), ("sngan-projection", "none")])
def test_a_workload_stays_on_the_device(model: str, norm: str, gpu: Runtime) -> None:
    workload = Workload(model, norm, 2, replace(gpu, bf16=norm == "bn"))
    with device_only():
        for work in workload.work.values():
            work()
    assert all(value.device == gpu.device for value in workload.folded.state_dict().values())
