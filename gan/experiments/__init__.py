"""Experiments of several trainings: `compare` and `classify`."""
