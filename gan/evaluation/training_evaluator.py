"""Scores of a run's generator while it trains, for `gan.training.loop.run_training_loop`'s `on_snapshot`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import torch
from torch import nn

from gan.config.train_config import TrainConfig
from gan.data import ImageSet
from gan.distributed import collectives, process_group
from gan.evaluation.image_streams import generator_stream, image_set_stream
from gan.evaluation.reference_statistics import Looking
from gan.metrics.extractor import Extractor
from gan.metrics.protocol import Protocol, protocol_differences
from gan.metrics.reference import Reference
from gan.metrics.score import measure_reference, score
from gan.runs import log
from gan.runs.run_dir import RunDirectory
from gan.utils.progress import say

_LOGGED = ("fid", "inception_score", "inception_score_std", "kid", "kid_std", "precision", "recall")


def training_extractor(settings: TrainConfig, device: torch.device) -> Extractor:
    """The network that a run is scored with; call it before the run begins.

    Raises:
        UserError: there is no such network, or its weights cannot be had.
    """
    features = None if settings.report_features == "auto" else settings.report_features
    return Looking(features=features, device=device.type).extractor(settings.data)


def training_reference(data: ImageSet, extractor: Extractor, metrics: Sequence[str]) -> Reference:
    """The real side of a run's scores: all images that it learns from."""
    return measure_reference(image_set_stream(data, data.name, "train"), extractor, metrics)


def score_due(step: int, settings: TrainConfig, run: RunDirectory) -> bool:
    """Whether this step is to be scored and the log does not have its score."""
    every = settings.report_every
    return every > 0 and (step % every == 0 or step == settings.steps) and step not in logged_scores(run)


def logged_scores(run: RunDirectory) -> dict[int, dict[str, Any]]:
    """The scores in the log of a run, by step."""
    return {entry["step"]: entry for entry in log.read_log(run.checkpoints / log.LOG) if "scores" in entry}


class TrainingEvaluator:
    """FID and other scores of the averaged generator, every `report_every` steps and after the last.

    A call touches neither the network nor torch's random state. It gives what the log gets, or None when no score is
    due or the log has it already, so it may be called again when a run is resumed. The checkpoint of the best FID is
    named in best.json. Several ranks call it together, and rank 0 gets the scores.

    Args:
        data: the images of the run, which are the real ones.
        classes: of the generator; 0 for an unconditional one.
        metrics: names in `gan.metrics.score.METRICS`, fid among them.
        reference: gives the real side, measured for these metrics, where several runs share it.
    """

    def __init__(
        self,
        settings: TrainConfig,
        run: RunDirectory,
        extractor: Extractor,
        data: ImageSet,
        classes: int,
        *,
        metrics: Sequence[str] = ("fid", "is"),
        reference: Callable[[], Reference] | None = None,
    ) -> None:
        self._settings = settings
        self._run = run
        self._extractor = extractor
        self._classes = classes
        self._metrics = metrics
        self._reference = reference or cache(lambda: training_reference(data, extractor, metrics))

    def __call__(self, step: int, network: nn.Module) -> dict[str, Any] | None:
        if not collectives.on_rank0(lambda: score_due(step, self._settings, self._run)):
            return None
        settings = self._settings
        images = generator_stream(
            network,
            settings.report_num,
            settings.seed,
            name=f"step {step}",
            latent_dim=settings.latent_dim,
            classes=self._classes,
        )
        result = score(images, self._reference(), self._extractor, self._metrics, seed=settings.seed, ema=True)
        if not process_group.is_rank0():
            return None
        self._note_best(step, result)
        say(f"step {step}: {format_scores(result)}")
        protocol = Protocol.from_json(result["protocol"])
        return {
            "scores": {name: result[name] for name in _LOGGED if name in result},
            "scored_by": f"{protocol.extractor} {protocol.weights[:12]}, {protocol.generated_count} images against "
            f"{protocol.reference_count}, seed {protocol.seed}, averaged generator",
            "protocol": result["protocol"],
        }

    def _note_best(self, step: int, result: dict[str, Any]) -> None:
        """Keep the best in best.json. One measured in another way, or after this step, does not count."""
        with suppress(KeyError, TypeError):  # no best.json yet, or not one of ours
            best = self._run.read_best()
            pair = (Protocol.from_json(best["protocol"]), Protocol.from_json(result["protocol"]))
            if best["step"] <= step and best["fid"] <= result["fid"] and not protocol_differences(*pair):
                return
        scores = {name: result[name] for name in _LOGGED if name in result}
        self._run.write_best(step, {**scores, "protocol": result["protocol"]})


def format_scores(scores: dict[str, Any]) -> str:
    """Scores in a line."""
    return (
        f"FID {scores['fid']:.2f}, Inception score {scores['inception_score']:.2f} ± "
        f"{scores['inception_score_std']:.2f}"
    )
