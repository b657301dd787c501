"""Training dynamics: gradients, layer means and singular values, sampled while a classifier or a discriminator trains.

`gan.dynamics.callback` samples and writes `dynamics.jsonl`; `gan.dynamics.report` makes figures of it. Every number is
defined in `docs/dynamics.md`. A sample works on a copy of the network, so training does not notice it.
"""
