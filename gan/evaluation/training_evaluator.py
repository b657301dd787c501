"""Score the generator of a run while it trains: the `on_snapshot` of `gan.training.loop.run_training_loop`"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import torch
from torch import nn

from gan.config.plugins import CodeNotNamed
from gan.config.registry import classifier_file
from gan.config.train_config import TrainConfig
from gan.data.image_set import ImageSet
from gan.distributed import collectives, process_group
from gan.errors import UsageError
from gan.evaluation.image_streams import generator_stream, image_set_stream
from gan.evaluation.repeats import draw_seed, draws_text, fid_over_draws
from gan.metrics.extractor import Extractor, ExtractorOptions
from gan.metrics.feature_pass import ImageStream
from gan.metrics.frechet import count_warning
from gan.metrics.protocol import Protocol, protocol_differences
from gan.metrics.reference import Reference
from gan.metrics.score import measure_reference, score
from gan.metrics.score_checks import available_metrics, require_logits
from gan.metrics.score_table import SCORES
from gan.runs import log
from gan.runs.run_dir import RunDirectory
from gan.utils.counted import counted
from gan.utils.progress import say, warn


def training_extractor(config: TrainConfig, device: torch.device, *, otherwise: str = "") -> Extractor:
    """The extractor that scores a run. Create it before the run begins: a UserError says that it is not available.

    Args:
        otherwise: see `create_extractor`.
    """
    from gan.metrics.extractors import create_extractor  # loads torchvision, which takes a second

    options = ExtractorOptions(features=config.features, device=device.type)
    try:
        extractor = create_extractor(options, config.data, otherwise=otherwise)
    except CodeNotNamed as error:
        if not classifier_file(config.features):
            raise
        raise UsageError(
            f"--features {config.features}: was trained under a norm of your own, which only `report`, `data stats` "
            "and `export` can load (--norm)"
        ) from error
    require_logits(config.report_metrics, extractor, "--report-metrics")
    return extractor


def training_metrics(
    config: TrainConfig, extractor: Extractor, default: Sequence[str] = ("fid", "is")
) -> tuple[str, ...]:
    """The metrics of a run's scores: those of `report_metrics`, or the default as far as the extractor allows."""
    return config.report_metrics or available_metrics(default, extractor)


def training_reference(data: ImageSet, extractor: Extractor, metrics: Sequence[str]) -> Reference:
    """The real side of a run's scores: all of its training images."""
    return measure_reference(image_set_stream(data, data.name, "train"), extractor, metrics)


def score_due(step: int, config: TrainConfig, run: RunDirectory) -> bool:
    """True if this step is to be scored and its score is not in the log."""
    every = config.report_every
    return every > 0 and (step % every == 0 or step == config.steps) and step not in logged_scores(run)


def logged_scores(run: RunDirectory) -> dict[int, dict[str, Any]]:
    """The log entries of a run that have scores, by step."""
    return {entry["step"]: entry for entry in log.read_log(run.checkpoints / log.LOG) if "scores" in entry}


def logged_warnings(entry: Mapping[str, Any]) -> list[str]:
    """The warnings about the scores of a log entry; older logs have none, but the number of images."""
    if "warnings" in entry:
        return list(entry["warnings"])
    protocol = Protocol.from_json(entry["protocol"])
    counts = [count for count in (protocol.generated_count, protocol.reference_count) if count]
    warning = count_warning(min(counts), 0) if counts else None
    return [warning] if warning else []


class TrainingEvaluator:
    """FID and other scores of the EMA generator, every `report_every` steps and after the last.

    A call changes neither the network nor torch's random state. It returns the log entry, or None if no score is due or
    the log already has it, so it can be called again when a run is resumed. With `report_repeats`, the entry of the
    last step has `repeats`, as `fid_over_draws` returns it. The checkpoint with the lowest FID is named in best.json.
    Several ranks call it together, and rank 0 gets the scores.

    Args:
        data: the training images, which are the real ones.
        classes: of the generator; 0 if it is unconditional.
        metrics: those of `training_metrics`.
        reference: returns the real side, measured for these metrics, if several runs share it.
        said: warnings that were already printed, if several runs share them; new ones are added.
    """

    def __init__(
        self,
        config: TrainConfig,
        run: RunDirectory,
        extractor: Extractor,
        data: ImageSet,
        classes: int,
        *,
        metrics: Sequence[str],
        reference: Callable[[], Reference] | None = None,
        said: set[str] | None = None,
    ) -> None:
        self._config = config
        self._run = run
        self._extractor = extractor
        self._classes = classes
        self._metrics = metrics
        self._said = set() if said is None else said
        self._reference = reference or cache(lambda: training_reference(data, extractor, metrics))

    def __call__(self, step: int, network: nn.Module) -> dict[str, Any] | None:
        config = self._config
        if not collectives.on_rank0(lambda: score_due(step, config, self._run)):
            return None

        def images(draw: int) -> ImageStream:
            return generator_stream(
                network,
                config.report_num,
                draw_seed(config.seed, draw),
                name=f"step {step}",
                latent_dim=config.latent_dim,
                classes=self._classes,
            )

        result = score(images(0), self._reference(), self._extractor, self._metrics, seed=config.seed, ema=True)
        repeats: dict[str, Any] = {}
        if config.report_repeats > 1 and step == config.steps:
            repeats["repeats"] = fid_over_draws(
                result.get("fid"),
                images,
                config.report_repeats,
                self._reference(),
                self._extractor,
                seed=config.seed,
                ema=True,
            )
        if not process_group.is_rank0():
            return None
        keys = [key for column in SCORES for key in (column.key, column.spread) if key in result]
        scores = {key: result[key] for key in keys if key}
        protocol = Protocol.from_json(result["protocol"])
        self._update_best(step, scores, protocol)
        error = f"; {draws_text(repeats['repeats']['fid'])}" if repeats else ""
        say(f"step {step}: {format_scores(scores)}{error}")
        for line in result["warnings"]:
            if line not in self._said:  # once, not for each score
                warn(line, printed=f"  {line}")
        self._said.update(result["warnings"])
        return {
            "scores": scores,
            **repeats,
            "warnings": result["warnings"],
            "scored_by": f"{protocol.extractor} {protocol.weights[:12]}, "
            f"{counted(protocol.generated_count or 0, 'image')} against {protocol.reference_count:,}, "
            f"seed {protocol.seed}, EMA generator",
            "protocol": result["protocol"],
        }

    def _update_best(self, step: int, scores: dict[str, Any], protocol: Protocol) -> None:
        """Write best.json unless it has a lower FID of an earlier step under the same protocol."""
        with suppress(KeyError, TypeError):  # no best.json yet, or not in our form
            best = self._run.read_best()
            same = not protocol_differences(Protocol.from_json(best["protocol"]), protocol)
            if best["step"] <= step and best["fid"] <= scores["fid"] and same:
                return
        self._run.write_best(step, {**scores, "protocol": protocol.to_json()})


def format_scores(scores: dict[str, Any]) -> str:
    """FID, FID∞ and the Inception score, those that were computed, in one line."""
    return ", ".join(f"{column.title} {column.format(scores)}" for column in SCORES[:3] if column.key in scores)
