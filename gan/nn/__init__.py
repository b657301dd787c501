"""Convolutions, GAN losses and differentiable augmentation."""
