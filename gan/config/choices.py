"""Names that flags and config fields accept, without the code behind them, which imports torch.

The comments say where that code is; `tests/config/test_choices.py` checks that the tables there have the same names.
"""

NETWORKS = ("dcgan", "sngan-cnn", "resnet")  # gan.models: GENERATORS, DISCRIMINATORS
RESOLUTIONS = (32, 48, 64, 128)  # gan.models: BOTTOM of dcgan, SHAPES of resnet
CLASSIFIERS = ("cnn3", "vgg7", "densenet-bc", "resnet18")  # gan.models.classifiers: CLASSIFIERS
NORMS = ("none", "bn", "ln", "in", "wn", "mean", "sn", "msn", "msn-affine")  # gan.norm: NORMS
LOSSES = ("hinge", "logistic", "wgan", "lsgan", "relativistic")  # gan.nn.losses: LOSSES
AUGMENTATIONS = ("color", "translation", "cutout")  # gan.nn.diff_augment: AUGMENTATIONS
EXPORT_FORMATS = ("onnx", "safetensors", "torch-export")  # gan.export.formats: FORMATS
DEVICES = ("auto", "cpu", "cuda", "mps")  # gan.runtime: resolve_device
PRECISIONS = ("auto", "fp32", "bf16")  # gan.runtime: resolve_runtime
