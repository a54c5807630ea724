import os
import sys

import numpy as np
import pytest
import rasterio
import tifffile
from PIL import Image
from rasterio.control import GroundControlPoint
from rasterio.transform import Affine

from segmenter.geo import GeoError, Georeference, is_geotiff, pixel_side, read_georeference

NORTH_UP = (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_600_000.0)
TURNED = (3.0, -4.0, 500_000.0, 4.0, 3.0, 5_600_000.0)


def write(path, bands=3, dtype="uint8", **options):
    with rasterio.open(path, "w", driver="GTiff", height=4, width=5, count=bands, dtype=dtype, **options) as dataset:
        dataset.write(np.zeros((bands, 4, 5), dtype))
    return path


@pytest.mark.parametrize("transform", [NORTH_UP, TURNED])
def test_georeference(tmp_path, transform):
    """Scale and tie point make up the first, a matrix the second."""
    path = write(tmp_path / "lake.tif", transform=Affine(*transform), crs="EPSG:32633")
    found = read_georeference(path)
    assert (found.transform, found.crs) == (transform, "EPSG:32633")
    assert read_georeference(str(path)) == found


@pytest.mark.parametrize(
    ("transform", "crs", "metres"),
    [
        ((20, 0, 500000, 0, -20, 4600000), "EPSG:32633", 20),
        ((0, 20, 500000, -20, 0, 4600000), "EPSG:32633", 20),  # turned by a quarter
        ((40, 0, 500000, 0, -10, 4600000), "EPSG:32633", 20),  # as large as a square of 20 m
        ((100, 0, 2000000, 0, -100, 700000), "EPSG:2263", 100 * 1200 / 3937),  # US survey feet
        ((10, 0, 4000000, 0, -10, 8399757), "EPSG:3857", 5.008),  # Web Mercator at 60 degrees north
        ((0.0001, 0, 12, 0, -0.0001, 0), "EPSG:4326", 11.0950),  # 111.320 by 110.574 m are 0.001 degrees there
        ((0.0001, 0, 12, 0, -0.0001, 60), "EPSG:4326", 7.8850),  # 55.800 by 111.412 m
        ((0.0001, 0, 12, 0, -0.0001, 91), "EPSG:4326", None),  # not on Earth
        ((0.0001, 0, 179.9998, 0, -0.0001, 0), "EPSG:4326", 11.0950),  # across the date line
        ((1e-5, 0, 500000, 0, -1e-5, 4600000), "EPSG:32633", 1e-5),
        ((20, 0, 500000, 0, -20, 4600000), None, None),
        ((1000, 0, -17900000, 0, -1000, 8900000), "ESRI:54009", 1000),  # a corner beyond the oval of Mollweide's world
        ((10, 0, 1e17, 0, -10, 0), "EPSG:3857", 10),  # from there PROJ comes back after hours
        ((10, 0, 2.9e48, 0, -10, 0), "EPSG:4326", None),
        ((10, 0, 0, 0, -10, 0), "+proj=merc +a=1e-9 +b=1e-9", 10),
    ],
)
def test_the_side_of_a_pixel(tmp_path, transform, crs, metres):
    found = read_georeference(write(tmp_path / "lake.tif", transform=Affine(*transform), crs=crs))
    assert found.metres == (None if metres is None else pytest.approx(metres, rel=1e-4))
    assert found.side("m") == (None if metres is None else pytest.approx(metres, rel=1e-4))


def test_many_deep_bands_in_a_big_tiff(tmp_path):
    """What satellites send, and Pillow does not open."""
    path = write(tmp_path / "s2.tif", 13, "uint16", transform=Affine(*NORTH_UP), crs="EPSG:4326", BIGTIFF="YES")
    assert read_georeference(path) == Georeference(NORTH_UP, "EPSG:4326")


def test_a_map_without_a_crs(tmp_path):
    assert read_georeference(write(tmp_path / "a.tif", transform=Affine(*NORTH_UP))) == Georeference(NORTH_UP, None)


def test_a_crs_without_a_code_is_a_wkt(tmp_path):
    crs = "+proj=laea +lat_0=10 +lon_0=20 +datum=WGS84"
    found = read_georeference(write(tmp_path / "a.tif", transform=Affine(*NORTH_UP), crs=crs))
    assert found.crs.startswith("PROJCS[")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_other_files_have_none(tmp_path):
    assert read_georeference(write(tmp_path / "plain.tif")) is None
    picture = tmp_path / "photo.png"
    Image.new("RGB", (3, 2)).save(picture)
    assert read_georeference(picture) is None
    text = tmp_path / "notes.tif"
    text.write_bytes(b"II*\0 not a picture")
    assert read_georeference(text) is None
    assert read_georeference(tmp_path / "missing.tif") is None


def test_tie_points_alone_are_no_affine_map(tmp_path):
    points = [GroundControlPoint(row, column, 10 * column, row**2) for row, column in ((0, 0), (0, 4), (3, 0), (3, 4))]
    assert read_georeference(write(tmp_path / "a.tif", gcps=points, crs="EPSG:32633")) is None


@pytest.mark.parametrize(("crs", "expected"), [("EPSG:32633", 20.0), (None, None)])
def test_the_side_of_a_pixel_in_metres(tmp_path, crs, expected):
    path = write(tmp_path / "lake.tif", transform=Affine(20, 0, 50, 0, -20, 40), crs=crs)
    assert is_geotiff(path)
    assert pixel_side(path, "m") == expected
    assert pixel_side(path, "µm") is pixel_side(path, "") is None


def test_the_side_of_a_pixel_is_unknown_where_the_place_is(tmp_path, monkeypatch):
    path = write(tmp_path / "lake.tif", transform=Affine(*NORTH_UP), crs="EPSG:32633")
    Image.new("RGB", (3, 2)).save(tmp_path / "photo.png")
    assert not is_geotiff(tmp_path / "photo.png")
    assert pixel_side(tmp_path / "photo.png", "m") is None
    monkeypatch.setitem(sys.modules, "rasterio", None)
    assert pixel_side(path, "m") is None


def test_without_rasterio(tmp_path, monkeypatch, refusal):
    path = write(tmp_path / "lake.tif", transform=Affine(*NORTH_UP), crs="EPSG:32633")
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with refusal(GeoError, "lake.tif", "pip install -r requirements-geo.txt"):
        read_georeference(path)


def test_without_rasterio_other_pictures_are_read(tmp_path, monkeypatch):
    picture = tmp_path / "photo.tif"
    Image.new("RGB", (3, 2)).save(picture)
    monkeypatch.setitem(sys.modules, "rasterio", None)
    assert read_georeference(picture) is None


def geotiff(path, *more):
    """A GeoTIFF written tag by tag."""
    tags = [(33550, "d", 3, (10.0, 10.0, 0.0), True), (33922, "d", 6, (0.0, 0.0, 0.0, 5.0, 6.0, 0.0), True), *more]
    tifffile.imwrite(path, np.zeros((4, 5), np.uint8), extratags=tags)
    return path


def test_a_picture_that_is_stored_turned(tmp_path, refusal):
    assert read_georeference(geotiff(tmp_path / "a.tif")) == Georeference((10.0, 0.0, 5.0, 0.0, -10.0, 6.0), None)
    assert read_georeference(geotiff(tmp_path / "b.tif", (274, "H", 1, 1, True))) is not None
    with refusal(GeoError, "c.tif", "stored turned"):
        read_georeference(geotiff(tmp_path / "c.tif", (274, "H", 1, 6, True)))


@pytest.mark.parametrize(
    "error", [rasterio.errors.RasterioIOError("broken"), UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "")]
)
def test_a_geotiff_that_rasterio_cannot_read(tmp_path, monkeypatch, refusal, error):
    def refuse(*args, **options):
        raise error

    path = geotiff(tmp_path / "lake.tif")
    monkeypatch.setattr(rasterio, "open", refuse)
    with refusal(GeoError, "lake.tif", "cannot read"):
        read_georeference(path)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "lake.tif")
    assert not is_geotiff(tmp_path / "lake.tif")
