"""Image sets: loaded from folders, zips and by name, and cut into batches."""

from gan.data.batches import Batch, Batches
from gan.data.datasets import DATASETS
from gan.data.describe import info
from gan.data.image_set import ImageSet
from gan.data.loading import load
from gan.data.packing import pack

__all__ = ["DATASETS", "Batch", "Batches", "ImageSet", "info", "load", "pack"]
