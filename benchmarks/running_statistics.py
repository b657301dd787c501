"""Measure how the running statistics of a trained classifier affect its test accuracy.

    python benchmarks/running_statistics.py --data digits checkpoints/densenet-bc/msn-lr0.001-seed0/classifier.pt ...

In evaluation MSN subtracts a running mean over about ten steps (momentum 0.1), and batch norm uses a running mean and
variance. They lag behind weights that change fast. Three test accuracies separate this effect from a network that
learned little:

    running      as in the checkpoint
    recomputed   statistics over all training images with the final weights (precise statistics, Wu & Johnson 2021,
                 arXiv 2105.07576)
    batch        statistics of each batch of test images, as in training
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import torch
from torch import Tensor

from gan.data.batches import to_float
from gan.data.image_set import ImageSet
from gan.data.train_test_sets import load_train_and_test
from gan.experiments.classify.trainer import evaluate_classifier
from gan.models.classifiers import Classifier, classifier_from_state
from gan.norm import retake_running_statistics
from gan.runs import checkpoint
from gan.runtime import Runtime, resolve_runtime
from gan.utils.markdown_table import markdown_table
from gan.utils.progress import say

_BATCH = 128  # for recomputed statistics


def main() -> None:
    """Run the benchmark with the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=Path, help="classifier.pt files of `msn-gan classify`")
    parser.add_argument("--data", required=True, help="their training data")
    parser.add_argument("--test-data", help="as in `msn-gan classify`")
    parser.add_argument("--batch", type=int, default=32, help="batch size for statistics of each batch, as in training")
    flags = parser.parse_args()
    runtime = resolve_runtime("cpu", "fp32")
    rows = []
    for path in flags.checkpoints:
        network = classifier_from_state(checkpoint.load_checkpoint(path), path)
        train, test = load_train_and_test(
            flags.data, test_data=flags.test_data, resolution=network.resolution, channels=network.channels
        )
        network = runtime.place(network)
        values = accuracies(network, train, test, flags.batch, runtime)
        rows.append([path, *(f"{100 * value:.2f}" for value in values)])
        say(f"{path}: done")
    print(markdown_table(["checkpoint", "running, %", "recomputed, %", "batch, %"], rows, align_right=True))


@torch.no_grad()
def accuracies(
    network: Classifier, train: ImageSet, test: ImageSet, batch: int, runtime: Runtime
) -> tuple[float, float, float]:
    """Return test accuracy, in [0, 1], with running, recomputed and batch statistics."""
    _, running = evaluate_classifier(network, test, runtime)
    network = copy.deepcopy(network).train()
    correct = 0
    for indices in shuffled(test, batch):
        logits = network(to_float(test.fetch(indices)))
        correct += int((logits.argmax(1) == test.labels[indices]).sum())
    retake_running_statistics(network, ((to_float(train.fetch(indices)),) for indices in shuffled(train, _BATCH)))
    _, recomputed = evaluate_classifier(network, test, runtime)
    return running, recomputed, correct / len(test)


def shuffled(images: ImageSet, batch: int) -> tuple[Tensor, ...]:
    """Return the indices of all images in a fixed random order, in batches."""
    return torch.randperm(len(images), generator=torch.Generator().manual_seed(0)).split(batch)


if __name__ == "__main__":
    main()
