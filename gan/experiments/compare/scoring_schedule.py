"""Default number of scores of a training, and of their images, so that scoring takes at most a fifth of the time.

The time is estimated from operations (FLOP) of the networks, which are known beforehand: those of training steps, and
those of generating an image and extracting its features. Reading the real images once for all trainings, and the
scores' own arithmetic, are left out.
"""

from pathlib import Path

import torch
from torch import nn

from gan.config.registry import classifier_file
from gan.config.train_config import TrainConfig
from gan.metrics.frechet import STABLE_COUNT
from gan.models import build_discriminator, build_generator
from gan.models.classifiers import unnormalized_classifier
from gan.runs import checkpoint
from gan.utils.counted import counted
from gan.utils.progress import say, working

SHARE = 0.2  # of the time of a training with its scores
_MOST_SCORES = 10
_FEWEST_SCORES = 3  # with fewer, scores of fewer images are preferred
_EXTRACTOR_FLOP = {
    "inception": 1.14e10,
    "digits": 2e6,
    "dinov2": 1.62e11,
    "dinov2:s": 1.22e10,
    "dinov2:b": 4.63e10,
    "dinov2:g": 5.99e11,
    "clip": 8.8e9,
}
"""Of an image."""
_SLOWER = 2.4  # time of an operation in scoring (fp32) relative to training (bf16); measured 1.9 to 2.8 on a CPU


def with_scoring_schedule(config: TrainConfig, *, number_given: bool) -> TrainConfig:
    """Return a config with `report_every`, and unless it was given with `report_num`, chosen; say what was chosen.

    Scores become fewer before they become smaller, down to three; then their images become fewer, down to the 2,048
    that a FID needs; then scores become fewer again, down to the one at the end.
    """
    with working("estimating the time of scores"):
        generator, discriminator = network_flop(config)
    step, image = training_flop(config, generator, discriminator), scoring_flop(generator, extractor_flop(config))
    affordable = int(SHARE / (1 - SHARE) * config.steps * step / image)  # images in all scores
    number = config.report_num
    if affordable < _FEWEST_SCORES * number and not number_given:
        number = min(number, max(STABLE_COUNT, affordable // _FEWEST_SCORES // 100 * 100))
    every = even_interval(config.steps, max(1, min(_MOST_SCORES, affordable // number)))
    scores = -(-config.steps // every)
    scored = (scores + config.report_repeats - 1) * number  # images
    share = 1 / (1 + config.steps * step / (scored * image))
    when = f"every {counted(every, 'step')} and at the end" if scores > 1 else "at the end"
    say(
        f"scores: {scores} of each training, {when}, from {counted(number, 'image')}: an estimated {share:.0%} of the "
        "time; --report-every and --report-num choose others"
    )
    return config.replace({"report_every": every, "report_num": number})


def even_interval(steps: int, scores: int) -> int:
    """Return the steps between at most `scores` scores; the last interval is at least half as long as the others."""
    for count in range(scores, 1, -1):
        every = -(-steps // count)
        if 2 * (steps % every or every) >= every:
            return every
    return steps


def training_flop(config: TrainConfig, generator: float, discriminator: float) -> float:
    """Return the operations of a generator step with its updates of the discriminator; without penalties.

    Backward takes twice the operations of forward.

    Args:
        generator, discriminator: their operations for an image, forward.
    """
    updates = config.n_dis * (generator + 3 * 2 * discriminator)  # real and generated images
    return config.batch * (updates + 3 * (generator + discriminator))


def scoring_flop(generator: float, extractor: float) -> float:
    """Return the operations of an image of a score, in operations of training, which are faster.

    Args:
        generator, extractor: their operations for an image.
    """
    return _SLOWER * (generator + extractor)


def extractor_flop(config: TrainConfig) -> float:
    """Return the operations of the extractor of a config for an image.

    Raises:
        UserError: it is a classifier that cannot be read.
    """
    features = config.features
    if file := classifier_file(features):
        return classifier_flop(file)
    if features == "auto":
        features = "digits" if config.data == "digits" else "inception"
    return _EXTRACTOR_FLOP.get(features, _EXTRACTOR_FLOP["inception"])


def classifier_flop(path: Path) -> float:
    """Return the operations of the classifier of a checkpoint for an image, without those of its norm.

    Raises:
        UserError: there is no whole checkpoint of a classifier.
    """
    state = checkpoint.read_checkpoint(path).state
    classifier = unnormalized_classifier(state, path)
    return forward_flop(classifier, torch.zeros(1, classifier.channels, classifier.resolution, classifier.resolution))


def network_flop(config: TrainConfig) -> tuple[float, float]:
    """Return the operations of generator and discriminator for an image, forward and unconditional."""
    generator = build_generator(config)
    discriminator = build_discriminator(config.replace({"norm": "none", "norm_layers": None}))
    image = torch.zeros(1, config.channels, config.resolution, config.resolution)
    return forward_flop(generator, torch.zeros(1, config.latent_dim)), forward_flop(discriminator, image)


def forward_flop(network: nn.Module, inputs: torch.Tensor) -> float:
    """Return the operations of the convolutions and linear layers for one image, called with it.

    torch's FlopCounterMode counts the same, but its first use takes seconds.
    """
    total = 0

    def count(layer: nn.Module, arguments: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        weight = layer.weight
        maps = arguments[0] if isinstance(layer, nn.ConvTranspose2d) else output  # (1, C, H, W) or (1, C)
        total += 2 * weight.numel() * maps[0, 0].numel()  # type: ignore[operator]

    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
    handles = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        network(inputs)
    for handle in handles:
        handle.remove()
    return total
