"""The training step against the recipe written out."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from gan.config.train_config import TrainConfig
from gan.data.image_set import ImageSet
from gan.errors import UsageError, UserError
from gan.nn.losses import LOSSES
from gan.norm import NORMS, power_iterate, spectral_norms
from gan.runtime import Runtime
from gan.training import loop
from gan.training.trainer import Trainer
from gan.utils.random_streams import LATENTS, random_stream
from tests.helpers.states import weights

Make = Callable[..., TrainConfig]
MakeImages = Callable[..., ImageSet]


def test_one_step_is_the_recipe(tiny: Make, image_set: MakeImages, runtime: Runtime) -> None:
    """DCGAN's step with the logistic loss: the fake batch of the D step serves the G step, before D has changed G."""
    config, data = tiny(loss="logistic", ema_half_life=0.0), image_set()
    job = Trainer(config, runtime, data)
    generator, discriminator = copy.deepcopy(job.generator), copy.deepcopy(job.discriminator)
    g_adam = torch.optim.Adam(generator.parameters(), 2e-4, (0.5, 0.999))
    d_adam = torch.optim.Adam(discriminator.parameters(), 2e-4, (0.5, 0.999))
    for step in range(3):
        job.train_step()
        real = job.inputs.batches.at(step).images
        fake = generator(torch.randn(8, 8, generator=random_stream(0, LATENTS, step, 0)))
        power_iterate(discriminator)
        d_adam.zero_grad()
        logits_real, logits_fake = discriminator(real), discriminator(fake.detach())
        loss = F.binary_cross_entropy_with_logits(logits_real, torch.ones(8))
        loss = loss + F.binary_cross_entropy_with_logits(logits_fake, torch.zeros(8))
        loss.backward()
        d_adam.step()
        g_adam.zero_grad()
        F.binary_cross_entropy_with_logits(discriminator(fake), torch.ones(8)).backward()
        g_adam.step()
    torch.testing.assert_close(weights(job.generator), weights(generator), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(weights(job.discriminator), weights(discriminator), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(weights(job.ema.network), weights(job.generator), rtol=0, atol=0)


def test_n_dis_draws_new_batches_and_latents(tiny: Make, image_set: MakeImages, runtime: Runtime) -> None:
    job = Trainer(tiny(n_dis=3), runtime, image_set())
    drawn: list[int] = []
    pixels = job.inputs.batches.pixels
    job.inputs.batches.pixels = lambda index: drawn.append(index) or pixels(index)  # type: ignore[method-assign,func-returns-value]
    latents = [draw.latents for draw in job.inputs.step_inputs(0, own_latents=True)]
    drawn.clear()
    assert len({z.sum().item() for z in latents}) == 4
    job.train_step()
    job.train_step()
    assert drawn == [0, 1, 2, 3, 4, 5]
    assert job.images_seen == 2 * 3 * 8


def test_power_iteration_once_per_update_of_d(tiny: Make, image_set: MakeImages, runtime: Runtime) -> None:
    job = Trainer(tiny(n_dis=2, d_lr=0.0, norm="sn"), runtime, image_set())
    expected = copy.deepcopy(job.discriminator)
    job.train_step()
    power_iterate(expected, 2)
    for (_, ours, _), (_, theirs, _) in zip(spectral_norms(job.discriminator), spectral_norms(expected), strict=True):
        torch.testing.assert_close(ours.u, theirs.u)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("accumulate, d_batch", [(1, "joint"), (2, "separate"), (4, "joint")])
def test_accumulation_is_the_whole_batch(
    tiny: Make, image_set: MakeImages, runtime: Runtime, loss: str, accumulate: int, d_batch: str
) -> None:
    """With a norm that does not look at the batch, parts and joint batches give the gradient of the whole."""
    settings = {"norm": "sn", "network": "sngan-cnn", "loss": loss, "d_lr": 0.0}
    whole = Trainer(tiny(**settings), runtime, image_set())
    parts = Trainer(tiny(**settings, accumulate=accumulate, d_batch=d_batch), runtime, image_set())
    for job in (whole, parts):
        for module in job.generator.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()  # batch norm in G is the only part that a split would change
        job.train_step()
    for ours, theirs in ((parts.discriminator, whole.discriminator), (parts.generator, whole.generator)):
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "hinge", "r1": 1.0},
        {"loss": "wgan", "gradient_penalty": 10.0, "n_dis": 2},
        {"loss": "relativistic", "r1": 1.0, "r2": 1.0, "d_batch": "joint"},
    ],
)
def test_penalties_with_every_norm(
    tiny: Make, image_set: MakeImages, runtime: Runtime, norm: str, settings: dict
) -> None:
    job = Trainer(tiny(norm=norm, conditional=True, **settings), runtime, image_set())
    job.train_step()
    job.train_step()
    entry = job.log_entry()
    assert all(torch.tensor(entry[name]).isfinite() for name in ("loss_d", "loss_g", "grad_norm_d", "grad_norm_g"))


def test_r1_and_r2_add_their_gradient(tiny: Make, image_set: MakeImages, runtime: Runtime) -> None:
    """The gradient with penalties is that without, and γ/2 E‖∇D‖² written out at the same images."""
    settings = {"network": "resnet", "norm": "none", "d_lr": 0.0, "loss": "relativistic"}
    plain = Trainer(tiny(**settings), runtime, image_set())
    penalised = Trainer(tiny(**settings, r1=3.0, r2=0.5), runtime, image_set())
    plain.train_step()
    penalised.train_step()
    fresh = Trainer(tiny(**settings), runtime, image_set())
    real = fresh.inputs.batches.at(0).images.requires_grad_()
    fake = fresh.gan_step._generate((fresh.inputs.step_inputs(0, False)[0].latents, None)).detach().requires_grad_()
    penalty = torch.zeros(())
    for gamma, images in ((3.0, real), (0.5, fake)):
        for index in range(len(images)):
            logit = fresh.discriminator(images[index : index + 1])
            (grad,) = torch.autograd.grad(logit.sum(), images, create_graph=True)
            penalty = penalty + gamma / 2 * grad.square().sum() / len(images)
    parameters = dict(fresh.discriminator.named_parameters())
    extra = torch.autograd.grad(penalty, list(parameters.values()), allow_unused=True)
    for (name, ours), before, added in zip(
        penalised.discriminator.named_parameters(), plain.discriminator.parameters(), extra, strict=True
    ):
        expected = before.grad if added is None else before.grad + added
        torch.testing.assert_close(ours.grad, expected, rtol=1e-3, atol=1e-4, msg=name)


def test_gradient_penalty_is_that_of_wgan_gp(tiny: Make, image_set: MakeImages, runtime: Runtime) -> None:
    """D's gradient is that of E D(G(z)) − E D(x) + λ E (‖∇D(x̂)‖ − 1)², x̂ between real and fake (arXiv 1704.00028)."""
    settings = {"loss": "wgan", "gradient_penalty": 10.0, "norm": "sn", "d_lr": 0.0, "conditional": True}
    job = Trainer(tiny(**settings), runtime, image_set())
    generator, discriminator = copy.deepcopy(job.generator), copy.deepcopy(job.discriminator)
    update = job.inputs.step_inputs(0, own_latents=True)[0]
    job.train_step()

    assert update.interpolation is not None and update.interpolation.shape == (8, 1, 1, 1)
    (real, labels), fake_labels = job.inputs.real(update), update.fake_labels
    fake = generator(update.latents, fake_labels).detach()
    power_iterate(discriminator)
    between = (real + update.interpolation * (fake - real)).requires_grad_()
    (slope,) = torch.autograd.grad(discriminator(between, labels).sum(), between, create_graph=True)
    loss = discriminator(fake, fake_labels).mean() - discriminator(real, labels).mean()
    (loss + 10 * (slope.flatten(1).norm(dim=1) - 1).square().mean()).backward()
    for (name, ours), expected in zip(job.discriminator.named_parameters(), discriminator.parameters(), strict=True):
        scale = expected.grad.abs().max().item()
        torch.testing.assert_close(ours.grad, expected.grad, rtol=1e-3, atol=1e-4 * scale, msg=name)


def test_the_average_counts_every_image_that_d_is_shown(tiny: Make, image_set: MakeImages, runtime: Runtime) -> None:
    job = Trainer(tiny(n_dis=2, ema_half_life=20.0, ema_rampup=0.9, g_lr=1e-3), runtime, image_set())
    expected, seen = weights(job.generator), 0
    for _ in range(3):
        job.train_step()
        seen += 2 * 8
        decay = 0.5 ** (16 / min(20.0, 0.9 * seen))
        for key, value in weights(job.generator).items():
            expected[key] = decay * expected[key] + (1 - decay) * value if value.is_floating_point() else value
    torch.testing.assert_close(weights(job.ema.network), expected, rtol=1e-4, atol=1e-6)


def test_lazy_penalties_come_seldom_and_weigh_more(tiny: Make, image_set: MakeImages, runtime: Runtime) -> None:
    """With nothing learned: every third update of D has three times the penalty, and those between have none."""
    settings = {"network": "resnet", "norm": "none", "d_lr": 0.0, "g_lr": 0.0, "n_dis": 2, "steps": 4}
    plain = Trainer(tiny(**settings), runtime, image_set())
    always = Trainer(tiny(**settings, r1=2.0, r2=1.0), runtime, image_set())
    lazy = Trainer(tiny(**settings, r1=2.0, r2=1.0, penalty_every=3), runtime, image_set())
    seen: dict[int, list[torch.Tensor]] = {}
    for index, job in enumerate((plain, always, lazy)):
        step = job.d_optimizer.step

        def keep(job: Trainer = job, index: int = index, step: Callable[[], None] = step) -> None:
            gradients = [parameter.grad.flatten() for parameter in job.discriminator.parameters()]
            seen.setdefault(index, []).append(torch.cat(gradients).clone())
            step()

        job.d_optimizer.step = keep
        for _ in range(4):
            job.train_step()
    for number, (without, each, seldom) in enumerate(zip(*seen.values(), strict=True)):
        expected = without + 3 * (each - without) if number % 3 == 0 else without
        assert (each - without).norm() > 1e-3 * without.norm()
        torch.testing.assert_close(seldom, expected, rtol=1e-3, atol=1e-4)


def test_linear_decay(tiny: Make, image_set: MakeImages, runtime: Runtime) -> None:
    job = Trainer(tiny(decay="linear", steps=4, d_lr=1e-3), runtime, image_set())
    rates = []
    for _ in range(4):
        job.train_step()
        rates.append(job.d_optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([1e-3, 7.5e-4, 5e-4, 2.5e-4])


def test_same_raw_start_for_every_norm(tiny: Make, image_set: MakeImages, runtime: Runtime) -> None:
    jobs = [Trainer(tiny(norm=norm), runtime, image_set()) for norm in ("none", "sn", "msn")]
    for job in jobs[1:]:
        torch.testing.assert_close(weights(job.generator), weights(jobs[0].generator), rtol=0, atol=0)


def test_labels_missing(tiny: Make, image_set: MakeImages, runtime: Runtime) -> None:
    with pytest.raises(UsageError, match="--conditional: images has no labels; put each class into a sub-folder"):
        Trainer(tiny(conditional=True), runtime, image_set(labelled=False))


def test_batch_larger_than_the_set(tiny: Make, image_set: MakeImages, runtime: Runtime) -> None:
    with pytest.raises(UsageError, match="a batch of 25 images is more than the 24"):
        Trainer(tiny(batch=25), runtime, image_set(24))


def test_state_of_another_network_is_refused(tiny: Make, image_set: MakeImages, runtime: Runtime) -> None:
    state = Trainer(tiny(), runtime, image_set()).state()
    with pytest.raises(UserError, match="it is of other networks"):
        Trainer(tiny(d_width=5), runtime, image_set()).load_state(state)


def test_bf16_trains(tiny: Make, image_set: MakeImages) -> None:
    job = Trainer(tiny(r1=1.0), Runtime(torch.device("cpu"), bf16=True), image_set())
    for _ in range(3):
        job.train_step()
    assert all(value.isfinite().all() for value in job.generator.state_dict().values())
    assert all(p.dtype == torch.float32 for p in job.discriminator.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_trains_and_resumes(tiny: Make, image_set: MakeImages, request: pytest.FixtureRequest) -> None:
    from gan.runtime import resolve_runtime

    request.addfinalizer(lambda: torch.use_deterministic_algorithms(False))
    machine = resolve_runtime("cuda", "auto", deterministic=True)
    jobs = [Trainer(tiny(n_dis=2, flip=True), machine, image_set()) for _ in range(2)]
    for _ in range(4):
        jobs[0].train_step()
    for _ in range(2):
        jobs[1].train_step()
    resumed = Trainer(tiny(n_dis=2, flip=True), machine, image_set())
    resumed.load_state(jobs[1].state())
    for _ in range(2):
        resumed.train_step()
    torch.testing.assert_close(weights(resumed.generator), weights(jobs[0].generator), rtol=0, atol=0)
    assert loop.fixed_samples(resumed).shape == (64, 3, 32, 32)
