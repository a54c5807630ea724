"""What the command line takes, and what it says about itself."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from segmenter.export import FORMATS
from segmenter.tasks import TASKS, is_side

DEFAULT_FORMATS = ("mask", "overlay", "csv")
PROGRAM = "python -m segmenter"

TASK_HELP = "what to find: " + ", ".join(TASKS)
EPILOG = f"""\
examples:
  {PROGRAM} predict pets photo.jpg --out results
  {PROGRAM} predict nuclei slides/ "more/**/*.tif" --out results --format all --pixel-size 0.65
  {PROGRAM} predict water tiles/ --out results --format geojson,csv --json
  {PROGRAM} info pets
  {PROGRAM} score cars photo.jpg true-mask.png
"""
PREDICT = """\
Find things in pictures and write masks, overlays and tables into a folder.

Results are called PICTURE-TASK-FORMAT, such as photo-pets-mask.png (photo-pets.csv for csv and geojson,
photo-pets-CLASS.png for classes), in the folders that their pictures have below INPUT. The folder also gets
summary.csv, a table of all pictures in it, and record.jsonl, by which the same command skips what is done when
it runs again: a picture is done again when it has changed, or was done with other weights or options, or when a
result is gone. Pictures that are results themselves are left out.
"""
PREDICT_EPILOG = f"""\
formats:
  mask      PNG whose values are the class ids, shown in colours
  overlay   PNG of the picture with the classes drawn over it
  cutout    PNG of what was found, transparent elsewhere
  classes   black and white PNG of each class
  csv       table of pixels, share and confidence per class
  objects   table of the objects, where the task counts them
  coco      COCO JSON
  geojson   GeoJSON polygons, in map coordinates where the picture is a GeoTIFF
  cvat      zip to import into CVAT

examples:
  {PROGRAM} predict pets photo.jpg --out results
  {PROGRAM} predict nuclei slides/ "more/**/*.tif" --out results --format all --pixel-size 0.65

It ends with 0, with 1 where some pictures failed, and with 2 where the command cannot be run.
"""


class UsageError(ValueError):
    """The command cannot be run as it is; the message is one sentence for people."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message.rstrip('.')}; see {self.prog} --help.")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments of a command line, ``command`` among them; UsageError where they do not fit."""
    parser = _parser()
    found, rest = parser.parse_known_args(argv)
    if rest:  # inputs may stand behind options too, which argparse alone does not see
        if found.command != "predict" or any(word.startswith("-") for word in rest):
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        found.inputs += rest
    return found


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM,
        description="Find pets, water, cell nuclei or cars in pictures.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, about: str, description: str, epilog: str | None = None) -> argparse.ArgumentParser:
        form = argparse.RawDescriptionHelpFormatter
        return commands.add_parser(
            name, help=about, description=description, epilog=epilog, formatter_class=form, allow_abbrev=False
        )

    predict = command("predict", "find things in pictures", PREDICT, PREDICT_EPILOG)
    predict.add_argument("task", metavar="TASK", help=TASK_HELP)
    predict.add_argument(
        "inputs", nargs="+", metavar="INPUT", help='a picture, a folder with all below it, or a pattern like "*.jpg"'
    )
    predict.add_argument("--out", required=True, type=Path, metavar="DIR", help="the folder for the results")
    predict.add_argument(
        "--format",
        type=_formats,
        default=DEFAULT_FORMATS,
        metavar="LIST",
        help=f"what to write, with commas between, or all (default {','.join(DEFAULT_FORMATS)})",
    )
    predict.add_argument("--tta", action="store_true", help="look at mirrored pictures too: a little better and slower")
    predict.add_argument(
        "--pixel-size",
        type=_pixel_size,
        metavar="X",
        help="side of a pixel, in metres for water and micrometres for nuclei; adds areas to the tables (a GeoTIFF "
        "tells its own, where rasterio is installed)",
    )
    predict.add_argument("--force", action="store_true", help="do every picture again")

    info = command("info", "describe the models", "Describe the models: classes, size, scores, sources, licences.")
    info.add_argument("task", nargs="?", metavar="TASK", help=f"{TASK_HELP} (default all)")

    score = command(
        "score",
        "compare a prediction with the true mask",
        "Find things in a picture and compare them with the true mask, class by class.",
    )
    score.add_argument("task", metavar="TASK", help=TASK_HELP)
    score.add_argument("picture", type=Path, metavar="PICTURE", help="a picture")
    score.add_argument(
        "true_mask",
        type=Path,
        metavar="TRUE_MASK",
        help="PNG of class ids, black and white picture, or COCO JSON, of the picture's size",
    )
    for form in (predict, score):
        form.add_argument(
            "--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to run (default auto)"
        )
        form.add_argument("--weights", type=Path, metavar="DIR", help="weights of your own (default weights/TASK)")
    for form in (predict, info, score):
        form.add_argument("--json", action="store_true", help="print JSON for other programs, an object a line")
    return parser


def _formats(text: str) -> tuple[str, ...]:
    names = dict.fromkeys(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in (*FORMATS, "all")]
    if unknown or not names:
        what = f"unknown format {unknown[0]!r}" if unknown else "no format given"
        raise argparse.ArgumentTypeError(f"{what}; choose from {', '.join(FORMATS)} and all")
    return FORMATS if "all" in names else tuple(names)


def _pixel_size(text: str) -> float:
    try:
        size = float(text)
    except ValueError:
        size = math.nan
    if not is_side(size):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no pixel size; give a number from 0.000001 to 1000000, such as 10"
        )
    return size
