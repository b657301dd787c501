"""Residual networks of He et al. 2016 (arXiv 1512.03385) with basic blocks, for 32-pixel images

ResNet-18 has a 3x3 stem and no max pool instead of the 7x7 stem for ImageNet. ResNet-20 is the paper's network for
CIFAR-10 (section 4.2), with a 1x1 convolution (option B) where a shortcut changes its size.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from gan.models.blocks import he_convolution, normalized
from gan.norm import Norm

RESNET18 = ((64, 128, 256, 512), 2)  # channels of the stages, blocks of each
RESNET20 = ((16, 32, 64), 3)


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


class ResNet(nn.Module):
    """Images (N, channels, R, R) to maps (N, stages[-1], 1, 1), averaged over all positions.

    Args:
        stages: channels of each stage; all but the first halve the map.
        blocks: basic blocks of each stage.
        norm: follows every convolution.
        channels: channels of the images.
    """

    def __init__(self, stages: Sequence[int], blocks: int, norm: Norm, channels: int) -> None:
        super().__init__()
        self.stem = _normalized_convolution(norm, channels, stages[0], 3)
        self.blocks = nn.ModuleList()
        last = stages[0]
        for stage, out in enumerate(stages):
            for block in range(blocks):
                self.blocks.append(BasicBlock(norm, last, out, stride=2 if stage and not block else 1))
                last = out

    def forward(self, images: Tensor) -> Tensor:
        h = F.relu(self.stem(images))
        for block in self.blocks:
            h = block(h)
        return F.adaptive_avg_pool2d(h, 1)


def _normalized_convolution(norm: Norm, inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Module:
    return normalized(norm.hidden, he_convolution(inputs, outputs, kernel, stride, mode="fan_out"))
