"""Generate images from checkpoints: seeded latents, grids, walks, and the files they are written to"""
