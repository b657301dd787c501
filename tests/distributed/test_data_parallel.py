"""Networks on several ranks: statistics, gradients and penalties are those of one process with the whole batch."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gan.distributed import data_parallel, process_group
from gan.distributed.sync_batch_norm import synchronize_batch_statistics
from gan.errors import UserError
from gan.models.blocks import ConditionalBatchNorm2d
from gan.norm import NORMS, Centering
from tests.helpers.jobs import job, results


def exact(found: torch.Tensor, expected: torch.Tensor, what: str = "") -> None:
    """Alike to 1e-12 of the largest entry."""
    atol = 1e-12 * max(1.0, expected.abs().max().item())
    torch.testing.assert_close(found, expected, rtol=0, atol=atol, msg=lambda text: f"{what}: {text}")


def _norms() -> dict[str, nn.Module]:
    """Fresh norms for five channels, their scales and shifts not what they begin with, and the shape of their input."""
    made: dict[str, nn.Module] = {
        "centering": Centering(5),
        "centering-scaled": Centering(5, scale=True),
        "centering-linear": Centering(5),
        "bn": nn.BatchNorm2d(5),
        "bn-linear": nn.BatchNorm1d(5),
        "bn-3d": nn.BatchNorm3d(5),
        "bn-plain": nn.BatchNorm2d(5, affine=False),
        "bn-cumulative": nn.BatchNorm2d(5, momentum=None),
        "bn-conditional": ConditionalBatchNorm2d(5, 3),
    }
    stream = torch.Generator().manual_seed(1)
    for norm in made.values():
        norm.double()
        for parameter in norm.parameters():
            nn.init.normal_(parameter, 1.0, 0.5, generator=stream)
    return made


def _input(name: str) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """A batch of 6, for 2 or 3 ranks, and what it is conditioned on."""
    positions = () if name.endswith("linear") else (2, 3, 2) if name == "bn-3d" else (2, 3)
    x = 2 + torch.randn(6, 5, *positions, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    return x, (torch.arange(6) % 3,) if name == "bn-conditional" else ()


def _derivatives(norm: nn.Module, x: torch.Tensor, condition: tuple[torch.Tensor, ...]) -> dict[str, Any]:
    """What two training passes give: outputs, gradients of a sum over the batch, and those of a penalty on them."""
    x = x.clone().requires_grad_()
    outputs = [norm(part, *condition) for part in (x, 0.5 * x)]
    loss = sum(output.pow(3).sum() + output.sin().sum() for output in outputs)
    (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
    parameters = dict(norm.named_parameters())
    penalty = gradient.pow(3).sum() / 100
    second = torch.autograd.grad(penalty, [x, *parameters.values()], retain_graph=True, allow_unused=True)
    first = torch.autograd.grad(loss, list(parameters.values())) if parameters else ()
    local = {"output": outputs[0], "gradient": gradient, "penalty": second[0]}
    shared = {f"gradient of {name}": value for name, value in zip(parameters, first, strict=True)}
    shared |= {f"penalty of {name}": v for name, v in zip(parameters, second[1:], strict=True) if v is not None}
    norm.eval()
    local["in evaluation"] = norm(x, *condition)
    return {
        "local": {name: value.detach() for name, value in local.items()},
        "shared": {name: value.detach() for name, value in shared.items()},
        "buffers": dict(norm.named_buffers()),
        "keys": list(norm.state_dict()),
    }


def _over_ranks() -> dict[str, Any]:
    found = {}
    for name, norm in _norms().items():
        synchronize_batch_statistics(norm)
        x, condition = _input(name)
        mine = torch.arange(6).chunk(process_group.world_size())[process_group.rank()]
        found[name] = _derivatives(norm, x[mine], tuple(part[mine] for part in condition))
    return found


@pytest.mark.parametrize("count", [2, 3])
def test_norms_over_ranks_are_those_of_the_whole_batch(tmp_path: Path, count: int) -> None:
    found = results(job(tmp_path, count, _over_ranks))
    for name, norm in _norms().items():
        whole = _derivatives(norm, *_input(name))
        parts = [one[name] for one in found]
        for key, value in whole["local"].items():
            exact(torch.cat([p["local"][key] for p in parts]), value, f"{name}: {key}")
        for key, value in whole["shared"].items():
            exact(torch.stack([p["shared"][key] for p in parts]).sum(0), value, f"{name}: {key}")
        for p in parts:
            assert p["keys"] == whole["keys"]
            torch.testing.assert_close(p["buffers"], whole["buffers"], rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(p["buffers"], parts[0]["buffers"], rtol=0, atol=0)


def _far_from_zero() -> torch.Tensor:
    norm = nn.BatchNorm2d(1)
    synchronize_batch_statistics(norm)
    x = 1000 + torch.randn(8, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    norm(x.chunk(2)[process_group.rank()])
    return norm.running_var


def test_nothing_cancels_where_the_mean_is_large(tmp_path: Path) -> None:
    x = 1000 + torch.randn(8, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    for found in results(job(tmp_path, 2, _far_from_zero)):
        torch.testing.assert_close(found.double(), 0.9 + 0.1 * x.double().var().view(1), rtol=1e-6, atol=0)


def _single_values() -> list[list[float]]:
    """A batch of one value per channel on each rank: alone it would be its own mean."""
    norm = NORMS["mean"].hidden(nn.Linear(1, 1))
    nn.init.ones_(norm.layer.weight)  # type: ignore[union-attr,arg-type]
    synchronize_batch_statistics(norm)
    return norm(torch.tensor([[float(process_group.rank())]])).tolist()


def test_one_value_on_each_rank_is_centred_on_both(tmp_path: Path) -> None:
    assert results(job(tmp_path, 2, _single_values)) == [[[-0.5]], [[0.5]]]


def test_batch_norm_in_bf16_keeps_statistics_in_fp32() -> None:
    """Alone, too, the norm is torch's own."""
    x = (5 + torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(0))).bfloat16()
    ours, theirs = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
    synchronize_batch_statistics(ours)
    assert type(ours) is not nn.BatchNorm2d and isinstance(ours, nn.BatchNorm2d)
    output = ours(x)
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output, theirs(x))
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())
    with pytest.raises(ValueError, match="4D"):
        ours(x[0])


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2, bias=False)).double()


def _batch(step: int, part: int) -> torch.Tensor:
    return torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(10 * step + part))


def _averaged(passes: int, penalty: float, bucket: int) -> list[list[torch.Tensor]]:
    """Gradients of two updates of `passes` backward passes each; a layer that nothing flows to has none."""
    data_parallel._BUCKET_BYTES = bucket
    network = _network()
    network[0].register_module("unused", nn.Linear(3, 3).double())
    means = data_parallel.GradientAverager(network, passes) if process_group.world_size() > 1 else None
    mine = torch.arange(6).chunk(process_group.world_size())[process_group.rank()]
    found = []
    for step in range(2):
        network.zero_grad()
        for part in range(passes):
            x = _batch(step, part)[mine].requires_grad_()
            first, second = network(x), network(2 * x)  # two forward passes before a backward pass
            loss = first.square().mean() - second.mean()
            (gradient,) = torch.autograd.grad(first.sum(), x, create_graph=True)
            (loss + penalty * gradient.square().sum(1).mean()).backward()
        if means:
            means.wait()
        found.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    return found


@pytest.mark.parametrize("passes, penalty, bucket", [(1, 0.0, 1), (1, 0.5, 2**22), (3, 0.5, 300)])
def test_gradients_are_those_of_the_whole_batch(tmp_path: Path, passes: int, penalty: float, bucket: int) -> None:
    """In buckets of one parameter, of all, and of some; with accumulation and a penalty on gradients."""
    alone = _averaged(passes, penalty, bucket)
    found = results(job(tmp_path, 2, _averaged, passes, penalty, bucket))
    for step, whole in enumerate(alone):
        torch.testing.assert_close(found[0][step], whole, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(found[1][step], found[0][step], rtol=0, atol=0)


def _differing() -> str:
    same, other = _network(), _network()
    data_parallel.require_equal_weights(generator=same, discriminator=other)
    if process_group.rank() == 1:
        last = list(other.parameters())[-1].data
        last.copy_(torch.nextafter(last, last + 1))
    with pytest.raises(UserError) as error:
        data_parallel.require_equal_weights(generator=same, discriminator=other)
    return str(error.value).split(":")[0]


def test_one_bit_between_ranks_is_noticed(tmp_path: Path) -> None:
    assert results(job(tmp_path, 2, _differing)) == ["rank 1 has other weights of the discriminator than rank 0"] * 2


def test_a_network_changes_its_classes_only() -> None:
    network = nn.Sequential(NORMS["msn"].hidden(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4), nn.GroupNorm(1, 4))
    before = copy.deepcopy(network)
    synchronize_batch_statistics(network)
    torch.testing.assert_close(network.state_dict(), before.state_dict(), rtol=0, atol=0)
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network(x), before(x))
    torch.testing.assert_close(network.eval()(x), before.eval()(x))
