"""msn-gan: train GANs under spectral and mean spectral normalization, sample from them, and compare them fairly."""

__version__ = "0.1.0"
