"""Scores of generated images: networks that look at them, and metrics on what the networks see."""
