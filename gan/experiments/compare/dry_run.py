"""`compare --dry-run`: the trainings of a comparison, and an estimate of their time and disk, measured on noise."""

from collections.abc import Sequence
from statistics import fmean

from gan.experiments.compare.plan import ComparedTraining, ComparePlan
from gan.experiments.compare.scoring_schedule import extractor_flop, network_flop, scoring_flop, training_flop
from gan.experiments.parallel.estimated_jobs import estimated_jobs, threads_of_jobs, time_in_all
from gan.runtime import Runtime
from gan.training.dry_run import format_duration, list_images
from gan.training.estimate import estimate_run, noise_images
from gan.utils.counted import counted
from gan.utils.memory import format_bytes
from gan.utils.progress import working


def dry_run_comparison(
    plan: ComparePlan, todo: Sequence[ComparedTraining], waiting: int, runtime: Runtime, jobs: int | None
) -> None:
    """Print the number of trainings left, the time of each arm, and the time and disk of all of them.

    Steps are timed once for each arm and setting; the time of scores is that of their operations, relative to those of
    training.

    Args:
        todo: the trainings that are not done.
        waiting: number of further ones whose setting is not chosen yet.
        jobs: value of --jobs; None: auto.

    Raises:
        UsageError, UserError: the images do not exist, cannot be listed, or lack the labels of a conditional run,
            or the classifier of the scores cannot be read.
    """
    images, classes = list_images(plan.train.data)
    noise = noise_images(plan.train, classes if plan.train.conditional else 0)
    print(f"trainings:  {len(todo) + waiting} of {plan.planned} are left")
    print(f"images:     {images}", flush=True)
    seconds: list[float] = []
    disk, seconds_of_first = 0, 0.0
    extractor = extractor_flop(plan.train) if todo else 0.0
    together = estimated_jobs(jobs, len(todo) + waiting, runtime.device)
    reference = plan.reference_arm
    if plan.compare.budget == "seconds" and todo and todo[0].arm not in (reference, *plan.step_times):
        config = plan.config_of(ComparedTraining(reference, 0))
        with working(f"timing steps of {reference}"), threads_of_jobs(together):
            seconds_of_first = estimate_run(config, runtime, noise).step_seconds * config.steps
    for arm, setting in dict.fromkeys((training.arm, training.setting) for training in todo):
        same = [training for training in todo if (training.arm, training.setting) == (arm, setting)]
        config = plan.config_of(same[0])
        with working(f"timing steps of {arm}"), threads_of_jobs(together):
            estimate = estimate_run(config, runtime, noise)
        training = estimate.step_seconds * config.steps
        if plan.compare.budget == "seconds":
            training = seconds_of_first = seconds_of_first or training
        scores = -(-config.steps // config.report_every)
        generator, discriminator = network_flop(config)
        step, image = training_flop(config, generator, discriminator), scoring_flop(generator, extractor)
        scored = (scores + config.report_repeats - 1) * config.report_num  # images
        scoring = training * scored * image / (config.steps * step)
        name = f"{setting}{' ' * bool(setting)}{arm}:"
        print(
            f"{name:<11} {counted(len(same), 'training')} of {format_duration(training)}, "
            f"and {format_duration(scoring)} for {counted(scores, 'score')}",
            flush=True,
        )
        seconds += len(same) * [training + scoring]
        disk += len(same) * estimate.disk(config)[1]
    if waiting and todo:
        print(f"{'then:':<11} {counted(waiting, 'training')}, each with the mean time of these")
        seconds += waiting * [fmean(seconds)]
        disk += waiting * disk // len(todo)
    print(f"time:       {time_in_all(seconds, together)}")
    print(f"disk:       {format_bytes(disk)} for checkpoints")
