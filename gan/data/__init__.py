"""Image sets: loading from folders, zips and named datasets, and batches."""

from gan.data.batches import Batch, Batches
from gan.data.datasets import DATASETS
from gan.data.describe import describe_images
from gan.data.image_set import ImageSet
from gan.data.loading import load_images
from gan.data.packing import pack_images

__all__ = ["DATASETS", "Batch", "Batches", "ImageSet", "describe_images", "load_images", "pack_images"]
