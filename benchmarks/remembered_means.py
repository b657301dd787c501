"""What the remembered means of a trained classifier cost: its test accuracy with them, and with means taken anew.

    python benchmarks/remembered_means.py --data digits checkpoints/densenet-bc/msn-lr0.001-seed0/classifier.pt ...

In evaluation MSN subtracts a running mean over its last ten steps or so (momentum 0.1), and batch norm uses a mean and
a variance of that kind. Where the weights move fast, these lag behind. Three test accuracies tell that from a network
that has learned little:

    remembered   as the checkpoint is
    anew         statistics averaged over all training images, the weights as they are (precise statistics, as Wu &
                 Johnson 2021, arXiv 2105.07576, call them)
    batch        statistics of each batch of test images, as in training
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import torch
from torch import Tensor

from gan.data import ImageSet
from gan.data.batches import to_float
from gan.data.train_test_sets import load_train_and_test
from gan.experiments.classify.trainer import evaluate_classifier
from gan.models.classifiers import Classifier, classifier_from_state
from gan.norm import Centering
from gan.norm.layers import BATCH_NORMS
from gan.runs import checkpoint
from gan.runtime import Runtime, resolve_runtime

_BATCH = 128  # of the new statistics


def main() -> None:
    """Parse the flags, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=Path, help="classifier.pt files of `msn-gan classify`")
    parser.add_argument("--data", required=True, help="what they were trained on")
    parser.add_argument("--test-data", help="as in `msn-gan classify`")
    parser.add_argument("--batch", type=int, default=32, help="of the statistics of batches, as in training")
    flags = parser.parse_args()
    runtime = resolve_runtime("cpu", "fp32")
    print("| checkpoint | remembered, % | anew, % | batch, % |\n| --- | ---: | ---: | ---: |")
    for path in flags.checkpoints:
        network = classifier_from_state(checkpoint.load_checkpoint(path), path)
        train, test = load_train_and_test(
            flags.data, test_data=flags.test_data, resolution=network.resolution, channels=network.channels
        )
        network = runtime.place(network)
        found = accuracies(network, train, test, flags.batch, runtime)
        print(f"| {path} | {' | '.join(f'{100 * value:.2f}' for value in found)} |", flush=True)


@torch.no_grad()
def accuracies(
    network: Classifier, train: ImageSet, test: ImageSet, batch: int, runtime: Runtime
) -> tuple[float, float, float]:
    """Test accuracy, in [0, 1], with remembered statistics, with new ones, and with those of each batch."""
    _, remembered = evaluate_classifier(network, test, runtime)
    network = copy.deepcopy(network).train()
    right = 0
    for indices in shuffled(test, batch):
        logits = network(to_float(test.fetch(indices)))
        right += int((logits.argmax(1) == test.labels[indices]).sum())
    norms = [module for module in network.modules() if isinstance(module, (Centering, *BATCH_NORMS))]
    for count, indices in enumerate(shuffled(train, _BATCH), 1):
        for norm in norms:
            norm.momentum = 1 / count  # a mean over all batches so far
        network(to_float(train.fetch(indices)))
    _, anew = evaluate_classifier(network, test, runtime)
    return remembered, anew, right / len(test)


def shuffled(images: ImageSet, batch: int) -> tuple[Tensor, ...]:
    """The numbers of all images once, in batches of a fixed random order."""
    return torch.randperm(len(images), generator=torch.Generator().manual_seed(0)).split(batch)


if __name__ == "__main__":
    main()
