"""The downloads of the Segment tab: their names, and that they are what they should be."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from page_fakes import LOOKS, FakeSegmenter, given
from PIL import Image

from page import downloads, handlers, view
from page.desk import Desk
from page.given import Given
from segmenter import TASKS

pytest_plugins = ["page_fakes"]

Open = Callable[..., handlers.Page]


def test_every_download_is_named_after_the_upload(page: Open) -> None:
    held = page("nuclei").view
    names = {name: Path(handlers.on_download(name, held, None, *LOOKS)).name for name in downloads.BUTTONS}
    assert names == {
        "all": "grey-nuclei.zip",
        "mask": "grey-nuclei-mask.png",
        "overlay": "grey-nuclei-overlay.png",
        "cutout": "grey-nuclei-cutout.png",
        "classes": "grey-nuclei-classes.zip",
        "csv": "grey-nuclei.csv",
        "objects": "grey-nuclei-objects.csv",
        "coco": "grey-nuclei-coco.json",
        "geojson": "grey-nuclei.geojson",
        "cvat": "grey-nuclei-cvat.zip",
    }


def test_the_zip_holds_every_file(page: Open) -> None:
    for task, count in (("nuclei", 10), ("cars", 9)):  # two classes; cars are not counted
        with zipfile.ZipFile(handlers.on_download("all", page(task).view, None, *LOOKS)) as archive:
            assert len(archive.namelist()) == count and archive.testzip() is None


def test_the_downloaded_mask_is_the_mask(page: Open) -> None:
    mask = Image.open(handlers.on_download("mask", page("cars").view, None, *LOOKS))
    assert mask.mode == "P" and mask.size == (60, 40) and np.asarray(mask).sum() == 600


@pytest.mark.parametrize("name", ["all", "overlay"])
def test_the_overlay_is_as_it_is_looked_at(page: Open, name: str) -> None:
    """At the picture's own size, whatever else is shown at the time."""
    held = page("cars").view
    for looks, inside in (
        (("Mask", "Fill", 0, ["car"], "car"), (100, 100, 100)),
        (("Mask", "Fill", 100, ["car"], "car"), TASKS["cars"].classes[1].color),
        (("Overlay", "Fill", 100, [], "car"), (100, 100, 100)),
        (("Overlay", "Outline", 100, ["car"], "car"), (100, 100, 100)),
    ):
        path = Path(handlers.on_download(name, held, None, *looks))
        if name == "all":
            with zipfile.ZipFile(path) as archive:
                data = archive.read("grey-cars-overlay.png")
        else:
            data = path.read_bytes()
        drawn = Image.open(io.BytesIO(data))
        assert drawn.size == (60, 40) and drawn.getpixel((30, 4)) == inside


def test_files_keep_the_name_that_the_visitor_gave(fakes: dict[str, FakeSegmenter], picture: Path) -> None:
    """Gradio drops some characters in the path."""
    held = handlers.on_upload({"path": str(picture), "orig_name": "my {cat} $1.jpg"}, "cars", Desk(), *LOOKS).view
    path = Path(handlers.on_download("coco", held, None, *LOOKS))
    assert path.name == "my {cat} $1-cars-coco.json"
    assert json.loads(path.read_text())["images"][0]["file_name"] == "my {cat} $1.jpg"
    with zipfile.ZipFile(handlers.on_download("cvat", held, None, *LOOKS)) as archive:
        assert "SegmentationClass/my {cat} $1.png" in archive.namelist()


def test_the_table_has_areas_where_pixels_have_a_size(page: Open) -> None:
    text = Path(handlers.on_download("csv", page("water").view, 10.0, *LOOKS)).read_text("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert float(rows[1]["area (ha)"]) == 6.0
    for task, size in (("water", 0.0), ("water", None), ("pets", 10.0)):
        assert "area (" not in Path(handlers.on_download("csv", page(task).view, size, *LOOKS)).read_text("utf-8-sig")


def test_a_geotiff_gives_map_coordinates(fakes: dict[str, FakeSegmenter], tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    path = tmp_path / "scene.tif"
    place = rasterio.transform.from_origin(500_000, 4_000_000, 10, 10)
    profile = {"driver": "GTiff", "height": 40, "width": 60, "count": 3, "dtype": "uint8", "crs": "EPSG:32633"}
    with rasterio.open(path, "w", transform=place, **profile) as dataset:
        dataset.write(np.full((3, 40, 60), 100, np.uint8))
    held = handlers.on_upload(given(path), "water", Desk(), *LOOKS).view
    collection = json.loads(Path(handlers.on_download("geojson", held, 10.0, *LOOKS)).read_text())
    corners = {tuple(point) for point in collection["features"][0]["geometry"]["coordinates"][0]}
    assert corners == {(500_000, 4_000_000), (500_600, 4_000_000), (500_600, 3_999_900), (500_000, 3_999_900)}
    assert "32633" in json.dumps(collection["crs"])


def test_a_picture_that_is_gone_is_said(fakes: dict[str, FakeSegmenter], tmp_path: Path) -> None:
    path = tmp_path / "long.png"
    Image.new("RGB", (2001, 10)).save(path)
    held = view.look(Given(str(path), path.name), "cars")
    path.unlink()
    with pytest.raises(gr.Error, match=re.escape("'long.png' cannot be read")):
        handlers.on_download("mask", held, None, *LOOKS)
