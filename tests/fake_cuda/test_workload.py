"""What `bench` measures, on the fake device."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from gan.bench.workload import Workload
from gan.runtime import Runtime
from tests.helpers.fake_device import DeviceOnly


@pytest.mark.parametrize(("model", "norm"), [("cnn3", "msn"), ("vgg7", "bn")])
def test_the_work_stays_on_the_device(model: str, norm: str, gpu: Runtime) -> None:
    workload = Workload(model, norm, 4, replace(gpu, bf16=True))
    with DeviceOnly():
        for work in workload.work.values():
            work()
    assert all(value.device == gpu.device for value in workload.folded.state_dict().values())
    assert workload.infer(workload.folded, 1).device == torch.device("cuda", 0)
