"""Feature statistics of an image set as a file: `data stats`"""

from pathlib import Path

from gan.data.loading import load_images
from gan.errors import UsageError
from gan.evaluation.image_streams import image_set_stream
from gan.metrics.extractor import ExtractorOptions
from gan.metrics.reference import Reference, save_statistics
from gan.metrics.score import measure_reference
from gan.utils.files import require_new, require_writable


def write_statistics(
    data: str,
    out: Path,
    extractor_options: ExtractorOptions,
    *,
    resolution: int,
    channels: int = 3,
    data_root: Path = Path("data"),
    split: str = "train",
    skip_bad_images: bool = False,
    overwrite: bool = False,
) -> Reference:
    """Write the feature statistics of an image set as npz, in the form that `--ref` and pytorch-fid read.

    Args (the others as for `load_images`):
        overwrite: replace `out` if it exists.

    Raises:
        UsageError, UserError: the images cannot be scored, `out` exists, or its folder cannot be written to.
        OSError: `out` itself cannot be written; no partial file is left.
    """
    from gan.metrics.extractors import create_extractor  # loads torchvision, which takes a second

    if out.suffix != ".npz":
        raise UsageError(f"--out {out}: must end in .npz")
    require_new(out, "--out", overwrite=overwrite)
    require_writable(out.parent, "--out")
    extractor = create_extractor(extractor_options, data)
    images = load_images(
        data,
        resolution=resolution,
        channels=channels,
        data_root=data_root,
        split=split,
        strict_split=True,
        skip_bad_images=skip_bad_images,
    )
    reference = measure_reference(image_set_stream(images, data, split), extractor)
    save_statistics(out, reference)
    return reference
