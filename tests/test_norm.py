"""The normalizations against torch's own layers, the singular values, and the equations of the papers."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

from gan.norm import NORMS, Centering, SpectralNorm, fold, power_iterate, sigmas, spectral_norms

torch.manual_seed(0)

LAYERS = {
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, padding=1), (5, 4, 7)),
    "conv2d": (lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1), (5, 4, 6, 6)),
    "conv3d": (lambda: nn.Conv3d(4, 6, 2), (5, 4, 3, 4, 3)),
    "transposed1d": (lambda: nn.ConvTranspose1d(4, 6, 4, 2, 1), (5, 4, 5)),
    "transposed2d": (lambda: nn.ConvTranspose2d(4, 6, 4, 2, 1, groups=2), (5, 4, 4, 4)),
    "transposed3d": (lambda: nn.ConvTranspose3d(4, 6, 2), (5, 4, 2, 3, 2)),
    "linear": (lambda: nn.Linear(4, 6), (5, 4)),
}
FOLDABLE = ("none", "bn", "wn", "mean", "sn", "msn", "msn-affine")


def parameter_count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def per_channel(h: torch.Tensor) -> torch.Tensor:
    return h.movedim(1, 0).flatten(1)  # (N, C, ...) -> (C, N * positions)


def set_vectors(layer: nn.Module, u: torch.Tensor, v: torch.Tensor) -> None:
    for _, norm, _ in spectral_norms(layer):
        norm.u.copy_(u)
        norm.v.copy_(v)


@pytest.mark.parametrize("kind", LAYERS)
def test_sn_equals_torch(kind: str) -> None:
    make, shape = LAYERS[kind]
    raw = make().double()
    ours = NORMS["sn"].hidden(copy.deepcopy(raw))
    theirs = spectral_norm(copy.deepcopy(raw), n_power_iterations=1)
    theirs.eval()  # so that u and v stay what they are
    set_vectors(ours, theirs.parametrizations.weight[0]._u, theirs.parametrizations.weight[0]._v)
    x = torch.randn(shape, dtype=torch.float64)
    probe = torch.randn_like(raw(x))
    (ours(x) * probe).sum().backward()
    (theirs(x) * probe).sum().backward()
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-10)
    torch.testing.assert_close(
        ours.parametrizations.weight.original.grad, theirs.parametrizations.weight.original.grad, rtol=0, atol=1e-10
    )
    torch.testing.assert_close(ours.bias.grad, theirs.bias.grad, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", LAYERS)
def test_sigma_reaches_the_largest_singular_value(kind: str) -> None:
    make, _ = LAYERS[kind]
    layer = make().double()
    dim = 1 if kind.startswith("transposed") else 0
    exact = torch.linalg.svdvals(layer.weight.detach().movedim(dim, 0).flatten(1))[0].item()
    layer = NORMS["sn"].hidden(layer)
    power_iterate(layer, 50)
    assert sigmas(layer)[""] == pytest.approx(exact, rel=1e-3)


def test_sigma_follows_a_changed_weight_one_update_at_a_time() -> None:
    layer = NORMS["sn"].hidden(nn.Linear(30, 20).double())
    raw = layer.parametrizations.weight.original
    with torch.no_grad():
        raw.copy_(torch.randn_like(raw))
    exact = torch.linalg.svdvals(raw.detach())[0].item()
    before = abs(sigmas(layer)[""] - exact)
    for _ in range(50):
        power_iterate(layer)
    assert abs(sigmas(layer)[""] - exact) < min(1e-3 * exact, before)


def test_gradient_flows_through_sigma() -> None:
    norm = SpectralNorm(torch.randn(3, 2, 2, 2, dtype=torch.float64))
    weight = torch.randn(3, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(norm, weight)
    assert torch.autograd.gradgradcheck(norm, weight)
    # W̄ does not change along W itself: the gradient is orthogonal to W only if σ is differentiated too.
    norm.iterate(weight, 1)
    (grad,) = torch.autograd.grad((norm(weight) * torch.randn(3, 2, 2, 2, dtype=torch.float64)).sum(), weight)
    assert abs((grad * weight).sum().item()) < 1e-12


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_sn_does_not_depend_on_how_weights_lie_in_memory(kind: type[nn.Module]) -> None:
    plain = NORMS["sn"].hidden(kind(3, 4, (2, 3)).double())
    last = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    for layer in (plain, last):
        power_iterate(layer, 3)
        layer(x).square().sum().backward()
    torch.testing.assert_close(plain.state_dict(), last.state_dict(), rtol=1e-12, atol=1e-12)
    ours, theirs = (layer.parametrizations.weight.original.grad for layer in (last, plain))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_power_iteration_between_forward_and_backward_is_harmless() -> None:
    layer = NORMS["sn"].hidden(nn.Linear(4, 3).double())
    raw = layer.parametrizations.weight.original
    x = torch.randn(2, 4, dtype=torch.float64)
    (expected,) = torch.autograd.grad(layer(x).sum(), raw)
    y = layer(x).sum()
    power_iterate(layer)
    (grad,) = torch.autograd.grad(y, raw)
    torch.testing.assert_close(grad, expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", NORMS)
def test_state_moves_only_in_training(name: str) -> None:
    layer = NORMS[name].hidden(nn.Conv2d(3, 5, 3))
    x = torch.randn(4, 3, 6, 6) + 1
    layer.eval()
    before = copy.deepcopy(layer.state_dict())
    layer(x)
    torch.testing.assert_close(layer.state_dict(), before, rtol=0, atol=0)
    layer.train()
    layer(x)
    moved = any(not torch.equal(value, before[key]) for key, value in layer.state_dict().items())
    assert moved == (name in ("bn", "mean", "msn", "msn-affine"))  # u and v wait for power_iterate
    power_iterate(layer)
    for _, norm, _ in spectral_norms(layer):
        assert norm.u.norm().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("kind", LAYERS)
def test_state_dict_round_trip(name: str, kind: str) -> None:
    make, shape = LAYERS[kind]
    first, second = NORMS[name].hidden(make()), NORMS[name].hidden(make())
    x = torch.randn(shape)
    first(x)
    power_iterate(first, 2)
    second.load_state_dict(first.state_dict(), strict=True)
    torch.testing.assert_close(second.eval()(x), first.eval()(x), rtol=0, atol=0)


@pytest.mark.parametrize("kind", LAYERS)
def test_msn_obeys_its_equation(kind: str) -> None:
    make, shape = LAYERS[kind]
    raw = make().double()
    layer = NORMS["msn"].hidden(copy.deepcopy(raw))
    m = torch.randn(6, dtype=torch.float64)
    layer.double().norm.bias.data.copy_(m)
    x = torch.randn(shape, dtype=torch.float64) + 0.5
    h = layer(x)
    # h̃ = h − E[h] + m with h = W̄ ∗ g and no bias, W̄ from the singular value decomposition
    dim = 1 if kind.startswith("transposed") else 0
    power_iterate(layer, 2000)
    plain = copy.deepcopy(raw)
    plain.weight.data /= torch.linalg.svdvals(raw.weight.detach().movedim(dim, 0).flatten(1))[0]
    plain.bias.data.zero_()
    g = plain(x)
    mean = per_channel(g).mean(1)
    expected = g + (m - mean).view(-1, *(1,) * (g.dim() - 2))
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-8)
    # in training the output has per-channel mean m, whatever u and v are
    torch.testing.assert_close(per_channel(h).mean(1), m, rtol=0, atol=1e-12)


def test_running_mean_is_used_in_evaluation() -> None:
    norm = Centering(3)
    batches = [torch.randn(4, 3, 5, 5) + torch.arange(3.0).view(3, 1, 1) for _ in range(3)]
    running = torch.zeros(3)
    for h in batches:
        norm(h)
        running = 0.9 * running + 0.1 * per_channel(h).mean(1)
    torch.testing.assert_close(norm.running_mean, running)
    norm.eval()
    torch.testing.assert_close(norm(batches[0]), batches[0] - running.view(3, 1, 1))


@pytest.mark.parametrize("name", ["mean", "msn", "msn-affine"])
def test_centering_gradients(name: str) -> None:
    layer = NORMS[name].hidden(nn.Conv2d(2, 3, 3).double()).double()
    x = torch.randn(2, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    for module in (layer, layer.eval()):
        assert torch.autograd.gradcheck(module, x)
        assert torch.autograd.gradgradcheck(module, x)


@pytest.mark.parametrize("name", ["sn", "msn"])
@pytest.mark.parametrize("training", [True, False])
def test_lipschitz_bound(name: str, training: bool) -> None:
    """‖layer‖ ≤ ‖W̄‖ of the flattened weight: as a linear layer, on whole batches, in both modes."""
    generator = torch.Generator().manual_seed(1)
    layer = NORMS[name].hidden(nn.Linear(12, 8).double()).double()
    power_iterate(layer, 500)
    layer.train()
    layer(torch.randn(16, 12, dtype=torch.float64, generator=generator) + 3)  # a running mean that is not zero
    layer.train(training)
    linear = layer.layer if name == "msn" else layer
    bound = torch.linalg.matrix_norm(linear.weight.detach(), 2).item()
    assert bound == pytest.approx(1, abs=1e-9)
    largest = 0.0
    for _ in range(200):
        a = torch.randn(16, 12, dtype=torch.float64, generator=generator)
        # differences of one direction as well as random ones: the bound is reached where all samples move apart
        b = a + torch.randn(16, 1, dtype=torch.float64, generator=generator) * linear.weight.detach()[:1]
        for other in (b, torch.randn(16, 12, dtype=torch.float64, generator=generator)):
            largest = max(largest, ((layer(a) - layer(other)).norm() / (a - other).norm()).item())
    assert 0.3 < largest <= bound * (1 + 1e-9)


@pytest.mark.parametrize("training", [True, False])
def test_lipschitz_bound_of_a_convolution(training: bool) -> None:
    """With patches that do not overlap, a convolution's operator norm is that of its flattened weight."""
    layer = NORMS["msn"].hidden(nn.Conv2d(3, 5, 2, stride=2).double()).double()
    power_iterate(layer, 500)
    layer(torch.randn(4, 3, 8, 8, dtype=torch.float64) + 2)
    layer.train(training)
    bound = torch.linalg.matrix_norm(layer.layer.weight.detach().flatten(1), 2).item()
    for _ in range(100):
        a, b = torch.randn(2, 4, 3, 8, 8, dtype=torch.float64)
        assert (layer(a) - layer(b)).norm() <= bound * (a - b).norm() * (1 + 1e-9)


def test_centering_is_a_projection() -> None:
    """In training, centering over a batch is I − 11ᵀ/N per channel: norm 1, and it erases what is common."""
    h = torch.randn(6, 2, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(Centering(2).double(), h).reshape(12, 12)
    projection = torch.eye(6, dtype=torch.float64) - 1 / 6
    expected = torch.kron(projection, torch.eye(2, dtype=torch.float64))  # (N, C) flattened, row by row
    torch.testing.assert_close(jacobian, expected, rtol=0, atol=1e-12)
    assert torch.linalg.matrix_norm(jacobian, 2).item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("kind", LAYERS)
def test_parameter_counts(kind: str) -> None:
    make, _ = LAYERS[kind]
    count = {name: parameter_count(norm.hidden(make())) for name, norm in NORMS.items()}
    channels, with_bias = 6, parameter_count(make())
    assert count["none"] == count["sn"] == count["msn"] == count["mean"] == with_bias
    assert count["bn"] - count["msn"] == channels  # convolution without a bias
    bn_with_bias = with_bias + 2 * channels
    assert bn_with_bias - count["msn"] == 2 * channels
    assert count["msn-affine"] == with_bias + channels == count["bn"]
    lengths = make().weight.shape[1 if kind.startswith("transposed") else 0]  # a group's channels share theirs
    assert count["wn"] == with_bias + lengths


@pytest.mark.parametrize("name", NORMS)
def test_output_layer_is_never_centred(name: str) -> None:
    layer = NORMS[name].output(nn.Linear(4, 1))
    assert isinstance(layer, nn.Linear)
    assert bool(sigmas(layer)) == (name in ("sn", "msn", "msn-affine"))


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("name", FOLDABLE)
@pytest.mark.parametrize("kind", LAYERS)
def test_fold(name: str, kind: str, dtype: torch.dtype, tolerance: float) -> None:
    make, shape = LAYERS[kind]
    network = nn.Sequential(NORMS[name].hidden(make()), nn.LeakyReLU(0.1)).to(dtype)
    for parameter in network.parameters():
        parameter.data.add_(torch.rand_like(parameter) * 0.1)
    for _ in range(3):
        power_iterate(network)
        network(torch.randn(shape, dtype=dtype) * 2 + 1)
    x = torch.randn(shape, dtype=dtype)
    folded = fold(network)
    torch.testing.assert_close(folded(x), network.eval()(x), rtol=0, atol=tolerance)
    assert parameter_count(folded) == parameter_count(make())
    assert not any(parametrize.is_parametrized(m) for m in folded.modules())
    assert all(isinstance(m, (nn.Sequential, type(make()), nn.LeakyReLU)) for m in folded.modules())


@pytest.mark.parametrize("name", ["ln", "in"])
def test_what_cannot_fold_says_so(name: str) -> None:
    network = nn.Sequential(NORMS["msn"].hidden(nn.Conv2d(3, 4, 3)), NORMS[name].hidden(nn.Conv2d(4, 4, 3)))
    with pytest.raises(ValueError, match=r"cannot fold.*1 \((GroupNorm|InstanceNorm2d)\)"):
        fold(network)
    partly = fold(network, strict=False)
    assert isinstance(partly[0], nn.Conv2d)
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(partly(x), network.eval()(x))


def test_fold_takes_a_single_layer_and_plain_sequences_and_leaves_the_original() -> None:
    layer = NORMS["msn"].hidden(nn.Conv2d(3, 4, 3))
    assert type(fold(layer)) is nn.Conv2d
    assert layer.training and sigmas(layer)
    sequence = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4))
    x = torch.randn(8, 3, 6, 6)
    sequence(x)
    folded = fold(sequence)
    assert isinstance(folded[1], nn.Identity) and isinstance(folded[3], nn.BatchNorm2d)
    torch.testing.assert_close(folded(x), sequence.eval()(x))


@pytest.mark.parametrize("name", NORMS)
def test_bf16_autocast(name: str) -> None:
    layer = NORMS[name].hidden(nn.Conv2d(3, 8, 3))
    last = NORMS[name].output(nn.Linear(8, 1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        power_iterate(layer)
        y = last(layer(torch.randn(4, 3, 8, 8) * 100).mean((2, 3)))
        for _, norm, weight in spectral_norms(layer):
            sigma = norm.sigma(weight)
            assert sigma.dtype == torch.float32
            exact = norm.u.double() @ weight.detach().double().flatten(1) @ norm.v.double()
            assert sigma.item() == pytest.approx(exact.item(), rel=1e-6)
            assert norm.u.dtype == torch.float32
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    for parameter in layer.parameters():
        assert parameter.dtype == torch.float32
        assert parameter.grad is not None and parameter.grad.isfinite().all()
    for buffer in layer.buffers():
        assert buffer.isfinite().all()


def test_centering_in_bf16_has_the_mean_of_fp32() -> None:
    """Also of channels whose mean is large against their spread, and of many positions."""
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(64, 8, 32, 32, generator=generator) * 0.1 + torch.linspace(-3, 3, 8)[:, None, None]
    h = h.bfloat16().contiguous(memory_format=torch.channels_last)
    layer = Centering(8)
    layer(h)
    exact = h.double().mean((0, 2, 3))
    torch.testing.assert_close(layer.running_mean.double(), 0.1 * exact, rtol=5e-4, atol=1e-5)


def test_centering_in_bf16_leaves_nothing_of_equal_numbers() -> None:
    """Channels that say the same everywhere, as those of dead units do."""
    h = torch.tensor([0.3, -1.7, 100.0, 1e-3])[:, None, None].expand(16, 4, 16, 16).bfloat16()
    assert not Centering(4)(h.contiguous(memory_format=torch.channels_last)).any()


@pytest.mark.parametrize("shape", [(4, 12, 6, 6), (3, 5, 7, 3), (2, 1, 4, 4), (6, 2000), (4, 3, 1, 1), (2, 3, 4, 5, 2)])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_centering_does_not_depend_on_how_maps_lie_in_memory(
    shape: tuple[int, ...], dtype: torch.dtype, tolerance: float
) -> None:
    """Nor does it hinder an activation that works in place."""
    h = torch.randn(shape, dtype=torch.float64) + 1
    probe, m = torch.randn(shape, dtype=torch.float64), torch.randn(shape[1], dtype=torch.float64)
    expected = h - per_channel(h).mean(1).view(-1, *(1,) * (h.dim() - 2)) + m.view(-1, *(1,) * (h.dim() - 2))
    last = h.movedim(1, -1).contiguous().movedim(-1, 1)  # channels vary fastest
    for given in (h.contiguous(), last):
        layer = Centering(shape[1]).to(torch.float64 if dtype == torch.float64 else torch.float32)
        layer.bias.data.copy_(m)
        x = given.to(dtype).requires_grad_()
        y = layer(x)
        assert y.stride() == x.stride()
        torch.testing.assert_close(y.double(), expected, rtol=tolerance, atol=tolerance)
        slope = torch.where(y.detach() > 0, 1.0, 0.5) * probe
        gradient = slope - per_channel(slope).mean(1).view(-1, *(1,) * (h.dim() - 2))
        F.leaky_relu(y, 0.5, inplace=True).backward(probe.to(dtype))
        torch.testing.assert_close(x.grad.double(), gradient, rtol=tolerance, atol=tolerance)
        sums, few = per_channel(slope).sum(1), h.numel() // shape[1]
        torch.testing.assert_close(layer.bias.grad.double(), sums, rtol=tolerance, atol=tolerance * few**0.5)


def test_centering_a_batch_of_one() -> None:
    norm = Centering(3)
    h = torch.randn(1, 3, 4, 4)
    torch.testing.assert_close(norm(h), h - h.mean((2, 3), keepdim=True))


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1)])
def test_centering_one_value_uses_the_running_mean(shape: tuple[int, ...]) -> None:
    norm = Centering(3)
    norm.running_mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    h = torch.full(shape, 5.0, requires_grad=True)
    out = norm(h)
    torch.testing.assert_close(out.flatten(), torch.tensor([4.0, 3.0, 2.0]))
    out.sum().backward()
    torch.testing.assert_close(h.grad, torch.ones(shape))  # the value is not erased
    torch.testing.assert_close(norm.running_mean, torch.tensor([1.4, 2.3, 3.2]))


def test_raw_weights_do_not_depend_on_the_norm() -> None:
    weights = {}
    for name, norm in NORMS.items():
        torch.manual_seed(3)
        layers = [norm.hidden(nn.Conv2d(2, 3, 3)), norm.hidden(nn.Conv2d(3, 3, 3)), norm.output(nn.Linear(3, 1))]
        weights[name] = [
            next(
                p
                for key, p in layer.named_parameters()
                if p.numel() > 3 or isinstance(layer, nn.Linear) and p.dim() > 1
            )
            for layer in layers
        ]
    for name in NORMS:
        if name == "wn":
            continue  # stores length and direction instead; its weight is compared below
        for ours, plain in zip(weights[name], weights["none"], strict=True):
            torch.testing.assert_close(ours, plain, rtol=0, atol=0)
    raw = nn.Conv2d(2, 3, 3)
    torch.testing.assert_close(NORMS["wn"].hidden(copy.deepcopy(raw)).weight, raw.weight)


@pytest.mark.parametrize("name", NORMS)
def test_double_backward(name: str) -> None:
    """Gradient penalties differentiate the gradient: it must reach every parameter that the output depends on."""
    network = nn.Sequential(
        NORMS[name].hidden(nn.Conv2d(2, 4, 3)), nn.Tanh(), nn.Flatten(), NORMS[name].output(nn.Linear(4 * 16, 1))
    )
    x = torch.randn(3, 2, 6, 6, requires_grad=True)
    (grad,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
    grad.square().sum().backward()
    for key, parameter in network.named_parameters():
        if not key.endswith("3.bias"):
            assert parameter.grad is not None and parameter.grad.isfinite().all(), key


def test_a_layer_of_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="Embedding"):
        NORMS["msn"].hidden(nn.Embedding(3, 4))


def test_norms_of_linear_layers_normalize_features() -> None:
    x = torch.randn(5, 4)
    for name in ("ln", "in"):
        layer = NORMS[name].hidden(nn.Linear(4, 6))
        expected = F.layer_norm(layer.layer(x), (6,))
        torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-5)
