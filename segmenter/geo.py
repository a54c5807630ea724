"""Where on Earth a GeoTIFF lies; needs rasterio, which only GeoTIFFs do."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

# ModelPixelScale, ModelTiepoint and ModelTransformation (OGC GeoTIFF 1.1, 19-008r4).
GEOTIFF_TAGS = (33550, 33922, 34264)
ORIENTATION = 274  # of TIFF 6.0; 1 is upright


class GeoError(ValueError):
    """A GeoTIFF whose place cannot be told; its message is one sentence for people."""


@dataclass(frozen=True)
class Georeference:
    """Pixels to map coordinates: x' = a x + b y + c and y' = d x + e y + f with ``transform`` (a, b, c, d, e, f),
    where (0, 0) is the upper left corner of the first pixel. ``crs`` is a name such as "EPSG:32633" or a WKT, None
    where the file tells none. ``metres`` is the side of a pixel, or of a square as large as one, None where the map
    is in degrees or in nothing known."""

    transform: tuple[float, float, float, float, float, float]
    crs: str | None
    metres: float | None = None

    def side(self, unit: str) -> float | None:
        """The side of a pixel in a unit of length, None where it is not known in that."""
        return None if unit != "m" or self.metres is None else round(self.metres, 4)


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
    except rasterio.errors.RasterioError as error:
        raise GeoError(f"{name} is a GeoTIFF that rasterio cannot read; save it again from a map program.") from error
    if transform.is_identity:
        return None
    side = math.sqrt(abs(transform.determinant))
    metres = side * crs.linear_units_factor[1] if crs and crs.is_projected else None
    return Georeference(tuple(transform)[:6], crs.to_string() if crs else None, metres)


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
        with tifffile.TiffFile(path) as tiff:
            codes = [tag.code for tag in tiff.pages[0].tags]
            orientation = tiff.pages[0].tags.get(ORIENTATION)
            found: dict[int, object] = {code: None for code in codes if code in GEOTIFF_TAGS}
            return found if orientation is None else found | {ORIENTATION: orientation.value}
    except Exception:  # no TIFF, or a damaged one: the reader of pictures says what is wrong with it
        return {}
