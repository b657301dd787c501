"""What a sample of training dynamics costs, in training steps.

    python benchmarks/dynamics_cost.py vgg7:sn msn-dcgan:msn

Names are NETWORK:NORM, the network being a classifier or a preset of `train`. Images are noise.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch

from gan.config.presets import preset_config
from gan.data import ImageSet
from gan.dynamics.measure import DynamicsMeter
from gan.dynamics.probe_batches import ClassifierProbe, DiscriminatorProbe
from gan.experiments.classify.config import ClassifyConfig, ClassifyTraining
from gan.experiments.classify.trainer import ClassifierTrainer
from gan.models.classifiers import CLASSIFIERS
from gan.runtime import resolve_runtime
from gan.training.trainer import Trainer

FULL = 10  # one sample in ten is full


def milliseconds(call: Callable[[], object], repeats: int) -> float:
    """The median time of a call, after one that is not counted."""
    call()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times)


def prepared(network: str, norm: str) -> tuple[Callable[[], None], DynamicsMeter]:
    """A training step, and what is sampled."""
    runtime = resolve_runtime("cpu")
    resolution = 32 if network in CLASSIFIERS else preset_config(network).resolution
    pixels = torch.randint(0, 256, (256, 3, resolution, resolution), dtype=torch.uint8)
    images = ImageSet.of(pixels, torch.arange(256) % 10, tuple("0123456789"))
    if network in CLASSIFIERS:
        config = ClassifyConfig().replace({"model": network, "channels": 3})
        config = config.resolved(runtime.precision)
        job = ClassifierTrainer(config, ClassifyTraining(norm, 0.001, 0), runtime, images, images)
        return job.train_step, DynamicsMeter(job.network, ClassifierProbe(images, config.batch, runtime.device), {})
    settings = preset_config(network).replace({"norm": norm, "channels": 3})
    run = Trainer(settings, runtime, images)
    probe = DiscriminatorProbe(settings, images, run.classes, run.generator, runtime.device)
    return run.train_step, DynamicsMeter(run.discriminator, probe, {})


def main(names: list[str]) -> None:
    for name in names:
        network, norm = name.split(":")
        train_step, subject = prepared(network, norm)
        step = milliseconds(train_step, 5)
        short = milliseconds(lambda: subject.sample(full=False), 2)  # noqa: B023
        full = milliseconds(lambda: subject.sample(full=True), 1)  # noqa: B023
        steps = ((FULL - 1) * short + full) / FULL / step
        print(f"{name}: step {step:.0f} ms, sample {short:.0f}, full {full:.0f}: {steps:.1f} steps", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
