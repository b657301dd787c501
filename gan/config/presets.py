"""The configs that --preset names."""

import dataclasses

from gan.config.train_config import TrainConfig
from gan.errors import UsageError

# Found by trials of about a minute: docs/results/quickstart.md. The EMA half-life is 5 % of the images seen.
_QUICKSTART = TrainConfig(
    channels=1,
    g_width=16,
    d_width=8,
    steps=1000,
    g_lr=6e-4,
    d_lr=6e-4,
    sample_every=250,
    checkpoint_every=500,
    report_every=1000,
    report_num=2000,
)


_PUBLISHED_DCGAN = TrainConfig(
    preset="msn-dcgan",
    data="cifar10",
    loss="logistic",
    steps=312_800,
    sample_every=1000,
    checkpoint_every=5000,
)


_PUBLISHED_RESNET = TrainConfig(
    preset="sngan-resnet",
    data="cifar10",
    network="resnet",
    norm="sn",
    steps=100_000,
    n_dis=5,
    beta1=0.0,
    beta2=0.9,
    decay="linear",
    sample_every=500,
    checkpoint_every=1000,
)


# Found by trials of a few CPU minutes: docs/results/cifar10.md.
_BEST = dataclasses.replace(
    _PUBLISHED_RESNET,
    preset="best",
    flip=True,
    g_width=32,
    d_width=32,
    steps=20_000,
    batch=16,
    n_dis=1,
    g_lr=5e-4,
    d_lr=5e-4,
    decay="none",
)
# With SN, D falls to chance at 64 pixels, and G learns nothing from it.
_BEST_64 = dataclasses.replace(
    _BEST,
    preset="best-64",
    data="",
    resolution=64,
    norm="none",
    r1=1.0,
    penalty_every=4,
    g_lr=2e-4,
    d_lr=2e-4,
    beta2=0.99,
)


PRESETS: dict[str, TrainConfig] = {
    "quickstart": _QUICKSTART,
    "msn-dcgan": _PUBLISHED_DCGAN,
    "sngan-dcgan": dataclasses.replace(
        _PUBLISHED_DCGAN, preset="sngan-dcgan", network="sngan-cnn", norm="sn", loss="hinge", steps=100_000
    ),
    "sngan-resnet": _PUBLISHED_RESNET,
    "sngan-resnet-stl10": dataclasses.replace(
        _PUBLISHED_RESNET, preset="sngan-resnet-stl10", data="stl10", resolution=48
    ),
    "resnet-64": dataclasses.replace(_PUBLISHED_RESNET, preset="resnet-64", data="", resolution=64),
    "resnet-128": dataclasses.replace(_PUBLISHED_RESNET, preset="resnet-128", data="", resolution=128),
    "sngan-projection": dataclasses.replace(_PUBLISHED_RESNET, preset="sngan-projection", conditional=True),
    "best": _BEST,
    "best-64": _BEST_64,
    "best-128": dataclasses.replace(_BEST_64, preset="best-128", resolution=128, g_width=16, d_width=16),
}


def preset_config(name: str) -> TrainConfig:
    """The config of a preset; a UsageError, which lists all presets, if there is no such preset."""
    if not isinstance(name, str) or name not in PRESETS:
        raise UsageError(f"--preset {name}: choose from {', '.join(PRESETS)}")
    return PRESETS[name]
