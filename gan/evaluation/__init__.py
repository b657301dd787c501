"""Score checkpoints and image sets against real images"""
