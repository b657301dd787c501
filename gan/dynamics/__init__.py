"""Training dynamics: gradients, layer means and singular values, sampled while a classifier or discriminator trains.

`callback` writes samples to `dynamics.jsonl`; `report` draws figures of them. Samples are taken from a copy of the
network, so they do not affect training. `docs/dynamics.md` defines every number.
"""
