"""Warnings about an evaluation target: its extractor, its colours, and the real images that it is compared with"""

from gan.data.decode import TO_GREY
from gan.data.image_set import ImageSet
from gan.evaluation.options import EvaluationOptions
from gan.evaluation.targets import Target
from gan.metrics.extractor import Extractor
from gan.utils.counted import counted


def target_warnings(
    entry: Target, real: ImageSet | None, extractor: Extractor, options: EvaluationOptions, data: str | None
) -> list[str]:
    """Reasons to doubt the scores of a target, a line each.

    Args:
        real: the real images that it is compared with, if they are images.
        data: their name.
    """
    lines = []
    generated = entry.kind == "checkpoint"
    if extractor.name == "inception":
        from gan.metrics.inception_weights import SHA256  # loads torchvision, which takes a second

        if extractor.hash != SHA256:
            lines.append("not the published Inception weights: compare only with scores of the same weights")
    if not generated and real is not None and (greyed := real.conversions.get(TO_GREY, 0)):
        lines.append(
            f"its images are greyscale, so colour is not scored: {counted(greyed, 'real image')} converted to greyscale"
        )
    if generated and options.data is None and options.split == "train" and real is not None:
        fingerprint = real.whole_fingerprint or real.fingerprint
        if real.pixels is not None and fingerprint != entry.facts["data_fingerprint"]:
            lines.append(f"{data} does not have the images that {entry.name} was trained on")
    return lines
