"""References to a user's own code: they run only when named, and their errors have file and line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

from gan.config import plugins
from gan.config.choices import AUGMENTATIONS, FEATURES, LOSSES, NETWORKS, NORMS
from gan.config.train_config import TrainConfig
from gan.errors import UsageError, UserError
from gan.metrics.extractor import ExtractorOptions
from gan.metrics.extractors import create_extractor
from gan.models import build_discriminator, build_generator
from gan.models.norms import create_norm


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "f") -> str:
    """A reference, which may run, to a name in a file of this text."""
    Path("own.py").write_text(text)
    reference = f"own.py:{name}"
    plugins.allow([reference])
    return reference


def test_code_runs_only_if_the_user_names_it() -> None:
    Path("unnamed.py").write_text("raise SystemExit('run')")
    with pytest.raises(plugins.CodeNotNamed, match="add --norm unnamed.py:f to the command"):
        plugins.load("unnamed.py:f", "--norm")
    with pytest.raises(plugins.CodeNotNamed, match=r"add --norm 'sn\(gain=2\)\+unnamed.py:f' --loss unnamed.py:g to"):
        TrainConfig(norm="sn(gain=2)+unnamed.py:f", loss="unnamed.py:g").plugin_records()


def test_the_search_path_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)  # as for a script of this folder
    before = list(sys.path)
    plugins.load(write("import sys\nsys.path.clear()\ndef f(layer): return layer\n"), "--norm")
    assert sys.path == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n\ndef f(:\n", "own.py:3: SyntaxError: invalid syntax (--norm own.py:f)"),
        (
            "import nowhere_at_all\n",
            "own.py:1: ModuleNotFoundError: No module named 'nowhere_at_all' (--norm own.py:f)",
        ),
        ("\n1 / 0\n", "own.py:2: ZeroDivisionError: division by zero (--norm own.py:f)"),
        ("import sys\nsys.exit(3)\n", "own.py:2: SystemExit: 3 (--norm own.py:f)"),
        ("x = 1\0\n", "source code string cannot contain null bytes (--norm own.py:f)"),
        ("import os\nLIMIT = 3\ndef g(layer): return layer\n", "own.py has no f; choose from g"),
        ("f = 3\n", "--norm own.py:f: is of type int; a norm is an object with hidden(layer)"),
        ("def f(layer):\n    return layer.wieght\n", "own.py:2: AttributeError: 'Conv2d' object has no attribute"),
        ("import torch\ndef f(layer):\n    return torch.zeros(2) @ torch.zeros(3)\n", "own.py:3: RuntimeError: "),
        ("def f():\n    return 1\n", "takes 0 positional arguments but 1 was given; it is called as function(layer)"),
        ("def f(layer):\n    return 1\n", "returned int for a convolution"),
    ],
)
def test_errors_have_file_and_line(text: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        NORMS.load(write(text))
    assert message in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("f = 1\n", "must have functions discriminator(real, fake)"),
        ("class f:\n    discriminator = generator = staticmethod(lambda r, f: f)\n", "returned a tensor (2,)"),
        ("class f:\n    discriminator = generator = staticmethod(lambda r, f: f.mean())\n", "to the real logits"),
        ("class f:\n    discriminator = generator = staticmethod(lambda r, f: f.detach().mean())\n", "no gradient"),
        ("class f:\n    discriminator = generator = staticmethod(lambda r: r.mean())\n", "1 positional argument but 2"),
    ],
)
def test_a_loss_is_tried(text: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        LOSSES.load(write(text))
    assert "--loss own.py:f: " in str(raised.value) and message in str(raised.value)


NETWORK = """
import torch
from torch import nn

class G(nn.Module):
    def __init__(self, resolution, channels, latent_dim, width, classes):
        super().__init__()
        self.linear, self.side = nn.Linear(latent_dim, channels * resolution**2), resolution
    def forward(self, z, labels=None):
        return self.linear(z).view(len(z), -1, self.side, self.side)

class D(nn.Module):
    def __init__(self, resolution, channels, width, classes, normalize):
        super().__init__()
        self.linear = normalize.hidden(nn.Linear(channels * resolution**2, 1))
    def forward(self, x, labels=None):
        return self.linear(x.flatten(1))[:, 0]

f = (G, D)
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("f = (G, D)", "f = G", "--network own.py:f: must be a pair (generator, discriminator)"),
        ("latent_dim, width, classes)", "latent_dim)", "unexpected keyword argument 'width'"),
        ("self.side, self.side)", "self.side, 7)", "own.py:10: RuntimeError: "),
        ("(len(z), -1, self.side, self.side)", "(len(z), -1)", "the generator returned (2, 3072) for 2 latents"),
        ("(x.flatten(1))[:, 0]", "(x.flatten(1))", "the discriminator returned (2, 1) for 2 images"),
        ("(x.flatten(1))[:, 0]", "(x.flatten(1))[:, 0].detach()", "has no gradient"),
        ("labels=None):\n        return self.linear(x", "labels):\n        return self.linear(x", "missing 1 required"),
        ("normalize.hidden(", "(", "--norm msn has no effect"),
    ],
)
def test_a_network_is_tried(old: str, new: str, message: str) -> None:
    assert old in NETWORK
    config = TrainConfig(network=write(NETWORK.replace(old, new)))
    with pytest.raises(UserError) as raised:
        build_generator(config)
        build_discriminator(config)
    assert message in str(raised.value)


def test_a_network_without_normalize_has_no_norm_of_layers_but_may_have_a_critic() -> None:
    reference = write(NETWORK.replace("normalize.hidden(", "("))
    build_discriminator(TrainConfig(network=reference, norm="gradnorm"))
    with pytest.raises(UsageError, match="so that --norm sn has no effect on layers; use normalize in it"):
        build_discriminator(TrainConfig(network=reference, norm="sn"))
    build_discriminator(TrainConfig(network=write(NETWORK.replace("hidden(", "output(")), norm="sn"))


def test_the_output_layer_of_an_object_under_a_weight_map() -> None:
    text = "from torch import nn\nclass f:\n    def hidden(self, layer): return nn.Sequential(layer, nn.ReLU())\n"
    text += "    def output(self, layer):\n        layer.seen = True\n        return layer\n"
    layer = create_norm(f"sn+{write(text)}").output(nn.Linear(2, 1))
    assert layer.seen and hasattr(layer, "parametrizations")


def test_trying_a_network_does_not_change_it() -> None:
    config = TrainConfig(network=write(NETWORK), norm="bn")
    discriminator = build_discriminator(config)
    assert discriminator.training and all(module.training for module in discriminator.modules())
    assert all(int(value) == 0 for name, value in discriminator.state_dict().items() if "num_batches" in name)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return images.mean((2, 3))", None),
        ("return images.mean((2, 3)), images.mean((2, 3))[:, :2]", None),
        ("return images", "returned features (2, 3, 32, 32) for 2 images"),
        ("return images[0]", "returned features (3, 32, 32)"),
        ("return None", "returned features NoneType"),
        ("return images.flatten(1).repeat(1, 2)", "6,144 features, too many for a covariance"),
        ("return images.nothing()", "own.py:3: AttributeError"),
    ],
)
def test_an_extractor_is_tried(body: str, message: str | None) -> None:
    reference = write(
        f"def f(device):\n    def features(images):\n        images = images.float(); {body}\n    return features\n"
    )
    if message is None:
        extractor = create_extractor(ExtractorOptions(features=reference))
        assert (extractor.name, extractor.dimension) == (reference, 3)
        assert extractor.classes == (2 if ")," in body else 0)
        assert extractor.hash == plugins.record([reference], "--features")[reference]["sha256"]
        return
    with pytest.raises(UserError) as raised:
        create_extractor(ExtractorOptions(features=reference))
    assert message in str(raised.value)


@pytest.mark.parametrize(("attribute", "pools"), [("", False), ("f.pools = True", True)])
def test_a_joined_norm_pools_only_if_both_parts_do(attribute: str, pools: bool) -> None:
    reference = write(f"def f(layer): return layer\n{attribute}\n")
    assert NORMS.load(reference).pools is NORMS.load(f"{reference}+mean").pools is pools
    assert NORMS.load(f"{reference}+bn").pools is False


def test_instance_norm_under_a_critic_after_a_weight_map_of_ones_own() -> None:
    reference = write("def f(layer): return layer\n")
    own, built_in = NORMS.load(f"{reference}+in+gradnorm"), NORMS.load("wn+in+gradnorm")
    assert own.feature_norm is built_in.feature_norm is not NORMS.load("in").feature_norm
    assert own.critic is built_in.critic


def test_the_hash_of_weights_is_part_of_an_extractor() -> None:
    text = (
        "class f:\n    sha256 = {!r}\n    def __init__(self, device): pass\n"
        "    def __call__(self, x): return x.float().mean((2, 3))\n"
    )
    hashes = []
    for weights in ("a", "b"):
        hashes.append(create_extractor(ExtractorOptions(features=write(text.format(weights)))).hash)
    assert hashes[0] != hashes[1]


def test_a_changed_source_is_refused_with_both_hashes() -> None:
    reference = write("def f(layer): return layer\n")
    before = plugins.record([reference], "--norm")
    plugins.require_unchanged(before, plugins.record([reference], "--norm"), "RUN r")
    write("def f(layer): return layer  # edited\n")
    now = plugins.record([reference], "--norm")
    with pytest.raises(UserError) as raised:
        plugins.require_unchanged(before, now, "RUN r")
    for record in (before, now):
        assert record[reference]["sha256"][:12] in str(raised.value)
    with pytest.raises(UserError, match="RUN r: its record of your own code is damaged"):
        plugins.require_unchanged({reference: 3}, now, "RUN r")


def test_spellings_of_a_path_are_one_reference() -> None:
    assert TrainConfig(norm="./a/../own.py:f").norm == "own.py:f"
    assert TrainConfig(features="./own.py:f").features == "own.py:f"


GROUPS = {"norms": NORMS, "losses": LOSSES, "networks": NETWORKS, "features": FEATURES, "augmentations": AUGMENTATIONS}


def installed(*lines: str) -> None:
    """A package `fake_package` with entry points, as if it were installed in this folder."""
    folder = Path("site/fake_package-1.2.dist-info")
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-package\nVersion: 1.2\n")
    (folder / "top_level.txt").write_text("fake_package\n")
    (folder / "entry_points.txt").write_text("\n".join(lines))


def python(code: str) -> str:
    prelude = "import sys; sys.path.insert(0, 'site')\n"
    result = subprocess.run([sys.executable, "-c", prelude + code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_installed_packages_offer_names() -> None:
    installed(*(f"[msn_gan.{group}]\ntheirs-{group} = fake_package:f\n" for group in GROUPS))
    Path("site/fake_package.py").write_text("def f(layer): return layer\n")
    shown = python("from gan.cli import main\nmain(['train', '--help'], prog_name='msn-gan')")
    assert all(f"theirs-{group}" in "".join(shown.split()) for group in GROUPS)
    stored = python(
        "from gan.config.base import user_values\nfrom gan.config.train_config import TrainConfig\n"
        "values = user_values(TrainConfig, {'norm': 'theirs-norms'})\nconfig = TrainConfig().replace(values)\n"
        "print(config.norm, config.plugin_records())"
    )
    assert stored.startswith("fake_package:f {'fake_package:f': {'sha256': '") and "'version': '1.2'" in stored


def test_a_broken_package_breaks_nothing() -> None:
    installed("[msn_gan.norms]\nbroken = fake_package:f\nodd,name = fake_package:f\nmodule = fake_package\n")
    Path("site/fake_package.py").write_text("raise RuntimeError('broken')\n")
    shown = python("from gan.cli import main\nmain(['train', '--help'], prog_name='msn-gan')")
    assert "broken" in shown and "odd,name" not in shown
    assert "msn" in python(
        "from gan.config.train_config import TrainConfig\nprint(TrainConfig().plugin_records(), 'msn')"
    )
    told = python(
        "from gan.config import plugins\nfrom gan.config.choices import NORMS\n"
        "plugins.allow(NORMS.references('broken'))\n"
        "try: NORMS.load('broken')\nexcept plugins.PluginError as error: print(error)"
    )
    assert "fake_package.py:1: RuntimeError: broken (--norm fake_package:f)" in told
