"""Names that flags and config fields accept, without the code behind them, which imports torch.

`tests/config/test_choices.py` checks that the tables in the code have the same names.
"""

from gan.config.norm_spec import NormRegistry
from gan.config.registry import FeatureRegistry, Registry

NETWORKS = Registry(
    "--network",
    ("dcgan", "sngan-cnn", "resnet", "r3gan"),
    table="gan.models:NETWORKS",
    group="msn_gan.networks",
    adapt="gan.models:own_network",
)
RESOLUTIONS = {  # gan.models: BOTTOM of dcgan, SHAPES of resnet, WIDTHS of r3gan
    "dcgan": (32, 48, 64, 128),
    "sngan-cnn": (32, 48, 64, 128),
    "resnet": (32, 48, 64, 128, 256),
    "r3gan": (32, 64, 128, 256),
}
CLASSIFIERS = ("cnn3", "vgg7", "densenet-bc", "resnet18", "resnet20")  # gan.models.classifiers: CLASSIFIERS
NORMS = NormRegistry("--norm")
LOSSES = Registry(
    "--loss",
    ("hinge", "logistic", "wgan", "lsgan", "relativistic"),
    table="gan.nn.losses:LOSSES",
    group="msn_gan.losses",
    adapt="gan.nn.losses:own_loss",
)
AUGMENTATIONS = Registry(
    "--augment",
    ("color", "translation", "cutout", "ada", "ada-r3gan"),
    table="gan.nn.diff_augment:AUGMENTATIONS",
    group="msn_gan.augmentations",
    adapt="gan.nn.diff_augment:own_augmentation",
)
FEATURES = FeatureRegistry(
    "--features",
    ("inception", "digits", "classifier", "dinov2", "dinov2:s", "dinov2:b", "dinov2:g", "clip"),
    table="gan.metrics.extractors:EXTRACTORS",
    group="msn_gan.features",
    adapt="gan.metrics.own_extractor:own_extractor",
)
METRICS = ("fid", "is", "kid", "pr", "fid-infinity", "copies")  # gan.metrics.score_table: METRICS
EXPORT_FORMATS = ("onnx", "safetensors", "torch-export")  # gan.export.formats: FORMATS
DEVICES = ("auto", "cpu", "cuda", "mps")  # gan.runtime: resolve_device
PRECISIONS = ("auto", "fp32", "bf16")  # gan.runtime: resolve_runtime
