"""Adam for a network, learning rates and β₂ that change between steps, and freezing of weights."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gan.config.train_config import TrainConfig


def adam(
    network: nn.Module, rate: float, config: TrainConfig, device: torch.device, *, captured: bool = False
) -> torch.optim.Adam:
    """Adam of the trained weights of a network with the betas of the run, in the fastest implementation for the device.

    On CUDA the step count and the learning rate are tensors on the device, so that the update can be captured.

    Args:
        captured: a CUDA graph replays the steps. If β₂ is scheduled, the update is then that of `DeviceBeta2Adam`;
            otherwise torch's fused kernels take each step's β₂ from the host.
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    betas = (config.beta1, config.beta2)
    if device.type != "cuda":
        return torch.optim.Adam(parameters, rate, betas, fused=device.type == "cpu")
    lr = torch.tensor(rate, device=device)
    if captured and config.beta2_end is not None:
        return DeviceBeta2Adam(parameters, lr, betas)
    return torch.optim.Adam(parameters, lr, betas, fused=True, capturable=True)


class DeviceBeta2Adam(torch.optim.Adam):
    """Adam whose learning rate and β₂ are read on the device, so that a captured step follows their schedules.

    torch's own implementations accept a tensor for β₂, but read it on the host, which a CUDA graph cannot capture: the
    fused one for its kernel's arguments, the others for the bias correction or for 1 - β₂. The update is theirs
    (Kingma & Ba 2015, arXiv 1412.6980, algorithm 1), and so is the state: with the β₂ of step t,

        v ← β₂ v + (1 - β₂) g²,    v̂ = v / (1 - β₂ᵗ),

    so the bias correction, too, uses only the newest β₂.

    Args:
        lr: a scalar tensor on the device of the parameters, which `set_rate` changes in place.
        betas: β₂ becomes such a tensor, which `set_beta2` changes in place.
    """

    def __init__(self, parameters: list[nn.Parameter], lr: Tensor, betas: tuple[float, float]) -> None:
        super().__init__(parameters, lr, betas, foreach=False, capturable=True)
        for group in self.param_groups:
            group["beta2"] = torch.full_like(lr, betas[1])

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient. `closure` must be None."""
        assert closure is None
        for group in self.param_groups:
            pairs = [(parameter, parameter.grad) for parameter in group["params"] if parameter.grad is not None]
            if pairs:
                parameters, gradients = zip(*pairs, strict=True)
                self._update(parameters, gradients, group)

    def _update(self, parameters: tuple[Tensor, ...], gradients: tuple[Tensor, ...], group: dict[str, Any]) -> None:
        beta1, beta2, rate = group["betas"][0], group["beta2"], group["lr"]
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter] = {
                    "step": torch.zeros((), device=parameter.device),
                    "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
                    "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
                }
        steps, means, squares = (
            [self.state[parameter][name] for parameter in parameters] for name in ("step", "exp_avg", "exp_avg_sq")
        )
        torch._foreach_add_(steps, 1)
        torch._foreach_lerp_(means, gradients, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, torch._foreach_mul(gradients, 1 - beta2), gradients)
        roots = torch._foreach_sqrt(squares)
        torch._foreach_div_(roots, [(1 - beta2**step).sqrt() for step in steps])
        torch._foreach_add_(roots, group["eps"])
        torch._foreach_div_(roots, [rate / (beta1**step - 1) for step in steps])
        torch._foreach_addcdiv_(parameters, means, roots)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameters; in place if it is a tensor, which a captured step reads."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def set_beta2(optimizer: torch.optim.Optimizer, beta2: float) -> None:
    """Set Adam's β₂ for all parameters; in place where a captured step reads it."""
    for group in optimizer.param_groups:
        if "beta2" in group:
            group["beta2"].fill_(beta2)
        else:
            group["betas"] = (group["betas"][0], beta2)


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Compute no gradients of a network's weights within the block, and restore them also if it fails."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
