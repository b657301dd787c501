"""The textbook against this program: the same losses from the same weights, images and latents."""

from __future__ import annotations

import itertools
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from textbook import BatchOrder, TensorImages, Textbook, ZipImages, copy_weights, latents_of
from textbook_networks import NORMS, MeanNorm
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from gan.config.presets import preset_config
from gan.config.train_config import TrainConfig
from gan.data.image_set import ImageSet
from gan.data.loading import load_images
from gan.errors import UsageError, UserError
from gan.models import build_discriminator
from gan.norm import Centering, power_iterate
from gan.runtime import Runtime
from gan.training.trainer import Trainer

MakeImages = Callable[..., ImageSet]
STEPS = 20
RECIPES = ("msn-dcgan", "sngan-resnet")


def narrow(recipe: str, norm: str, **changes: object) -> TrainConfig:
    """A published recipe with very narrow networks."""
    small = {"g_width": 4, "d_width": 4, "latent_dim": 8, "batch": 8, "norm": norm, "precision": "fp32"}
    return preset_config(recipe).replace({**small, "n_dis": min(preset_config(recipe).n_dis, 2), **changes})


@torch.no_grad()
def strengthen(job: Trainer) -> None:
    """Scale the weights of a narrow new run so that signals have the published size, and let σ converge.

    Convolutions with N(0, 0.02) weights and few channels pass hardly anything on, and the losses would not move. Under
    SN, large raw weights turn less in a step of Adam: so it does not show that ours moves u and v once in an update
    of D, and torch's at every forward pass.
    """
    for network in (job.generator, job.discriminator):
        for weight in network.parameters():
            spectral = network is job.discriminator and job.config.norm in ("sn", "msn")
            if weight.dim() == 4 and (job.config.network == "dcgan" or spectral):
                weight *= 10
    power_iterate(job.discriminator, 200)


def follower(job: Trainer, images: ZipImages | TensorImages | None = None, **options: bool | int) -> Textbook:
    """The textbook with the initial weights, images and latents of a run of this program."""
    if images is None:
        assert job.data.pixels is not None
        images = TensorImages(job.data.pixels)
    order, latents = BatchOrder(job.inputs.batches), latents_of(job.config)
    textbook = Textbook(job.config, job.runtime.device, images, order=order, latents=latents, **options)
    copy_weights(textbook.generator, job.generator)
    copy_weights(textbook.discriminator, job.discriminator)
    copy_weights(textbook.average, job.ema.network)
    return textbook


def losses_of(job: Trainer, steps: int) -> Tensor:
    """D's and G's loss in each step of this program, (steps, 2)."""
    losses = []
    for _ in range(steps):
        job.train_step()
        entry = job.log_entry()
        losses.append([entry["loss_d"], entry["loss_g"]])
    return torch.tensor(losses)


def losses_of_textbook(textbook: Textbook, steps: int) -> Tensor:
    return torch.stack([torch.stack(textbook.train_step()) for _ in range(steps)])


@torch.no_grad()
def behaviour(generator: nn.Module, discriminator: nn.Module, images: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs of G and D in training mode."""
    return generator(z), discriminator(images)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_first_losses_are_ours(image_set: MakeImages, runtime: Runtime, recipe: str, norm: str) -> None:
    job = Trainer(narrow(recipe, norm), runtime, image_set())
    strengthen(job)
    textbook = follower(job)
    seen = job.inputs.batches.at(0).images, torch.randn(32, 8, generator=torch.Generator().manual_seed(1))
    start = behaviour(job.generator, job.discriminator, *seen)
    torch.testing.assert_close(
        behaviour(textbook.generator, textbook.discriminator, *seen), start, rtol=1e-5, atol=1e-4
    )

    ours, theirs = losses_of(job, STEPS), losses_of_textbook(textbook, STEPS)
    torch.testing.assert_close(theirs, ours, rtol=1e-3, atol=1e-3)

    # Losses near log 2 say little: what G and D have learned is the same too.
    mine = behaviour(job.generator, job.discriminator, *seen)
    other = behaviour(textbook.generator, textbook.discriminator, *seen)
    for a, b, before in zip(mine, other, start, strict=True):
        assert (a - b).norm() < 0.2 * (a - before).norm()


def iterate_as_ours(textbook: Textbook) -> None:
    """Update u and v of torch's spectral norms once per update of D, v first, in its first forward pass."""
    layers = [layer.parametrizations.weight for layer in textbook.discriminator.modules() if is_parametrized(layer)]
    for weight in layers:
        weight[0].n_power_iterations = 0
    passes = itertools.cycle([True, False] * textbook.config.n_dis + [False])  # real, fake, ..., and G's own

    @torch.no_grad()
    def before(*_: object) -> None:
        if next(passes):
            for weight in layers:
                matrix, norm = weight.original.flatten(1), weight[0]
                norm._v.copy_(F.normalize(matrix.T @ norm._u, dim=0))
                norm._u.copy_(F.normalize(matrix @ norm._v, dim=0))

    textbook.discriminator.register_forward_pre_hook(before)


def test_sn_differs_in_its_iterations_alone(image_set: MakeImages, runtime: Runtime) -> None:
    """With the recipe's small weights, which Adam changes fast, the number of iterations affects the losses."""
    job = Trainer(narrow("msn-dcgan", "sn"), runtime, image_set())
    textbook, aligned = follower(job), follower(job)
    iterate_as_ours(aligned)
    ours, theirs, same = losses_of(job, 12), losses_of_textbook(textbook, 12), losses_of_textbook(aligned, 12)
    torch.testing.assert_close(same, ours, rtol=0, atol=1e-3)
    assert (theirs - ours).abs().max() > 3e-3


@pytest.mark.parametrize("recipe", RECIPES)
def test_updates_and_moving_average_are_ours(image_set: MakeImages, runtime: Runtime, recipe: str) -> None:
    """All weights agree over a few steps, with a learning rate that decays to zero."""
    job = Trainer(narrow(recipe, "mean", decay="linear", steps=4, ema_rampup=1.0), runtime, image_set())
    strengthen(job)
    textbook = follower(job)
    before = [weight.clone() for weight in job.generator.parameters()]
    for _ in range(4):
        job.train_step()
        textbook.train_step()
    pairs = (
        (textbook.generator, job.generator),
        (textbook.average, job.ema.network),
        (textbook.discriminator, job.discriminator),
    )
    for theirs, ours in pairs:
        for mine, other in zip(theirs.parameters(), ours.parameters(), strict=True):
            if mine.dim() > 1:  # biases before a batch norm have no gradient but noise, which Adam makes a step of
                torch.testing.assert_close(mine, other, rtol=0, atol=1e-5)
    for average, weight, first in zip(
        textbook.average.parameters(), textbook.generator.parameters(), before, strict=True
    ):
        assert not torch.equal(average, weight) and not torch.equal(average, first)


def test_a_d_left_free_has_the_same_losses(image_set: MakeImages, runtime: Runtime) -> None:
    job = Trainer(narrow("msn-dcgan", "msn"), runtime, image_set())
    frozen, free = follower(job), follower(job, frozen=False)
    torch.testing.assert_close(losses_of_textbook(free, 5), losses_of_textbook(frozen, 5), rtol=0, atol=1e-6)
    # D's own gradients are still there after G's update, or G's are added to them.
    ours, theirs = (next(textbook.discriminator.parameters()) for textbook in (frozen, free))
    assert ours.requires_grad and not torch.allclose(ours.grad, theirs.grad)


@pytest.mark.parametrize("training", [True, False])
def test_mean_norm_is_centering(training: bool) -> None:
    ours, theirs = Centering(5), MeanNorm(5)
    with torch.no_grad():
        theirs.m.copy_(ours.bias.normal_())
    for _ in range(3):
        x = torch.randn(4, 5, 6, 6) + 3
        torch.testing.assert_close(theirs(x), ours(x))
    torch.testing.assert_close(theirs.running_mean, ours.running_mean)
    assert theirs.running_mean.abs().min() > 0.5
    torch.testing.assert_close(theirs.train(training)(x), ours.train(training)(x))


@pytest.mark.parametrize("recipe", RECIPES)
def test_it_begins_as_the_recipe_says(recipe: str) -> None:
    """Its own initial weights have the distributions of the recipe."""
    config = preset_config(recipe).replace({"norm": "sn", "batch": 1})
    textbook = Textbook(config, torch.device("cpu"), TensorImages(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)))
    job = Trainer(config, Runtime(torch.device("cpu"), bf16=False), ImageSet.of(torch.zeros(1, 3, 32, 32).byte()))
    for theirs, ours in ((textbook.generator, job.generator), (textbook.discriminator, job.discriminator)):
        for mine, other in zip(theirs.parameters(), ours.parameters(), strict=True):
            assert mine.shape == other.shape
            if other.numel() > 1000:
                assert mine.std().item() == pytest.approx(other.std().item(), rel=0.1)
            if not other.any():
                assert not mine.any()


@pytest.fixture
def jpegs(tmp_path: Path) -> Path:
    """A zip of 24 JPEGs in three folders, out of order."""
    rng = np.random.default_rng(0)
    path = tmp_path / "jpegs.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for index in reversed(range(24)):
            with archive.open(f"{'abc'[index % 3]}/{index:02d}.jpg", "w") as file:
                Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(file, "JPEG")
        archive.writestr("notes.txt", "no image")
    return path


@pytest.mark.parametrize("workers", [0, 1])
def test_images_of_a_zip_come_in_our_order(jpegs: Path, runtime: Runtime, workers: int) -> None:
    data = load_images(str(jpegs), resolution=32, channels=3)
    job = Trainer(narrow("msn-dcgan", "msn"), runtime, data)
    textbook = follower(job, ZipImages(jpegs), workers=workers)
    for number, batch in enumerate(itertools.islice(textbook.batches, 5)):  # more than an epoch
        torch.testing.assert_close(batch, job.inputs.batches.at(number).images, rtol=0, atol=1e-6)


def test_shuffled_epochs_without_end(jpegs: Path) -> None:
    images = ZipImages(jpegs)
    textbook = Textbook(narrow("msn-dcgan", "msn"), torch.device("cpu"), images)
    epochs = [torch.cat(list(itertools.islice(textbook.batches, 3))).sum((1, 2, 3)) for _ in range(2)]
    assert not torch.equal(*epochs)
    torch.testing.assert_close(*(epoch.sort().values for epoch in epochs))
    loss_d, loss_g = textbook.train_step()
    assert loss_d.isfinite() and loss_g.isfinite()


def zip_of(path: Path, name: str, size: tuple[int, int]) -> Path:
    with zipfile.ZipFile(path, "w") as archive, archive.open(name, "w") as file:
        Image.new("RGB", size).save(file, "PNG")
    return path


def test_bad_zips(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--data .*none\.zip: cannot be read as a zip .*No such file.*give a zip"):
        ZipImages(tmp_path / "none.zip")
    (tmp_path / "text.zip").write_text("text")
    with pytest.raises(UserError, match=r"--data .*text\.zip: cannot be read as a zip .*give a zip"):
        ZipImages(tmp_path / "text.zip")
    with pytest.raises(UserError, match=r"empty\.zip: contains no \.jpg, \.jpeg, \.png images; give a zip of them"):
        ZipImages(zip_of(tmp_path / "empty.zip", "image.data", (32, 32)))
    with pytest.raises(
        UserError, match=r"large\.zip: a\.png has 48x40 pixels; pack the images with: .* --resolution 32"
    ):
        ZipImages(zip_of(tmp_path / "large.zip", "a.png", (48, 40)))


def test_other_settings_are_refused(image_set: MakeImages) -> None:
    images = TensorImages(torch.zeros(4, 3, 32, 32, dtype=torch.uint8))
    config = narrow("msn-dcgan", "ln", loss="wgan", gradient_penalty=10.0, flip=True)
    with pytest.raises(UsageError) as error:
        Textbook(config, torch.device("cpu"), images)
    assert str(error.value).splitlines() == [
        "--norm ln: the textbook supports only none, bn, mean, sn, msn",
        "--loss wgan: the textbook supports only logistic, hinge",
        "--flip True: the textbook supports only False",
        "--gradient-penalty 10.0: the textbook supports only 0.0",
    ]
    rate = {"g_lr_end": 1e-5, "schedule_images": 100}
    others = narrow("msn-dcgan", "sn", augment=("color",), augment_p=0.5, freeze_d=1, g_fakes="new", **rate)
    with pytest.raises(UsageError) as error:
        Textbook(others, torch.device("cpu"), images)
    named = [line.split(":")[0] for line in str(error.value).splitlines()]
    assert named == ["--augment ('color',)", "--freeze-d 1", "--schedule-images 100", "--g-fakes new"]
    with pytest.raises(UsageError, match="--batch 8: there are only 4 images; choose that many or fewer"):
        Textbook(narrow("msn-dcgan", "msn"), torch.device("cpu"), images)


def test_weights_of_another_network_are_refused(image_set: MakeImages) -> None:
    textbook = Textbook(narrow("msn-dcgan", "msn"), torch.device("cpu"), TensorImages(image_set().pixels))
    with pytest.raises(ValueError, match="shapes or the order"):
        copy_weights(textbook.discriminator, build_discriminator(narrow("msn-dcgan", "bn")))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("recipe", RECIPES)
def test_it_trains_on_cuda(jpegs: Path, recipe: str) -> None:
    textbook = Textbook(narrow(recipe, "msn"), torch.device("cuda"), ZipImages(jpegs), workers=1)
    losses = losses_of_textbook(textbook, 3)
    assert losses.device.type == "cuda" and losses.isfinite().all()
