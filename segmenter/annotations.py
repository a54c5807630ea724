"""A result as annotations: dictionaries in the formats COCO and GeoJSON."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from segmenter.contours import rings, run_lengths
from segmenter.measure import Region, regions
from segmenter.result import Segmentation

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
LONGITUDE_LATITUDE = "urn:ogc:def:crs:OGC:1.3:CRS84"  # EPSG:4326 in the order x, y, as RFC 7946 has it


def to_coco(result: Segmentation, file_name: str = "image", polygons: bool = True) -> dict[str, Any]:
    """A COCO dataset of one picture, with one annotation per object, or per connected region of each class where
    the task counts no objects (https://cocodataset.org/#format-data).

    Segmentations are polygons along the edges of pixels, which pycocotools rasterises without loss, and compressed
    RLE where there is a hole; without ``polygons`` all are RLE. All of a class together are exactly its mask.
    What is too small for an object has RLE and iscrowd 1, so that it is neither lost nor counted. ``score`` is
    the mean confidence.
    """
    labels, found = regions(result)
    height, width = labels.shape
    segmentations: list[Any] = _compress(run_lengths(labels), height, width)
    if polygons:
        for i, outline in enumerate(rings(labels)):
            if len(outline) == 1 and not _is_crowd(found[i]):
                segmentations[i] = [outline[0][:-1].ravel().tolist()]
    return {
        "info": {"description": f"{result.task.title}, segmented"},
        "licenses": [],
        "images": [{"id": 1, "width": width, "height": height, "file_name": file_name}],
        "categories": [
            {"id": class_id, "name": name, "supercategory": result.task.name}
            for class_id, name in enumerate(result.task.class_names)
            if class_id
        ],
        "annotations": [
            {
                "id": i,
                "image_id": 1,
                "category_id": region.class_id,
                "segmentation": segmentation,
                "area": region.pixels,
                "bbox": list(region.box),
                "iscrowd": int(_is_crowd(region)),
                "score": region.confidence,
            }
            for i, (region, segmentation) in enumerate(zip(found, segmentations, strict=True), start=1)
        ],
    }


def _is_crowd(region: Region) -> bool:
    return region.id is None


def _compress(counts: list[list[int]], height: int, width: int) -> list[dict[str, Any]]:
    from pycocotools import mask

    if not counts:
        return []
    size = [height, width]
    packed = mask.frPyObjects([{"size": size, "counts": numbers} for numbers in counts], height, width)
    return [{"size": size, "counts": rle["counts"].decode("ascii")} for rle in packed]


def to_geojson(
    result: Segmentation, transform: Sequence[float] | None = None, crs: str | None = None
) -> dict[str, Any]:
    """A FeatureCollection of Polygons along the edges of pixels (RFC 7946): one per object or, where the task
    counts none, per connected region of each class, with the properties class, id, pixels and confidence. The id
    is None for what is too small for an object.

    Coordinates are in pixels, x to the right and y down from the picture's upper left corner. With ``transform``,
    six finite numbers (a, b, c, d, e, f) in the order of rasterio's Affine, they are a x + b y + c and d x + e y + f.
    Outer rings run counterclockwise in a plane with y up. RFC 7946 knows WGS 84 longitudes and latitudes only:
    for other coordinates ``crs``, such as "EPSG:32633", goes under the member "crs" of the older GeoJSON 2008,
    which GDAL and QGIS read. ValueError for a ``crs`` without a transform, or a transform that is no such map.
    """
    a, b, c, d, e, f = _check_transform(transform, crs)
    mirrored = a * e < b * d
    labels, found = regions(result)
    names = result.task.class_names
    features = []
    for region, outline in zip(found, rings(labels), strict=True):
        polygon = []
        for ring in outline:
            x, y = (ring[::-1] if mirrored else ring).T
            points = ring if transform is None else np.stack([a * x + b * y + c, d * x + e * y + f], axis=1)
            polygon.append(points.tolist())
        features.append(
            {
                "type": "Feature",
                "properties": {
                    "class": names[region.class_id],
                    "id": region.id,
                    "pixels": region.pixels,
                    "confidence": region.confidence,
                },
                "geometry": {"type": "Polygon", "coordinates": polygon},
            }
        )
    collection: dict[str, Any] = {"type": "FeatureCollection", "features": features}
    if crs:
        collection["crs"] = {"type": "name", "properties": {"name": _crs_name(crs)}}
    return collection


def _check_transform(transform: Sequence[float] | None, crs: str | None) -> Sequence[float]:
    if transform is None:
        if crs:
            raise ValueError(f"the CRS {crs!r} came without a transform; give both, or neither for pixels.")
        return IDENTITY
    numbers = tuple(transform)[:6]  # an Affine has three more, always 0, 0, 1
    if len(numbers) < 6 or not all(map(math.isfinite, numbers)) or numbers[0] * numbers[4] == numbers[1] * numbers[3]:
        raise ValueError(
            f"the transform is {tuple(transform)}; give six finite numbers (a, b, c, d, e, f) with a e - b d not 0."
        )
    return numbers


def _crs_name(crs: str) -> str:
    """The URN of an EPSG code; any other text as it is."""
    code = re.fullmatch(r"EPSG:(\d+)", crs.strip(), re.IGNORECASE)
    if code is None:
        return crs
    return LONGITUDE_LATITUDE if code[1] == "4326" else f"urn:ogc:def:crs:EPSG::{code[1]}"
