"""The endpoints for programs. Gradio reads their documentation from the docstrings, one line for a parameter or a
returned value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.data_classes import FileData, GradioRootModel
from gradio.processing_utils import save_base64_to_cache

from page import batch, downloads, words
from page.desk import is_abandoned
from page.given import Given, GradioFile, given, uploads
from page.log import logged, note
from page.models import segmenter_for, suggest_for
from page.pictures import folder, save
from segmenter import TASKS, ImageError, Segmentation, WeightsError
from segmenter.draw import overlay
from segmenter.export import FORMATS, mask_image
from segmenter.geo import pixel_side
from segmenter.measure import area
from segmenter.scoring import ScoreError, error_map, error_picture, read_true_mask
from segmenter.scoring import score as compare
from segmenter.tasks import Task, get_task

LONGEST_JPEG = 65_500  # pixels


class GivenFiles(GradioRootModel):
    """What comes for several files: Gradio's records, and from MCP clients data: addresses, which Gradio turns into
    files everywhere but in a list. Its schema says in place what a file is, as there it follows no reference either."""

    root: list[FileData | str]

    @classmethod
    def model_json_schema(cls, *arguments: Any, **options: Any) -> dict[str, Any]:
        file = FileData.model_json_schema(*arguments, **options)
        file["properties"]["meta"] = file.pop("$defs")["FileDataMeta"]
        return {"type": "array", "items": file}


@contextmanager
def refusals(*others: type[Exception]) -> Iterator[None]:
    """What a user can mend becomes one sentence for them, ``others`` too; a bug stays a bug."""
    try:
        yield
    except (ImageError, ScoreError, batch.BatchError, WeightsError, MemoryError, *others) as error:
        raise gr.Error(words.complaint(error), print_exception=False) from error


@logged("segment")
def segment(
    task: str, picture: GradioFile | None, formats: Sequence[str] = (), pixel_size: float | None = None
) -> tuple[str, str, list[words.Row], dict[str, Any], list[str]]:
    """Segment one picture.

    Args:
        task: What to find: "pets", "water", "nuclei" or "cars".
        picture: A picture file (JPEG, PNG, WebP, BMP, GIF or TIFF); over MCP a data: address of at most 4 MB.
        formats: Files to make besides: any of mask, overlay, cutout, classes, csv, objects, coco, geojson, cvat.
        pixel_size: The side of a pixel, for areas: in µm for nuclei, in m for water (with rasterio, GeoTIFFs tell it).

    Returns:
        The overlay as a JPEG at the picture's own size, a PNG where it is longer than a JPEG can be
        the class ids as an indexed PNG of that size
        one row per class of class, color, pixels, percent and mean_confidence
        a record of sentence, objects (null where none are counted), notice (null unless the picture is strange), area
        the files of the formats asked for
    """
    known = _task(task)
    unknown = [name for name in formats or () if name not in FORMATS]
    if unknown:
        raise gr.Error(f"Unknown format {unknown[0]!r}; choose among {', '.join(FORMATS)}.", print_exception=False)
    if "objects" in (formats or ()) and not known.has_objects:
        raise gr.Error(f"{known.title} are not counted; leave the format 'objects' out.", print_exception=False)
    if pixel_size is not None:
        with refusals(ValueError):
            area(0, pixel_size, known)
    with refusals():
        source = _given(picture, "picture")
        result = segmenter_for(task).predict(source.path, is_abandoned)
        size = result.class_ids.shape
        note(task=task, size=size)
        if pixel_size is None:
            pixel_size = pixel_side(source.path, known.length_unit)
        stem = f"{source.stem}-{task}"
        return (
            save(overlay(result), f"{stem}-overlay.{'jpg' if max(size) <= LONGEST_JPEG else 'png'}"),
            save(mask_image(result), f"{stem}-mask.png"),
            words.rows(result.stats()),
            _facts(result, pixel_size),
            [downloads.write(result, source, name, pixel_size) for name in FORMATS if name in (formats or ())],
        )


@logged("segment_batch")
def segment_batch(task: str, pictures: Sequence[GradioFile | str] | None) -> tuple[str, list[dict[str, Any]]]:
    """Segment many pictures; a broken one does not stop the others.

    Args:
        task: What to find: "pets", "water", "nuclei" or "cars".
        pictures: Pictures, zips of them, or both: 1,000 and 2 GB unpacked; over MCP data: addresses, 4 MB in all.

    Returns:
        A zip with a mask and an overlay of each picture and the table stats.csv
        one row per picture of picture, problem (null where there is none), sentence, notice, objects, mask and overlay
    """
    known = _task(task)
    with refusals(ValueError):
        files = uploads([_filed(number, file) for number, file in enumerate(pictures or (), 1)])
    with refusals():
        segmenter_for(task)  # missing weights are no fault of the first picture
        found = batch.entries(files)
        note(task=task, pictures=len(found))
        target = folder() / f"segmented-{task}.zip"
        rows = list(batch.run(found, known, target, is_abandoned))
        if is_abandoned():
            target.unlink()
            note(outcome="cancelled")
    return str(target), [
        {
            "picture": row.name,
            "problem": row.problem,
            "sentence": row.said or None,
            "notice": row.notice,
            "objects": row.count,
            "mask": row.mask or None,
            "overlay": row.overlay or None,
        }
        for row in rows
    ]


@logged("score")
def score(task: str, picture: GradioFile | None, true_mask: GradioFile | None) -> tuple[dict[str, Any], str]:
    """Compare what a model finds in a picture with the truth.

    Args:
        task: What to find: "pets", "water", "nuclei" or "cars".
        picture: A picture file; over MCP a data: address.
        true_mask: A PNG of class ids (255 is ignored), a black and white picture, or COCO JSON; over MCP as above.

    Returns:
        A record of mean_iou, foreground_iou, pixel_accuracy, boundary_f, iou and dice per class, confusion, ignored
        a picture of the errors
    """
    known = _task(task)
    image, truth = _given(picture, "picture"), _given(true_mask, "true mask")
    with refusals():
        result = segmenter_for(task).predict(image.path, is_abandoned)
        note(task=task, size=result.class_ids.shape)
        true_ids = read_true_mask(truth.path, known, result.class_ids.shape, image.name)
        found = compare(result.class_ids, true_ids, known)
        drawn = error_picture(result.image, error_map(result.class_ids, true_ids))
    return found.plain(), save(drawn, f"{image.stem}-{task}-errors.png")


@logged("suggest")
def suggest(picture: GradioFile | None) -> dict[str, Any]:
    """Say which model fits a picture.

    Args:
        picture: A picture file; over MCP a data: address of at most 4 MB.

    Returns:
        A record of task (null where none fits), reason in one sentence, familiarity (log-odds) by task
    """
    source = _given(picture, "picture")
    with refusals():
        found = suggest_for(source.path)
    return {"task": found.task, "reason": found.reason, "familiarity": found.familiarity}


def add_endpoints(settings: Mapping[str, Any]) -> None:
    """Give the open Blocks the endpoints; ``settings`` are those of every event that runs a network once."""

    def task() -> gr.Radio:
        return gr.Radio(list(TASKS), label="Task", visible=False)

    def file(label: str) -> gr.File:
        return gr.File(label=label, visible=False)

    def record(label: str) -> gr.JSON:
        return gr.JSON(label=label, visible=False)

    formats = gr.CheckboxGroup(list(FORMATS), value=[], label="Formats", visible=False)
    pixel_size = gr.Number(None, label="Pixel size", visible=False)
    overlaid = gr.Image(label="Overlay", visible=False)
    files = gr.File(file_count="multiple", label="Files", visible=False)
    pictures = gr.File(file_count="multiple", label="Pictures", visible=False)
    pictures.data_model = GivenFiles
    errors = gr.Image(label="Errors", visible=False)
    endpoints = (
        (segment, [task(), file("Picture"), formats, pixel_size],
         [overlaid, file("Mask"), record("Classes"), record("Facts"), files]),
        (segment_batch, [task(), pictures], [file("Results"), record("Rows")]),
        (score, [task(), file("Picture"), file("True mask")], [record("Scores"), errors]),
        (suggest, [file("Picture")], [record("Suggestion")]),
    )  # fmt: skip
    for function, inputs, outputs in endpoints:
        lane = batch.LANE if function is segment_batch else settings
        gr.on([], function, inputs, outputs, preprocess=False, api_name=function.__name__, **lane)


def _task(name: str) -> Task:
    with refusals(ValueError):
        return get_task(name)


def _given(file: GradioFile | None, what: str) -> Given:
    if not file:
        raise gr.Error(f"There is no {what}; give a {what} file.", print_exception=False)
    return given(file)


def _filed(number: int, file: GradioFile | str) -> GradioFile:
    """A picture of a list as Gradio records it. ValueError for text that is no file."""
    if not isinstance(file, str):
        return file
    if not file.startswith("data:"):
        raise ValueError(f"Picture {number} is no file; upload it, or give it whole as a data: address.")
    try:
        path = save_base64_to_cache(file, str(folder()))
    except ValueError:
        raise ValueError(f"Picture {number} is a broken data: address; encode the file in base64.") from None
    return {"path": path, "orig_name": f"{number}{Path(path).suffix}"}


def _facts(result: Segmentation, pixel_size: float | None) -> dict[str, Any]:
    areas = words.areas(result)
    return {
        "sentence": words.sentence(result.stats(), result.task, areas, pixel_size),
        "objects": None if areas is None else len(areas),
        "notice": result.notice,
        "area": words.extent(np.count_nonzero(result.class_ids), pixel_size, result.task) or None,
    }
