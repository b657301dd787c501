"""The `classify` command."""

import sys
from pathlib import Path
from typing import Any

import click

from gan.cli.app import device_option, jobs_option, main, out_root, require_one_of_jobs_and_only, worker_options
from gan.cli.config_options import config_options
from gan.config.base import user_values
from gan.experiments.classify.config import ClassifyConfig


@main.command()
@click.argument("run")
@jobs_option
@click.option(
    "--only",
    metavar="NORM/LR/SEED",
    help="Train one training alone, such as sn/0.001/0; several processes can share a RUN so.",
)
@click.option("--dry-run", is_flag=True, help="Print the images and an estimate of time; train and write nothing.")
@worker_options
@out_root
@device_option
@config_options(
    ClassifyConfig,
    help_texts={"network": "With --generated: your own network that was trained; code runs only if you name it."},
)
def classify(
    run: str,
    jobs: int | None,
    only: str | None,
    dry_run: bool,
    worker: str | None,
    own_code: tuple[str, ...],
    root: Path,
    device: str,
    **config: Any,
) -> None:
    """Train a classifier under several normalizations, learning rates and seeds; report accuracy, time and size.

    Only the normalization differs: for one seed, raw weights, images and shifts are equal. Trainings run one after
    another, or --jobs at a time. The same command resumes a stopped or killed RUN exactly; flags may then be left out,
    and --norms, --lr and --seeds may add trainings. Results are in checkpoints/RUN: classify.html, classify.md,
    classify.json, and each network as NORM-lrRATE-seedN/classifier.pt, for `report --features classifier:FILE`.
    Brackets show the defaults.

    With --generated the training images are those of a class-conditional generator and the test images are real: the
    accuracy is the classification accuracy score (CAS). The same command without it gives the accuracy of real ones.

    \b
    Examples: msn-gan classify digits --model cnn3 --norms none,bn,mean,sn,msn --epochs 10 --seeds 3
              msn-gan classify vgg --model vgg7 --data cifar10 --lr 0.01,0.001 --seeds 3
              msn-gan classify mine --model resnet18 --data train.zip --test-data test.zip --optimizer sgd --lr 0.1
              msn-gan classify cas --model resnet18 --data cifar10 --norms bn --generated checkpoints/cifar --seeds 3
    """
    require_one_of_jobs_and_only(jobs, only)
    from gan.experiments.classify.experiment import run_classification
    from gan.experiments.parallel.worker import reporting

    overrides = user_values(ClassifyConfig, config)
    with reporting(worker, own_code):
        stopped = run_classification(
            run, overrides, root=root, device=device, jobs=jobs, only=only, worker=worker, dry_run=dry_run
        )
    if stopped is not None:
        sys.exit(128 + stopped)
