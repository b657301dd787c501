"""Parts of image sets; their images are tested with classifiers."""

from __future__ import annotations

import dataclasses

import torch


def test_a_part_knows_its_conversions_and_the_whole_set(image_set) -> None:
    images = dataclasses.replace(image_set(24), conversions={"resized": 24, "converted to RGB": 5})
    part = images.part(torch.arange(10))
    assert part.conversions == {"resized": 10}  # of the 5, it is unknown how many are in the part
    again = part.part(torch.arange(4))
    assert part.whole_fingerprint == again.whole_fingerprint == images.fingerprint != part.fingerprint
    assert again.conversions == {"resized": 4} and images.whole_fingerprint is None
