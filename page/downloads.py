"""A result as files to take away; nothing is made before it is asked for."""

from __future__ import annotations

from dataclasses import replace

import gradio as gr
import numpy as np

from page.given import Given
from page.pictures import MODES, Look, draw, folder
from page.view import View
from segmenter import Segmentation
from segmenter.export import FORMATS, save, zip_all
from segmenter.geo import GeoError, Georeference, read_georeference
from segmenter.tasks import is_side

# What the buttons say, in their order. "all" is everything in one zip.
BUTTONS = {
    "all": "Everything (zip)",
    "mask": "Mask PNG",
    "overlay": "Overlay PNG",
    "cutout": "Cut-out PNG",
    "classes": "Classes, black and white",
    "csv": "Table CSV",
    "objects": "Objects CSV",
    "coco": "COCO JSON",
    "geojson": "GeoJSON",
    "cvat": "CVAT zip",
}


def make(view: View, name: str, look: Look, pixel_size: float | None = None) -> str:
    """Write one of BUTTONS of a view as ``write`` does, the overlay as it is looked at. ImageError where the picture
    is gone."""
    result = view.result()
    drawn = None
    if name in ("all", "overlay"):
        drawn = draw(replace(view, shown=result), look._replace(mode=MODES[0]))
    return write(result, view.source, name, pixel_size, drawn)


def write(
    result: Segmentation,
    picture: Given,
    name: str,
    pixel_size: float | None = None,
    drawn: np.ndarray | None = None,
) -> str:
    """Write one of BUTTONS of a result; returns the path of its file, which is named after the ``picture``.

    GeoJSON is in map coordinates where the picture is a GeoTIFF. ``drawn`` is as in ``segmenter.export.save``.
    """
    task = result.task
    pixel_size = pixel_size if task.length_unit and is_side(pixel_size) else None
    formats = FORMATS if name == "all" else (name,)
    place = georeference(picture.path) if "geojson" in formats else None
    transform, crs = (None, None) if place is None else (place.transform, place.crs)
    stem, target = picture.stem, folder()
    told = (pixel_size, transform, crs, picture.name, drawn)
    if name in ("all", "classes"):
        path = target / f"{stem}-{task.name}{'' if name == 'all' else '-classes'}.zip"
        path.write_bytes(zip_all(result, stem, formats, *told))
        return str(path)
    return str(save(result, target, stem, formats, *told)[0])


def georeference(path: str) -> Georeference | None:
    """Where a picture lies; where a GeoTIFF does not tell, that is said and pixels are taken."""
    try:
        return read_georeference(path)
    except GeoError as error:
        gr.Warning(f"{error} The GeoJSON is in pixels.")
        return None
