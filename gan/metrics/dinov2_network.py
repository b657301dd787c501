"""DINOv2's vision transformers (Oquab et al. 2023, arXiv 2304.07193), without registers, for inference only.

The modules are named as in the published files of weights, and compute the features of the published code (the hub
repository facebookresearch/dinov2, without xFormers) to the bit. That code would have to be downloaded, and run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan.errors import UserError

_PATCH = 14  # pixels, width and height
_GRID = 37  # patches in a row of the images that the published networks were trained with last, 518 pixels wide
_OFFSET = 0.1  # of the published code, added to the number of patches in the scale of the position embeddings


@dataclass(frozen=True)
class Dinov2Size:
    """The size of a network."""

    title: str
    """Name in messages and protocols."""
    width: int
    """D, length of a token and of a feature vector."""
    depth: int
    """Number of blocks."""
    heads: int
    gated: bool = False
    """SwiGLU in place of an MLP with GELU."""


SIZES = {
    "s": Dinov2Size("ViT-S/14", 384, 12, 6),
    "b": Dinov2Size("ViT-B/14", 768, 12, 12),
    "l": Dinov2Size("ViT-L/14", 1024, 24, 16),
    "g": Dinov2Size("ViT-g/14", 1536, 40, 24, gated=True),
}


class Dinov2(nn.Module):
    """Images float (N, 3, H, W), normalized, H and W multiples of 14, to the normalized class token (N, D)."""

    def __init__(self, size: Dinov2Size) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, size.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + _GRID**2, size.width))
        self.mask_token = nn.Parameter(torch.zeros(1, size.width))  # used in training only
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, size.width, _PATCH, _PATCH)})
        self.blocks = nn.ModuleList(_Block(size) for _ in range(size.depth))
        self.norm = nn.LayerNorm(size.width, eps=1e-6)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patch_embed["proj"](images)  # (N, D, H/14, W/14)
        x = patches.flatten(2).transpose(1, 2)  # (N, D, H/14, W/14) -> (N, T, D)
        x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), dim=1)
        x = x + self._positions(patches.shape[2], patches.shape[3])
        for block in self.blocks:
            x = block(x)
        features: Tensor = self.norm(x)[:, 0]
        return features

    def _positions(self, rows: int, columns: int) -> Tensor:
        """Position embeddings (1, 1 + rows * columns, D), resized by bicubic interpolation."""
        if rows == columns == _GRID:
            return self.pos_embed
        embeddings = self.pos_embed.float()
        grid = embeddings[:, 1:].reshape(1, _GRID, _GRID, -1).permute(0, 3, 1, 2)  # (1, D, 37, 37)
        scale = ((rows + _OFFSET) / _GRID, (columns + _OFFSET) / _GRID)
        grid = F.interpolate(grid, scale_factor=scale, mode="bicubic")
        grid = grid.permute(0, 2, 3, 1).flatten(1, 2)  # (1, D, rows, columns) -> (1, rows * columns, D)
        return torch.cat((embeddings[:, :1], grid), dim=1).to(self.pos_embed.dtype)


class _Block(nn.Module):
    """Pre-norm transformer block whose branches are scaled channel by channel (LayerScale): (N, T, D) to the same."""

    def __init__(self, size: Dinov2Size) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(size.width, eps=1e-6)
        self.attn = _Attention(size)
        self.ls1 = nn.ParameterDict({"gamma": nn.Parameter(torch.ones(size.width))})
        self.norm2 = nn.LayerNorm(size.width, eps=1e-6)
        self.mlp = _GatedMlp(size.width) if size.gated else _Mlp(size.width)
        self.ls2 = nn.ParameterDict({"gamma": nn.Parameter(torch.ones(size.width))})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x)) * self.ls1["gamma"]
        return x + self.mlp(self.norm2(x)) * self.ls2["gamma"]


class _Attention(nn.Module):
    """Self-attention: (N, T, D) to the same."""

    def __init__(self, size: Dinov2Size) -> None:
        super().__init__()
        self.qkv = nn.Linear(size.width, 3 * size.width)
        self.proj = nn.Linear(size.width, size.width)
        self._heads = size.heads

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x).unflatten(2, (3, self._heads, -1))  # (N, T, 3 * D) -> (N, T, 3, heads, D / heads)
        query, key, value = (part.transpose(1, 2) for part in qkv.unbind(2))  # (N, heads, T, D / heads)
        x = F.scaled_dot_product_attention(query, key, value)
        return self.proj(x.transpose(1, 2).flatten(2))


class _Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class _GatedMlp(nn.Module):
    """SwiGLU (Shazeer 2020, arXiv 2002.05202), with two thirds of the channels, rounded up to a multiple of 8."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = (int(4 * width * 2 / 3) + 7) // 8 * 8
        self.w12 = nn.Linear(width, 2 * hidden)
        self.w3 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.w12(x).chunk(2, dim=-1)
        return self.w3(F.silu(gate) * value)


def load_dinov2(path: Path, size: Dinov2Size) -> Dinov2:
    """The network with the weights of a published file, in evaluation mode; a UserError if the file is another one."""
    with torch.device("meta"):  # no time and random numbers for initial weights
        network = Dinov2(size)
    state: Any = None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(state, assign=True)
    except Exception as error:  # files of another kind make the unpickler raise almost anything
        raise UserError(f"{path}: does not hold the weights of DINOv2 {size.title}{_reason(state, size)}") from error
    return network.eval().requires_grad_(False)


def _reason(state: Any, size: Dinov2Size) -> str:
    """The rest of the message, if the file has another DINOv2 network."""
    token = state.get("cls_token") if isinstance(state, dict) else None
    if not isinstance(token, Tensor):
        return ""
    if "register_tokens" in state:
        return "; it has register tokens: give the file without them"
    others = [key for key, other in SIZES.items() if other.width == token.shape[-1] != size.width]
    return f"; it has those of {SIZES[others[0]].title}, --features dinov2:{others[0]}" if others else ""
