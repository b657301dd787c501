"""FreezeD: fine-tune a GAN with the first blocks of the discriminator fixed (Mo et al. 2020, arXiv 2002.10964)."""

from collections.abc import Sequence

from torch import nn

from gan.errors import UsageError
from gan.utils.counted import counted


def discriminator_blocks(discriminator: nn.Module) -> Sequence[nn.Module]:
    """The blocks of a discriminator, nearest the image first: its list `blocks` or `layers`; empty without one.

    The output head is none of them.
    """
    for name in ("blocks", "layers"):
        blocks = getattr(discriminator, name, None)
        if isinstance(blocks, (nn.ModuleList, nn.Sequential)):
            return list(blocks)
    return []


def freeze_blocks(discriminator: nn.Module, count: int) -> None:
    """Compute no gradients of the parameters of the first `count` blocks of a discriminator.

    This fixes parameters only. The power iteration of spectral norms goes on, which makes the σ of a fixed weight more
    exact, and so do the running statistics of feature norms, which describe the batches of this run.

    Raises:
        UsageError: the discriminator has fewer blocks, or no list of them, or nothing is left to train.
    """
    blocks = discriminator_blocks(discriminator)
    if count and not blocks:
        raise UsageError(
            f"--freeze-d {count}: this discriminator has no `blocks` or `layers`, a torch.nn.ModuleList of its blocks, "
            "nearest the image first"
        )
    if count > len(blocks):
        raise UsageError(f"--freeze-d {count}: this discriminator has {counted(len(blocks), 'block')}")
    for block in blocks[:count]:
        block.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in discriminator.parameters()):
        raise UsageError(f"--freeze-d {count}: leaves no parameter of the discriminator to train")


def describe_frozen(discriminator: nn.Module, count: int) -> str:
    """The frozen blocks in words, for the line about a run's networks; empty if none are frozen."""
    if not count:
        return ""
    frozen = sum(parameter.numel() for parameter in discriminator.parameters() if not parameter.requires_grad)
    total = len(discriminator_blocks(discriminator))
    return f" ({frozen:,} frozen: the first {count} of {counted(total, 'block')})"
