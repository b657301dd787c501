"""Measure the time of a sample of training dynamics, in training steps.

    python benchmarks/dynamics_cost.py vgg7:sn msn-dcgan:msn

Arguments are NETWORK:NORM, where NETWORK is a classifier or a preset of `train`. Images are random.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable

import torch

from gan.config import plugins
from gan.config.choices import NORMS
from gan.config.presets import preset_config
from gan.data.image_set import ImageSet
from gan.dynamics.measure import DynamicsMeter
from gan.dynamics.probe_batches import ClassifierProbe, DiscriminatorProbe
from gan.experiments.classify.config import ClassifyConfig, ClassifyTraining
from gan.experiments.classify.trainer import ClassifierTrainer
from gan.models.classifiers import CLASSIFIERS
from gan.runtime import resolve_runtime
from gan.training.trainer import Trainer
from gan.utils.environment import time_work

FULL = 10  # one sample in ten is full
CPU = torch.device("cpu")


def milliseconds(call: Callable[[], object], repeats: int) -> float:
    """Return the median time of some calls, after an untimed one."""
    call()
    return 1e3 * statistics.median(time_work(call, CPU) for _ in range(repeats))


def build(network: str, norm: str) -> tuple[Callable[[], None], DynamicsMeter]:
    """Build a training; returns its training step and its meter."""
    runtime = resolve_runtime("cpu")
    resolution = 32 if network in CLASSIFIERS else preset_config(network).resolution
    pixels = torch.randint(0, 256, (256, 3, resolution, resolution), dtype=torch.uint8)
    images = ImageSet.of(pixels, torch.arange(256) % 10, tuple("0123456789"))
    if network in CLASSIFIERS:
        config = ClassifyConfig().replace({"model": network, "channels": 3})
        config = config.resolved(runtime.precision)
        trainer = ClassifierTrainer(config, ClassifyTraining(norm, 0.001, 0), runtime, images, images)
        probe = ClassifierProbe(images, config.batch, runtime.device)
        return trainer.train_step, DynamicsMeter(trainer.network, probe, {})
    gan_config = preset_config(network).replace({"norm": norm, "channels": 3})
    run = Trainer(gan_config, runtime, images)
    probe = DiscriminatorProbe(gan_config, images, run.classes, run.generator, runtime.device)
    return run.train_step, DynamicsMeter(run.discriminator, probe, {})


def main(names: list[str]) -> None:
    for name in names:
        network, _, norm = name.partition(":")
        if not norm:
            sys.exit(f"{name}: give NETWORK:NORM, such as vgg7:sn")
        plugins.allow(NORMS.references(norm))
        train_step, meter = build(network, norm)
        step = milliseconds(train_step, 5)
        short = milliseconds(lambda: meter.sample(full=False), 2)  # noqa: B023
        full = milliseconds(lambda: meter.sample(full=True), 1)  # noqa: B023
        steps = ((FULL - 1) * short + full) / FULL / step
        print(f"{name}: step {step:.0f} ms, sample {short:.0f}, full {full:.0f}: {steps:.1f} steps", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
