"""One training of a classifier: its network, optimizer and position, and one step."""

from __future__ import annotations

import math
import statistics
import time
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gan.data import ImageSet
from gan.errors import UserError
from gan.experiments.classify.batches import TrainingBatches, ordered_batches
from gan.experiments.classify.config import ClassifyConfig, ClassifyTraining
from gan.models.classifiers import build_classifier
from gan.norm import power_iterate
from gan.runtime import Runtime

MOMENTUM = 0.9  # of SGD
_UNREAD = 20  # steps between two readings of the losses where a reading waits for the device


class ClassifierTrainer:
    """A network, its optimizer and the position of its training.

    Args:
        config: resolved settings.
        training: the norm, learning rate and seed.
        runtime: device and precision.
        train: the images that it learns from, with labels.
        test: those that it is tested on; label k means the same class.
    """

    def __init__(
        self, config: ClassifyConfig, training: ClassifyTraining, runtime: Runtime, train: ImageSet, test: ImageSet
    ) -> None:
        self.config = config
        self.training = training
        self.runtime = runtime
        self.test = test
        self.network = runtime.place(
            build_classifier(
                config.model,
                training.norm,
                resolution=train.resolution,
                channels=train.channels,
                classes=len(train.classes),
                seed=training.seed,
            )
        )
        self.optimizer = self._optimizer()
        self.batches = TrainingBatches(train, config.batch, training.seed, config.augment, runtime)
        self._count = len(train)
        self.steps = count_steps(config, len(train))
        self.step = 0
        self.diverged: int | None = None
        """The first step whose loss, or after which a weight, was not finite."""
        self.seconds = 0.0  # spent in steps, over all resumes
        self._sums = [0.0, 0.0, 0.0]  # of this epoch: images, loss * images, right answers
        self._times: list[float] = []  # seconds of the steps of this epoch
        self._unread: list[Tensor] = []  # (loss, right answers) of the last steps, on the device
        self._began = 0.0
        self._read_every = 1 if runtime.device.type == "cpu" else _UNREAD

    def _optimizer(self) -> torch.optim.Optimizer:
        rate, decay = self.training.lr, self.config.weight_decay
        fused = self.runtime.device.type in ("cpu", "cuda")
        if self.config.optimizer == "sgd":
            return torch.optim.SGD(self.network.parameters(), rate, MOMENTUM, weight_decay=decay, fused=fused)
        return torch.optim.Adam(self.network.parameters(), rate, weight_decay=decay, fused=fused)

    @property
    def at_end_of_epoch(self) -> bool:
        """Whether the last step has completed an epoch."""
        return self.step > 0 and self.epoch_of(self.step) != self.epoch_of(self.step + 1)

    def epoch_of(self, step: int) -> int:
        """The epoch, from 1, that a step, from 1, is counted to: that of the first image of its batch."""
        return (step - 1) * self.config.batch // self._count + 1

    def train_step(self) -> None:
        """Update the network on the next batch. A loss that is not finite is noted in `diverged`."""
        if not self._unread:
            self._began = time.perf_counter()
        self._set_learning_rate()
        power_iterate(self.network)
        batch = self.batches.at(self.step)
        with self.runtime.autocast():
            logits = self.network(batch.images)
        logits = logits.float()
        loss = F.cross_entropy(logits, batch.labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        right = (logits.argmax(1) == batch.labels).sum()
        self._unread.append(torch.stack([loss.detach(), right.float()]))
        self.step += 1
        if len(self._unread) >= self._read_every or self.at_end_of_epoch or self.step == self.steps:
            self.read_losses()

    def read_losses(self) -> None:
        """Add up what the last steps gave; waits for the device."""
        if not self._unread:
            return
        values = torch.stack(self._unread).tolist()
        spent = time.perf_counter() - self._began
        self.seconds += spent
        self._times.append(spent / len(values))
        first = self.step - len(values) + 1
        self._unread = []
        for number, (loss, right) in enumerate(values, first):
            if not math.isfinite(loss):
                self.diverged = number
                return
            self._sums[0] += self.config.batch
            self._sums[1] += loss * self.config.batch
            self._sums[2] += right

    def _set_learning_rate(self) -> None:
        share = (1 + math.cos(math.pi * self.step / self.steps)) / 2 if self.config.decay == "cosine" else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = self.training.lr * share

    def end_epoch(self) -> dict[str, Any]:
        """Test the network; returns a line of the log and begins a new epoch.

        Weights that are not finite are noted in `diverged`: the last step of an epoch may have made them so.
        """
        images, loss, right = self._sums
        if not all(torch.isfinite(weight).all() for weight in self.network.parameters()):
            self.diverged = self.step
        test_loss, test_accuracy = evaluate_classifier(self.network, self.test, self.runtime)
        step_seconds = statistics.median(self._times)
        entry = {
            "step": self.step,
            "epoch": self.epoch_of(self.step),
            "images": self.step * self.config.batch,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.config.batch / step_seconds, 1),
            "step_seconds": step_seconds,
            "lr": self.optimizer.param_groups[0]["lr"],
            "train_loss": loss / images,
            "train_accuracy": right / images,
            "test_loss": test_loss,
            "test_accuracy": test_accuracy,
        }
        self._sums, self._times = [0.0, 0.0, 0.0], []
        return entry

    def state(self) -> dict[str, Any]:
        """All that a resumed training needs, for `gan.runs.checkpoint.save_checkpoint`."""
        self.read_losses()
        return {
            "kind": "classifier-training",
            "step": self.step,
            "seconds": self.seconds,
            "sums": self._sums,
            "times": self._times,
            "weights": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state(self, state: dict[str, Any], where: object) -> None:
        """Go on from a checkpoint of the same training.

        Args:
            where: what messages call the checkpoint.

        Raises:
            UserError: it belongs to another network, or to another kind of training.
        """
        try:
            self.network.load_state_dict(state["weights"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.seconds = state["step"], state["seconds"]
            self._sums, self._times = list(state["sums"]), list(state["times"])
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{where}: was written by another training ({reason})") from error


def count_steps(config: ClassifyConfig, images: int) -> int:
    """Steps of a training: as many as let every image be seen in each epoch, the last batch being full."""
    return -(-config.epochs * images // config.batch)


@torch.inference_mode()
def evaluate_classifier(network: nn.Module, images: ImageSet, runtime: Runtime) -> tuple[float, float]:
    """The mean cross entropy of a network on a set, and the share of images whose class it names.

    The network is in evaluation mode for it, and in training mode afterwards.
    """
    network.eval()
    loss, right = torch.zeros((), device=runtime.device), torch.zeros((), device=runtime.device)
    with parametrize.cached():  # the weights do not change from batch to batch
        for batch in ordered_batches(images, runtime):
            with runtime.autocast():
                logits = network(batch.images)
            logits = logits.float()
            loss += F.cross_entropy(logits, batch.labels, reduction="sum")
            right += (logits.argmax(1) == batch.labels).sum()
    network.train()
    return loss.item() / len(images), right.item() / len(images)
