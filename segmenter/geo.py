"""Where on Earth a GeoTIFF lies; needs rasterio, which only GeoTIFFs do."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segmenter.deep import ORIENTATION
from segmenter.tasks import is_side

# ModelPixelScale, ModelTiepoint and ModelTransformation (OGC GeoTIFF 1.1, 19-008r4).
GEOTIFF_TAGS = (33550, 33922, 34264)
WGS84_A, WGS84_E2 = 6_378_137.0, 0.00669437999014  # metres; the square of the eccentricity
FARTHEST = {"metres": 1e8, "degrees": 720}  # from where no map begins; PROJ would take hours to come back from there
MAP_STRETCH = 0.01  # UTM and national grids are true to a thousandth or so


class GeoError(ValueError):
    """A GeoTIFF whose place cannot be told; its message is one sentence for people."""


@dataclass(frozen=True)
class Georeference:
    """Pixels to map coordinates: x' = a x + b y + c and y' = d x + e y + f with ``transform`` (a, b, c, d, e, f),
    where (0, 0) is the upper left corner of the first pixel. ``crs`` is a name such as "EPSG:32633" or a WKT, None
    where the file tells none. ``metres`` is the side of a pixel on the ground, or of a square as large as one, None
    where the file does not tell it."""

    transform: tuple[float, float, float, float, float, float]
    crs: str | None
    metres: float | None = None

    def side(self, unit: str) -> float | None:
        """The side of a pixel in a unit of length, None where it is not known in that."""
        return float(f"{self.metres:.6g}") if unit == "m" and is_side(self.metres) else None


def read_georeference(path: str | os.PathLike[str]) -> Georeference | None:
    """The georeference of a GeoTIFF; None for any other file, and for one whose tie points make no affine map.

    Raises GeoError, with one sentence, for a GeoTIFF where rasterio is not installed, cannot read it, or where
    the picture is stored turned, so that its pixels are not those of the map.
    """
    tags = _tiff_tags(path)
    if not any(tag in tags for tag in GEOTIFF_TAGS):
        return None
    name = repr(Path(path).name)
    if tags.get(ORIENTATION, 1) != 1:
        raise GeoError(f"{name} is a GeoTIFF that is stored turned; save it upright, or take it as a plain picture.")
    try:
        import rasterio
    except ImportError as error:
        raise GeoError(
            f"{name} is a GeoTIFF, and map coordinates need rasterio; run pip install -r requirements-geo.txt."
        ) from error
    try:
        with rasterio.open(path, driver="GTiff") as dataset:
            transform, crs = dataset.transform, dataset.crs
            metres = None if transform.is_identity or not crs else _ground_side(dataset)
            name_of_crs = crs.to_string() if crs else None
    except Exception as error:  # besides rasterio's own those of GDAL, and of text that is none
        raise GeoError(f"{name} is a GeoTIFF that rasterio cannot read; save it again from a map program.") from error
    if transform.is_identity:
        return None
    return Georeference(tuple(transform)[:6], name_of_crs, metres)


def _ground_side(dataset: Any) -> float | None:
    """The side in metres of a square as large on the ground as the pixel in the middle of an open GeoTIFF.

    It is what the map says, unless that is in degrees or stretched by more than MAP_STRETCH, as Web Mercator is; then
    it is measured on the WGS 84 ellipsoid.
    """
    crs = dataset.crs
    if not (crs.is_projected or crs.is_geographic):
        return None
    ground = _on_ellipsoid(dataset)
    if not crs.is_projected:
        return ground
    told: float = math.sqrt(abs(dataset.transform.determinant)) * crs.linear_units_factor[1]
    if not 0 < told < math.inf:
        return None
    return told if ground is None or abs(ground / told - 1) < MAP_STRETCH else ground


def _on_ellipsoid(dataset: Any) -> float | None:
    """The side of the middle pixel by its corners' longitudes and latitudes and the ellipsoid's radii of curvature
    (Snyder, Map Projections: A Working Manual, USGS 1395, equations 4-18 and 4-20); None where it is not on Earth, and
    for a CRS that no register holds, as its parameters may be anything."""
    from rasterio.warp import transform

    a, b, c, d, e, f = tuple(dataset.transform)[:6]
    columns, rows = dataset.width // 2 + np.array([0, 1, 0]), dataset.height // 2 + np.array([0, 0, 1])
    corners = np.array([a * columns + b * rows + c, d * columns + e * rows + f])
    crs = dataset.crs
    far = FARTHEST["metres"] / crs.linear_units_factor[1] if crs.is_projected else FARTHEST["degrees"]
    if not (np.abs(corners) <= far).all() or crs.to_authority() is None:
        return None
    try:
        longitudes, latitudes = np.array(transform(crs, "EPSG:4326", *corners))
    except Exception:  # a point that the map does not reach
        return None
    if not (np.abs(latitudes) < 90).all():
        return None
    longitudes = longitudes[0] + (longitudes - longitudes[0] + 180) % 360 - 180  # across the date line
    (east, east_right, east_below), (north, north_right, north_below) = np.radians([longitudes, latitudes])
    curved = 1 - WGS84_E2 * math.sin(north) ** 2
    square_metre = WGS84_A**2 * (1 - WGS84_E2) * math.cos(north) / curved**2  # for each square radian
    square_radians = (east_right - east) * (north_below - north) - (east_below - east) * (north_right - north)
    return math.sqrt(abs(square_radians) * square_metre) or None


def is_geotiff(path: str | os.PathLike[str]) -> bool:
    """Whether a file says that it lies somewhere on a map."""
    return any(tag in GEOTIFF_TAGS for tag in _tiff_tags(path))


def pixel_side(path: str | os.PathLike[str], unit: str) -> float | None:
    """The side of a picture's pixels where ``unit`` is "m" and a GeoTIFF tells it in metres; else None."""
    if unit != "m":
        return None
    try:
        place = read_georeference(path)
    except GeoError:
        return None
    return None if place is None else place.side(unit)


def _tiff_tags(path: str | os.PathLike[str]) -> dict[int, object]:
    """Those of the tags above that a TIFF's first page has, and the value of its orientation; empty for any other
    file. Other values are not read: a hostile one would fill the memory."""
    import tifffile

    try:
        if not Path(path).is_file():  # a pipe would be waited for
            return {}
        with tifffile.TiffFile(path) as tiff:
            codes = [tag.code for tag in tiff.pages[0].tags]
            orientation = tiff.pages[0].tags.get(ORIENTATION)
            found: dict[int, object] = {code: None for code in codes if code in GEOTIFF_TAGS}
            return found if orientation is None else found | {ORIENTATION: orientation.value}
    except Exception:  # no TIFF, damaged, or not to be looked at: the reader of pictures says what is wrong
        return {}
