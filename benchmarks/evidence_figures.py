"""Draw the figures of docs/results/normalizations.md from what evidence.py has kept

    python benchmarks/evidence_figures.py --keep docs/results/evidence --samples samples/evidence

In the root of the clone. Writes `normalizations-fid.svg`, the mean FID of each arm over the real images seen, and
`normalizations-grids.png`, generated images of one seed by each arm, all from the same latents. The grids in --samples
are those that the trainings wrote; without them only the chart is drawn.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evidence import ARMS, read_kept
from PIL import Image, ImageDraw

from gan.errors import UserError
from gan.experiments.report_parts import mean_lines
from gan.report.charts import SERIES, line_chart, standalone_svg
from gan.utils.files import atomic_write

_TILE = 33  # pixels of an image of 32 and its margin
_ROWS = 4  # of images of each arm
_LABEL = 14  # pixels above them
_COLUMNS = 3  # arms beside each other
_GAP = 8


def main(arguments: Sequence[str] | None = None) -> None:
    """Run with these command-line arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, required=True, help="folder of the JSON files")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS, metavar="ARM", help=", ".join(ARMS))
    parser.add_argument("--samples", type=Path, help="folder of the sample grids of the trainings")
    parser.add_argument("--seed", type=int, default=1, help="seed of the trainings whose images are shown")
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder of the figures")
    flags = parser.parse_args(arguments)
    try:
        found = read_kept(flags.keep, flags.arms)
        chart, montage = fid_chart(found), grids(found, flags.samples, flags.seed) if flags.samples else None
        with atomic_write(flags.out / "normalizations-fid.svg") as opened:
            opened.write(chart.encode())
        if montage:
            montage.save(flags.out / "normalizations-grids.png", optimize=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def fid_chart(found: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> str:
    """The mean FID over seeds of as many arms as there are colours, with its interval, as an <svg> element on white."""
    results = [kept["training"] for trainings in found.values() for kept in trainings.values()]
    complete = [result for result in results if result["final"]]
    lines = mean_lines(list(found)[: len(SERIES)], complete, "curve", "fid", at="step", x="images")
    svg = line_chart("FID by images", lines, "real images seen", "lower", "FID").svg
    assert svg
    return standalone_svg(svg)


def grids(arms: Iterable[str], samples: Path, seed: int) -> Image.Image:
    """The first rows of the newest sample grid of each arm, side by side.

    Raises:
        UserError: an arm has none.
    """
    shown = []
    for arm in arms:
        files = sorted((samples / f"{arm}-seed{seed}").glob("step-*.png"))
        if not files:
            raise UserError(f"--samples {samples}: has no sample grid of {arm}-seed{seed}")
        with Image.open(files[-1]) as grid:
            shown.append((arm, grid.convert("RGB").crop((0, 0, grid.width, _ROWS * _TILE + 1))))
    width, height = shown[0][1].size
    rows = -(-len(shown) // _COLUMNS)
    canvas = Image.new(
        "RGB", (_COLUMNS * (width + _GAP) - _GAP, rows * (height + _LABEL + _GAP) - _GAP), (255, 255, 255)
    )
    draw = ImageDraw.Draw(canvas)
    for number, (arm, image) in enumerate(shown):
        x, y = number % _COLUMNS * (width + _GAP), number // _COLUMNS * (height + _LABEL + _GAP)
        draw.text((x + 2, y + 1), arm, fill=(0, 0, 0))
        canvas.paste(image, (x, y + _LABEL))
    return canvas


if __name__ == "__main__":
    main()
