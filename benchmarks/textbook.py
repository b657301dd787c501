"""The recipes written the ordinary way: what a user would write today from torch's tutorials, to compare ours with.

Eager, fp32, NCHW; torch's own spectral norm, which iterates at every forward pass in training; `DataLoader` with
workers that decode and transform image by image; a forward pass of G for D's update and one for G's own; torch's Adam
as it comes, and the moving average as a plain loop. From the same weights, images and latents, which `take_over`,
`OrderOf` and `latents_of` hand to it, it trains to the losses of `gan.training.trainer`:
`tests/benchmarks/test_textbook.py`.

Torch's spectral norm moves u and v three times in a step of one D update, ours once. Where Adam turns small weights
fast, as in the DCGAN's first steps, that can be seen in the losses; with as many iterations they are the same.

D is frozen while G learns, as in BigGAN's code; torch's DCGAN tutorial leaves it free, and computes gradients of D that
nobody uses (`frozen=False`).
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

from gan.config.train_config import TrainConfig
from gan.data import Batches
from gan.errors import UsageError, UserError
from gan.norm import spectral_norms
from gan.utils.random_streams import LATENTS, random_stream

ENDINGS = (".jpg", ".jpeg", ".png")
RESOLUTION = 32
# What the textbook has not: settings that must be as the two published recipes have them.
FIXED = {
    "resolution": RESOLUTION,
    "channels": 3,
    "conditional": False,
    "flip": False,
    "norm_layers": None,
    "r1": 0.0,
    "r2": 0.0,
    "gradient_penalty": 0.0,
    "accumulate": 1,
    "d_batch": "separate",
}

TO_TENSOR = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))])


class ZipImages(Dataset[Tensor]):
    """The images of a zip, sorted by name, decoded whenever they are asked for: float32 (3, 32, 32) in [-1, 1].

    Raises:
        UserError: no such zip, no images in it, or images of another size.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.archive: zipfile.ZipFile | None = None  # each worker opens its own
        try:
            with zipfile.ZipFile(path) as archive:
                self.names = sorted(name for name in archive.namelist() if name.lower().endswith(ENDINGS))
        except (OSError, zipfile.BadZipFile) as error:
            raise UserError(f"--data {path}: is not a zip that can be read ({error}); give a zip of images") from error
        if not self.names:
            raise UserError(f"--data {path}: holds no {', '.join(ENDINGS)} images; give a zip of them")
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
    """Images that lie in memory, uint8 (N, 3, R, R), as float32 (3, R, R) in [-1, 1]."""

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Tensor:
        return TO_TENSOR(self.pixels[index].permute(1, 2, 0).numpy())  # (C, H, W) -> (H, W, C)


def logistic_d(real: Tensor, fake: Tensor) -> Tensor:
    """Binary cross entropy of real as 1 and fake as 0."""
    return F.binary_cross_entropy_with_logits(real, torch.ones_like(real)) + F.binary_cross_entropy_with_logits(
        fake, torch.zeros_like(fake)
    )


def logistic_g(fake: Tensor) -> Tensor:
    """Binary cross entropy of fake as 1."""
    return F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))


def hinge_d(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss, Miyato et al. 2018, equation 16."""
    return F.relu(1.0 - real).mean() + F.relu(1.0 + fake).mean()


def hinge_g(fake: Tensor) -> Tensor:
    """The same, equation 17."""
    return -fake.mean()


LOSSES = {"logistic": (logistic_d, logistic_g), "hinge": (hinge_d, hinge_g)}


class Textbook:
    """A run of a recipe.

    Args:
        config: the settings of the recipe, as `gan.training.trainer.Trainer` takes them.
        device: cpu or cuda.
        images: what D learns to tell.
        workers: processes that load images; 0 loads them in this one.
        order: batches of image numbers; None shuffles every epoch.
        latents: (step, turn) -> (batch, latent_dim); None draws them on the device.
        frozen: whether G's update computes no gradients of D's weights.

    Raises:
        UsageError: settings that the textbook has not, all of them in one message; or fewer images than a batch has.
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
            torch.optim.lr_scheduler.LambdaLR(optimizer, self._share)
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
        self.batches = self._endless()

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

        if self.config.n_dis > 1:  # DCGAN shows D's latents to G again, Miyato et al. draw new ones
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
        """The moving average of G; its half-life in images is that of `gan.training.ema`."""
        config = self.config
        images = config.n_dis * config.batch
        half_life = min(config.ema_half_life, config.ema_rampup * self.step * images)
        decay = 0.5 ** (images / half_life) if half_life > 0 else 0.0
        for average, value in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            average.lerp_(value, 1 - decay)
        for average, value in zip(self.average.buffers(), self.generator.buffers(), strict=True):
            average.copy_(value)

    def _share(self, step: int) -> float:
        return 1 - step / self.config.steps if self.config.decay == "linear" else 1.0

    def _endless(self) -> Iterator[Tensor]:
        while True:
            yield from self.loader


def check(config: TrainConfig) -> None:
    """Refuse settings that the textbook has not.

    Raises:
        UsageError: names all of them.
    """
    choices = {"network": ("dcgan", "resnet"), "norm": NORMS, "loss": tuple(LOSSES)}
    choices |= {name: (value,) for name, value in FIXED.items()}
    wrong = [
        f"--{name.replace('_', '-')} {getattr(config, name)}: the textbook has only {', '.join(map(str, allowed))}"
        for name, allowed in choices.items()
        if getattr(config, name) not in allowed
    ]
    if wrong:
        raise UsageError("\n".join(wrong))


def build(config: TrainConfig) -> tuple[nn.Module, nn.Module]:
    """The generator and discriminator of a recipe, with torch's own random initial weights."""
    widths = [{} if width is None else {"width": width} for width in (config.g_width, config.d_width)]
    if config.network == "dcgan":
        return dcgan_generator(config.latent_dim, **widths[0]), dcgan_discriminator(config.norm, **widths[1])
    return resnet_generator(config.latent_dim, **widths[0]), resnet_discriminator(config.norm, **widths[1])


@torch.no_grad()
def take_over(network: nn.Module, ours: nn.Module) -> None:
    """Copy the weights of our network of the same recipe into the textbook's, and the vectors u and v of its SN.

    Raises:
        ValueError: they are not of one recipe.
    """
    weights, theirs = list(network.parameters()), list(ours.parameters())
    if [weight.shape for weight in weights] != [weight.shape for weight in theirs]:
        raise ValueError("the networks differ in the shapes or the order of their weights")
    for weight, other in zip(weights, theirs, strict=True):
        weight.copy_(other)
    mine = [module for module in network.modules() if hasattr(module, "_u") and hasattr(module, "_v")]
    for norm, (_, other, _) in zip(mine, spectral_norms(ours), strict=True):
        norm._u.copy_(other.u)
        norm._v.copy_(other.v)


class OrderOf(Sampler[list[int]]):
    """The batches of one of our runs, without end."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[list[int]]:
        for index in itertools.count():
            yield self.batches.samples(index).indices.tolist()


def latents_of(config: TrainConfig) -> Callable[[int, int], Tensor]:
    """The latents of one of our runs, a function of step and turn."""

    def draw(step: int, turn: int) -> Tensor:
        stream = random_stream(config.seed, LATENTS, step, turn)
        return torch.randn(config.batch, config.latent_dim, generator=stream)

    return draw
