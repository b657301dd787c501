"""Image sets that are kept in the memory of a GPU."""

import torch
from torch import Tensor

from gan.data.image_set import ImageSet
from gan.utils.progress import say


def pixels_on_gpu(images: ImageSet, device: torch.device, *, share: float) -> Tensor | None:
    """Copy all pixels of a set to a CUDA device: uint8 (N, C, R, R).

    Args:
        share: the largest part of the GPU's free memory that the set may take.

    Returns:
        None if the device is no GPU, or the set is streamed from disk or too large.
    """
    if device.type != "cuda" or images.pixels is None:
        return None
    free, _ = torch.cuda.mem_get_info(device)
    size = images.pixels.nbytes
    if size > share * free:
        say(f"{images.name}: {size / 1e9:.1f} GB of images stay in main memory; the GPU has {free / 1e9:.1f} GB free")
        return None
    return images.pixels.to(device)
