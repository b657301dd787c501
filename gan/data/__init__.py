"""Image sets: loaded from folders, zips and by name, and cut into batches."""

from gan.data.describe import info
from gan.data.imageset import ImageSet
from gan.data.loader import Batch, Batches
from gan.data.loading import load
from gan.data.packing import pack
from gan.data.sources import DATASETS

__all__ = ["DATASETS", "Batch", "Batches", "ImageSet", "info", "load", "pack"]
