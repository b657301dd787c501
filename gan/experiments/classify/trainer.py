"""Trainer of a classifier: network, optimizer, position, and one training step."""

import copy
import math
import statistics
import time
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gan.config import plugins
from gan.config.choices import NORMS
from gan.data.image_set import ImageSet
from gan.experiments.classify.batches import TrainingBatches, ordered_batches
from gan.experiments.classify.config import ClassifyConfig, ClassifyTraining
from gan.models.classifiers import Classifier, build_classifier
from gan.norm import has_running_statistics, power_iterate, retake_running_statistics
from gan.runtime import Runtime
from gan.utils.written_by import does_not_fit, load_error_text

MOMENTUM = 0.9  # of SGD
_READ_EVERY = 20  # steps between two reads of the losses on an asynchronous device, for which a read waits


class ClassifierTrainer:
    """Network, optimizer and position of one training.

    Args:
        config: resolved configuration.
        training: the norm, learning rate and seed.
        runtime: device and precision.
        train: training images with labels.
        test: test images, with the same classes.
    """

    def __init__(
        self, config: ClassifyConfig, training: ClassifyTraining, runtime: Runtime, train: ImageSet, test: ImageSet
    ) -> None:
        self.config = config
        self.training = training
        self.runtime = runtime
        self.test = test
        sizes = {"resolution": train.resolution, "channels": train.channels, "classes": len(train.classes)}
        self.network = runtime.place(build_classifier(config.model, training.norm, **sizes, seed=training.seed))
        self.optimizer = self._build_optimizer()
        self.batches = TrainingBatches(train, config.batch, training.seed, config.augment, runtime)
        self.image_count = len(train)
        """Number of training images."""
        self.steps = count_steps(config, len(train))
        self.step = 0
        self.diverged: int | None = None
        """First step whose loss is not finite, or after which a weight is not."""
        self.seconds = 0.0  # of training steps, over all resumes
        self._sums = [0.0, 0.0, 0.0]  # of this epoch: images, loss * images, correct predictions
        self._times: list[float] = []  # seconds per step in this epoch
        self._unread: list[Tensor] = []  # (loss, correct predictions) of the last steps, on the device
        self._unread_since = 0.0
        self._tested: Classifier | None = None  # the copy of `network_to_test`, until the next step
        references = NORMS.references(training.norm)
        self.plugins = plugins.record(references, "--norms")
        """Records of the user's own code; see `gan.config.plugins`."""
        self._read_every = 1 if runtime.device.type == "cpu" else _READ_EVERY

    def _build_optimizer(self) -> torch.optim.Optimizer:
        rate, decay = self.training.lr, self.config.weight_decay
        fused = self.runtime.device.type in ("cpu", "cuda")
        if self.config.optimizer == "sgd":
            return torch.optim.SGD(self.network.parameters(), rate, MOMENTUM, weight_decay=decay, fused=fused)
        return torch.optim.Adam(self.network.parameters(), rate, weight_decay=decay, fused=fused)

    @property
    def at_end_of_epoch(self) -> bool:
        """True if the last step has completed an epoch."""
        return self.step > 0 and self.epoch_of(self.step) != self.epoch_of(self.step + 1)

    def epoch_of(self, step: int) -> int:
        """Return the epoch of the first image of a step's batch; both are counted from 1."""
        return (step - 1) * self.config.batch // self.image_count + 1

    def train_step(self) -> None:
        """Update the network on the next batch. A loss that is not finite sets `diverged`."""
        if not self._unread:
            self._unread_since = time.perf_counter()
        self._tested = None
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
        correct = (logits.argmax(1) == batch.labels).sum()
        self._unread.append(torch.stack([loss.detach(), correct.float()]))
        self.step += 1
        if len(self._unread) >= self._read_every or self.at_end_of_epoch or self.step == self.steps:
            self.read_losses()

    def read_losses(self) -> None:
        """Add the losses of the last steps to the sums; waits for the device."""
        if not self._unread:
            return
        values = torch.stack(self._unread).tolist()
        elapsed = time.perf_counter() - self._unread_since
        self.seconds += elapsed
        self._times.append(elapsed / len(values))
        self._unread = []
        for step, (loss, correct) in enumerate(values, self.step - len(values) + 1):
            if not math.isfinite(loss):
                self.diverged = step
                return
            self._sums[0] += self.config.batch
            self._sums[1] += loss * self.config.batch
            self._sums[2] += correct

    def _set_learning_rate(self) -> None:
        factor = (1 + math.cos(math.pi * self.step / self.steps)) / 2 if self.config.decay == "cosine" else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = self.training.lr * factor

    def end_epoch(self) -> dict[str, Any]:
        """Test the network, begin a new epoch, and return a log entry.

        Weights that are not finite, as the last step may leave them, set `diverged`.
        """
        images, loss, correct = self._sums
        if not all(torch.isfinite(weight).all() for weight in self.network.parameters()):
            self.diverged = self.step
        test_loss, test_accuracy = evaluate_classifier(self.network_to_test(), self.test, self.runtime)
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
            "train_accuracy": correct / images,
            "test_loss": test_loss,
            "test_accuracy": test_accuracy,
        }
        self._sums, self._times = [0.0, 0.0, 0.0], []
        return entry

    def network_to_test(self) -> Classifier:
        """The network, or a copy with running statistics recomputed over the last batches (`precise_stats`).

        The copy is kept until the next step: after the last epoch it is tested and then saved.
        """
        if self._tested is not None:
            return self._tested
        count = retaken_batches(self.config, self.step)
        if not count or not has_running_statistics(self.network):
            return self.network
        network = copy.deepcopy(self.network)
        batches = ((self.batches.at(step).images,) for step in range(self.step - count, self.step))
        with self.runtime.autocast(), parametrize.cached():
            retake_running_statistics(network, batches)
        self._tested = network
        return network

    def state(self) -> dict[str, Any]:
        """Return the state of the training, for `gan.runs.checkpoint.save_checkpoint`."""
        self.read_losses()
        return {
            "kind": "classifier-training",
            "step": self.step,
            "seconds": self.seconds,
            "sums": self._sums,
            "times": self._times,
            "weights": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            **plugins.file_entry(self.plugins),
        }

    def load_state(self, state: dict[str, Any], where: object) -> None:
        """Load a checkpoint of the same training.

        Args:
            where: name of the checkpoint in messages.

        Raises:
            UserError: it is from another network or another kind of training, or the user's own code has changed.
        """
        plugins.require_unchanged(state.get("plugins"), self.plugins, where)
        try:
            self.network.load_state_dict(state["weights"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.seconds = state["step"], state["seconds"]
            self._sums, self._times = list(state["sums"]), list(state["times"])
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            reason = f"it is of another training, or its state has changed: {load_error_text(error)}"
            raise does_not_fit(where, reason, state, "remove the training's folder to train it again") from error


def retaken_batches(config: ClassifyConfig, step: int) -> int:
    """Return the number of batches over which running statistics are recomputed for a test after `step` steps."""
    return min(config.precise_stats or 0, step)


def count_steps(config: ClassifyConfig, images: int) -> int:
    """Return the steps of a training: every image is seen in each epoch, and the last batch is full."""
    return -(-config.epochs * images // config.batch)


@torch.inference_mode()
def evaluate_classifier(network: nn.Module, images: ImageSet, runtime: Runtime) -> tuple[float, float]:
    """Return mean cross entropy and accuracy on a set; the network is in training mode afterwards."""
    network.eval()
    loss, correct = torch.zeros((), device=runtime.device), torch.zeros((), device=runtime.device)
    with parametrize.cached():  # the weights are equal for all batches
        for batch in ordered_batches(images, runtime):
            with runtime.autocast():
                logits = network(batch.images)
            logits = logits.float()
            loss += F.cross_entropy(logits, batch.labels, reduction="sum")
            correct += (logits.argmax(1) == batch.labels).sum()
    network.train()
    return loss.item() / len(images), correct.item() / len(images)
