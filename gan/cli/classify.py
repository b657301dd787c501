"""`classify`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from gan.cli.app import device_option, main, out_root
from gan.cli.config_options import config_options
from gan.experiments.classify.config import ClassifyConfig
from gan.experiments.classify.experiment import run_classification as run_experiment


@main.command()
@click.argument("run")
@out_root
@device_option
@config_options(ClassifyConfig)
def classify(run: str, root: Path, device: str, **settings: Any) -> None:
    """Train a classifier under several normalizations, learning rates and seeds, and report accuracy, time and size.

    Nothing but the normalization differs: one seed has the same raw weights, images and shifts under each. The
    trainings run one after another. Stopped or killed, RUN goes on exactly where it was when the command is given
    again; then settings may be left out, and --norms, --lr and --seeds may add trainings. Results are in
    checkpoints/RUN: classify.html, classify.md, classify.json, and each network as NORM-lrRATE-seedN/classifier.pt,
    which `report --features classifier:FILE` takes. In brackets: the defaults.

    \b
    Examples: msn-gan classify digits --model cnn3 --norms none,bn,mean,sn,msn --epochs 10 --seeds 3
              msn-gan classify vgg --model vgg7 --data cifar10 --lr 0.01,0.001 --seeds 3
              msn-gan classify mine --model resnet18 --data train.zip --test-data test.zip --optimizer sgd --lr 0.1
    """
    given = {name: value for name, value in settings.items() if value is not None}
    stopped = run_experiment(run, given, root=root, device=device)
    if stopped is not None:
        sys.exit(128 + stopped)
