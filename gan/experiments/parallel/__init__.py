"""Several trainings of an experiment side by side, each in a process of its own: `--jobs`."""
