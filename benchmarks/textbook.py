"""The recipes as plain PyTorch, in the style of torch's tutorials: the baseline of the benchmarks.

Eager, fp32, NCHW; torch's own spectral norm, which iterates in every forward pass of training; `DataLoader` whose
workers decode and transform image by image; separate forward passes of G for D's update and its own; torch's Adam with
its defaults, and the EMA as a plain loop. From the same weights, images and latents (`copy_weights`, `BatchOrder`,
`latents_of`), its losses are those of `gan.training.trainer`: `tests/benchmarks/test_textbook.py`.

Torch's spectral norm updates u and v three times in a step with one D update, ours once. Where Adam changes small
weights fast, as in the DCGAN's first steps, this affects the losses; with equal numbers of iterations they agree.

D is frozen in G's update, as in BigGAN's code; torch's DCGAN tutorial does not freeze it and computes unused gradients
of D (`frozen=False`).
"""

from __future__ import annotations

import copy
import itertools
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from textbook_networks import NORMS, dcgan_discriminator, dcgan_generator, resnet_discriminator, resnet_generator
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision import transforms

from gan.config.base import flag_name
from gan.config.train_config import TrainConfig
from gan.data.batches import Batches
from gan.errors import UsageError, UserError
from gan.norm import spectral_norms
from gan.utils.random_streams import LATENTS, random_stream

ENDINGS = (".jpg", ".jpeg", ".png")
RESOLUTION = 32
# Config fields that the textbook supports only with the values of the two published recipes.
FIXED = {
    "resolution": RESOLUTION,
    "channels": 3,
    "conditional": False,
    "flip": False,
    "augment": (),
    "norm_layers": None,
    "freeze_d": 0,
    "r1": 0.0,
    "r2": 0.0,
    "gradient_penalty": 0.0,
    "accumulate": 1,
    "d_batch": "separate",
    "schedule_images": None,
}

TO_TENSOR = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))])


class ZipImages(Dataset[Tensor]):
    """Images of a zip, sorted by name, decoded on access: float32 (3, 32, 32) in [-1, 1].

    Raises:
        UserError: the zip cannot be read, contains no images, or images of another size.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.archive: zipfile.ZipFile | None = None  # each worker opens its own
        try:
            with zipfile.ZipFile(path) as archive:
                self.names = sorted(name for name in archive.namelist() if name.lower().endswith(ENDINGS))
        except (OSError, zipfile.BadZipFile) as error:
            raise UserError(f"--data {path}: cannot be read as a zip ({error}); give a zip of images") from error
        if not self.names:
            raise UserError(f"--data {path}: contains no {', '.join(ENDINGS)} images; give a zip of them")
        if (shape := tuple(self[0].shape)) != (3, RESOLUTION, RESOLUTION):
            raise UserError(
                f"--data {path}: {self.names[0]} has {shape[2]}x{shape[1]} pixels; "
                f"pack the images with: msn-gan data pack {path} OUT.zip --resolution {RESOLUTION}"
            )
        self.archive = None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Tensor:
        if self.archive is None:
            self.archive = zipfile.ZipFile(self.path)
        with self.archive.open(self.names[index]) as file:
            return TO_TENSOR(Image.open(file).convert("RGB"))


class TensorImages(Dataset[Tensor]):
    """Images in memory, uint8 (N, 3, R, R), as float32 (3, R, R) in [-1, 1]."""

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Tensor:
        return TO_TENSOR(self.pixels[index].permute(1, 2, 0).numpy())  # (C, H, W) -> (H, W, C)


def logistic_d(real: Tensor, fake: Tensor) -> Tensor:
    """Binary cross entropy with real as 1 and fake as 0."""
    return F.binary_cross_entropy_with_logits(real, torch.ones_like(real)) + F.binary_cross_entropy_with_logits(
        fake, torch.zeros_like(fake)
    )


def logistic_g(fake: Tensor) -> Tensor:
    """Binary cross entropy with fake as 1."""
    return F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))


def hinge_d(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss, Miyato et al. 2018, equation 16."""
    return F.relu(1.0 - real).mean() + F.relu(1.0 + fake).mean()


def hinge_g(fake: Tensor) -> Tensor:
    """Hinge loss of the generator, Miyato et al. 2018, equation 17."""
    return -fake.mean()


LOSSES = {"logistic": (logistic_d, logistic_g), "hinge": (hinge_d, hinge_g)}


class Textbook:
    """A training run of a recipe.

    Args:
        config: config of the recipe, as for `gan.training.trainer.Trainer`.
        device: cpu or cuda.
        images: real images.
        workers: loader processes; 0 loads in this process.
        order: batches of image indices; None shuffles every epoch.
        latents: (step, turn) -> (batch, latent_dim); None draws them on the device.
        frozen: compute no gradients of D's weights in G's update.

    Raises:
        UsageError: config values that the textbook does not support, all in one message; or fewer images than a batch.
    """

    def __init__(
        self,
        config: TrainConfig,
        device: torch.device,
        images: ZipImages | TensorImages,
        *,
        workers: int = 0,
        order: Sampler[list[int]] | None = None,
        latents: Callable[[int, int], Tensor] | None = None,
        frozen: bool = True,
    ) -> None:
        check(config)
        if len(images) < config.batch:
            raise UsageError(f"--batch {config.batch}: there are only {len(images)} images; choose that many or fewer")
        self.config, self.device, self.frozen, self.step = config, device, frozen, 0
        self.generator, self.discriminator = (network.to(device) for network in build(config))
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        betas = (config.beta1, config.beta2)
        self.g_optimizer = torch.optim.Adam(self.generator.parameters(), lr=config.g_lr, betas=betas)
        self.d_optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=config.d_lr, betas=betas)
        self.schedules = [
            torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate_factor)
            for optimizer in (self.g_optimizer, self.d_optimizer)
        ]
        self.d_loss, self.g_loss = LOSSES[config.loss]
        self.latents = latents or (lambda step, turn: torch.randn(config.batch, config.latent_dim, device=device))
        shuffled = {"batch_size": config.batch, "shuffle": True, "drop_last": True}
        self.loader: DataLoader[Tensor] = DataLoader(
            images,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
            **({"batch_sampler": order} if order else shuffled),
        )
        self.batches = self._endless_batches()

    def train_step(self) -> tuple[Tensor, Tensor]:
        """Update D `n_dis` times and G once; returns D's mean loss and G's loss, scalars on the device."""
        losses = []
        for turn in range(self.config.n_dis):
            real = next(self.batches).to(self.device, non_blocking=True)
            z = self.latents(self.step, turn).to(self.device)
            with torch.no_grad():
                fake = self.generator(z)
            self.d_optimizer.zero_grad()
            loss = self.d_loss(self.discriminator(real), self.discriminator(fake))
            loss.backward()
            self.d_optimizer.step()
            losses.append(loss.detach())

        if self.config.n_dis > 1:  # the DCGAN reuses D's latents, Miyato et al. draw new ones
            z = self.latents(self.step, self.config.n_dis).to(self.device)
        if self.frozen:
            self.discriminator.requires_grad_(False)
        self.g_optimizer.zero_grad()
        loss = self.g_loss(self.discriminator(self.generator(z)))
        loss.backward()
        self.g_optimizer.step()
        self.discriminator.requires_grad_(True)

        for schedule in self.schedules:
            schedule.step()
        self.step += 1
        self._update_average()
        return torch.stack(losses).mean(), loss.detach()

    @torch.no_grad()
    def _update_average(self) -> None:
        """Update the EMA of G, with the same half-life in images as `gan.training.ema`."""
        config = self.config
        images = config.n_dis * config.batch
        half_life = min(config.ema_half_life, config.ema_rampup * self.step * images)
        decay = 0.5 ** (images / half_life) if half_life > 0 else 0.0
        for average, value in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            average.lerp_(value, 1 - decay)
        for average, value in zip(self.average.buffers(), self.generator.buffers(), strict=True):
            average.copy_(value)

    def _rate_factor(self, step: int) -> float:
        return 1 - step / self.config.steps if self.config.decay == "linear" else 1.0

    def _endless_batches(self) -> Iterator[Tensor]:
        while True:
            yield from self.loader


def check(config: TrainConfig) -> None:
    """Check that the textbook supports a config.

    Raises:
        UsageError: names all unsupported values.
    """
    choices = {"network": ("dcgan", "resnet"), "norm": NORMS, "loss": tuple(LOSSES)}
    choices |= {name: (value,) for name, value in FIXED.items()}
    problems = [
        f"{flag_name(name)} {getattr(config, name)}: the textbook supports only {', '.join(map(str, allowed))}"
        for name, allowed in choices.items()
        if getattr(config, name) not in allowed
    ]
    if config.g_fakes != "auto" and config.reuses_fakes() != (config.n_dis == 1):
        problems.append(f"--g-fakes {config.g_fakes}: the textbook reuses latents with --n-dis 1, and only then")
    if problems:
        raise UsageError("\n".join(problems))


def build(config: TrainConfig) -> tuple[nn.Module, nn.Module]:
    """Build the generator and discriminator of a recipe with random weights."""
    widths = [{} if width is None else {"width": width} for width in (config.g_width, config.d_width)]
    if config.network == "dcgan":
        return dcgan_generator(config.latent_dim, **widths[0]), dcgan_discriminator(config.norm, **widths[1])
    return resnet_generator(config.latent_dim, **widths[0]), resnet_discriminator(config.norm, **widths[1])


@torch.no_grad()
def copy_weights(network: nn.Module, ours: nn.Module) -> None:
    """Copy weights, and the vectors u and v of SN, from this program's network of the same recipe to the textbook's.

    Raises:
        ValueError: the networks are of different recipes.
    """
    weights, sources = list(network.parameters()), list(ours.parameters())
    if [weight.shape for weight in weights] != [weight.shape for weight in sources]:
        raise ValueError("the networks differ in the shapes or the order of their weights")
    for weight, source in zip(weights, sources, strict=True):
        weight.copy_(source)
    norms = [module for module in network.modules() if hasattr(module, "_u") and hasattr(module, "_v")]
    for norm, (_, source, _) in zip(norms, spectral_norms(ours), strict=True):
        norm._u.copy_(source.u)
        norm._v.copy_(source.v)


class BatchOrder(Sampler[list[int]]):
    """Endless batches of image indices, in the order of one of this program's runs."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[list[int]]:
        for index in itertools.count():
            yield self.batches.samples(index).indices.tolist()


def latents_of(config: TrainConfig) -> Callable[[int, int], Tensor]:
    """Return the latents of one of this program's runs as a function of step and turn."""

    def draw(step: int, turn: int) -> Tensor:
        stream = random_stream(config.seed, LATENTS, step, turn)
        return torch.randn(config.batch, config.latent_dim, generator=stream)

    return draw
