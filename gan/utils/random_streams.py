"""Random streams: random numbers as a function of the seed and a key."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

# First keys of `random_stream`, one for each use of random numbers. Saved runs depend on the numbers.
WEIGHTS, LATENTS, INTERPOLATION, SAMPLES, ORDER, FLIPS, CROPS, AUGMENTATION, PART, TUNING, DRAWS, COPIES = range(12)
FID_INFINITY, STANDING = 12, 13


_seeding = threading.RLock()  # two threads that build networks would draw from each other's stream


@contextmanager
def seeded_globally(seed: int) -> Iterator[None]:
    """Seed torch's global random stream of the CPU, from which layers draw their weights, and restore it at the end."""
    with _seeding, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def random_stream(seed: int, *key: int) -> torch.Generator:
    """A CPU random generator that is a function of the seed and the key (a stream number, a step, an index) alone.

    Streams of different keys are independent (numpy's SeedSequence mixes them), so that the numbers of any step can be
    drawn without those of earlier steps.
    """
    state = np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state))
