"""ResNet-18 (He et al. 2016, arXiv 1512.03385) for 32-pixel images: a 3x3 stem, no max pool."""

import torch.nn.functional as F
from torch import Tensor, nn

from gan.models.blocks import he_convolution, normalized
from gan.norm import Norm

STAGES = (64, 128, 256, 512)  # channels; each stage has two blocks, and all stages but the first halve the map


class BasicBlock(nn.Module):
    """Conv, norm, ReLU, conv, norm, plus the shortcut, ReLU. (N, inputs, H, W) -> (N, outputs, H/stride, W/stride).

    The shortcut has a 1x1 convolution with the norm where channels or size change.
    """

    def __init__(self, norm: Norm, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _normalized_convolution(norm, inputs, outputs, 3, stride)
        self.conv2 = _normalized_convolution(norm, outputs, outputs, 3)
        learned = stride > 1 or inputs != outputs
        self.shortcut = _normalized_convolution(norm, inputs, outputs, 1, stride) if learned else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(F.relu(self.conv1(x))) + self.shortcut(x))


class ResNet18(nn.Module):
    """Images (N, channels, R, R) to maps (N, 512, 1, 1), averaged over all positions.

    Args:
        norm: follows every convolution.
        channels: channels of the images.
    """

    def __init__(self, norm: Norm, channels: int) -> None:
        super().__init__()
        self.stem = _normalized_convolution(norm, channels, STAGES[0], 3)
        blocks, last = [], STAGES[0]
        for number, out in enumerate(STAGES):
            blocks += [BasicBlock(norm, last, out, 2 if number else 1), BasicBlock(norm, out, out, 1)]
            last = out
        self.blocks = nn.ModuleList(blocks)

    def forward(self, images: Tensor) -> Tensor:
        h = F.relu(self.stem(images))
        for block in self.blocks:
            h = block(h)
        return F.adaptive_avg_pool2d(h, 1)


def _normalized_convolution(norm: Norm, inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Module:
    return normalized(norm.hidden, he_convolution(inputs, outputs, kernel, stride, mode="fan_out"))
