"""A result as files that other programs read."""

from __future__ import annotations

import io
import json
import os
import re
import unicodedata
import zipfile
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path, PurePath

import numpy as np
from PIL import Image

from segmenter.annotations import to_coco, to_geojson
from segmenter.draw import overlay, palette
from segmenter.files import write_whole
from segmenter.measure import regions
from segmenter.result import Segmentation
from segmenter.tables import objects_csv, safe_cell, stats_csv

__all__ = [
    "FORMATS",
    "class_image",
    "cutout_image",
    "cvat_zip",
    "mask_image",
    "objects_csv",
    "overlay_image",
    "png_bytes",
    "safe_cell",
    "safe_stem",
    "save",
    "stats_csv",
    "to_coco",
    "to_geojson",
    "zip_all",
]

# Format -> the ending of its file.
ENDINGS = {
    "mask": "png",
    "overlay": "png",
    "cutout": "png",
    "classes": "png",
    "csv": "csv",
    "objects": "csv",
    "coco": "json",
    "geojson": "geojson",
    "cvat": "zip",
}
FORMATS = tuple(ENDINGS)

STEM_LENGTH = 100  # characters
STEM_BYTES = 200  # file systems take names of 255 bytes, and the task, the format and the ending follow
INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # controls, formats, surrogates, unassigned, ends of lines
TABLE_ENCODING = "utf-8-sig"  # with the mark by which spreadsheets know UTF-8
VOC_OBJECTS = 255  # as many colours has Pascal VOC for objects


def mask_image(result: Segmentation) -> Image.Image:
    """The class ids as an indexed picture (mode P) in the task's colours: its values are the class ids."""
    image = Image.fromarray(result.class_ids, mode="P")
    image.putpalette(palette(result.task).tobytes())
    return image


def overlay_image(result: Segmentation, opacity: float = 0.5) -> Image.Image:
    """The classes blended over the picture (mode RGB); ``opacity`` in [0, 1]."""
    return Image.fromarray(overlay(result, opacity))


def cutout_image(result: Segmentation) -> Image.Image:
    """The picture where it is not background (mode RGBA), elsewhere transparent and empty."""
    kept = result.class_ids > 0
    return Image.fromarray(np.dstack([result.image, np.full(kept.shape, 255, np.uint8)]) * kept[..., None])


def class_image(result: Segmentation, class_name: str) -> Image.Image:
    """One class in black and white (mode L): 255 where it is. KeyError for a class the task has not."""
    return Image.fromarray(result.mask(class_name).astype(np.uint8) * 255)


def cvat_zip(result: Segmentation, file_name: str) -> bytes:
    """CVAT's archive "Segmentation mask 1.1" for the picture of that name
    (https://docs.cvat.ai/docs/dataset_management/formats/format-smask).

    An object is one of ``measure.regions``, in the colour that Pascal VOC gives its number. There are 255 of
    them, so where regions are more their colours are used again, each for one class only.
    """
    stem = safe_stem(PurePath(file_name).stem)
    labels, found = regions(result)
    foreground = len(result.task.classes) - 1
    numbers = list(range(len(found) + 1))
    if len(found) > VOC_OBJECTS:
        turns = VOC_OBJECTS // foreground
        numbers = [0, *(region.class_id + foreground * (i % turns) for i, region in enumerate(found))]
    object_image = Image.fromarray(_voc_colours()[np.array(numbers)][labels])
    label_map = ["# label:color_rgb:parts:actions"]
    label_map += [f"{info.name}:{','.join(map(str, info.color))}::" for info in result.task.classes]
    return _zip(
        [
            ("labelmap.txt", "\n".join([*label_map, ""]).encode()),
            ("ImageSets/Segmentation/default.txt", f"{stem}\n".encode()),
            (f"SegmentationClass/{stem}.png", png_bytes(mask_image(result).convert("RGB"))),
            (f"SegmentationObject/{stem}.png", png_bytes(object_image)),
        ]
    )


def _voc_colours() -> np.ndarray:
    """uint8 (256, 3): number of an object -> RGB, by VOClabelcolormap of the Pascal VOC devkit: the number's bits,
    dealt to red, green and blue in turns, from the highest bit of each down."""
    numbers = np.arange(256)
    channels = [sum((numbers >> (3 * i + channel) & 1) << (7 - i) for i in range(3)) for channel in range(3)]
    return np.stack(channels, axis=1).astype(np.uint8)


def safe_stem(name: str) -> str:
    """A text as the stem of a file's name: without path separators and whatever else a file system refuses,
    without control characters and leading dots, at most 100 characters, never empty. Letters of any language stay.
    """
    visible = "".join(character for character in name if unicodedata.category(character) not in INVISIBLE)
    stem = re.sub(r"^[\s.]+", "", re.sub(r'[<>:"/\\|?*]', "_", visible))
    return stem[:STEM_LENGTH].encode()[:STEM_BYTES].decode(errors="ignore").rstrip() or "picture"


def save(
    result: Segmentation,
    folder: str | os.PathLike[str],
    stem: str,
    formats: Collection[str] = FORMATS,
    pixel_size: float | None = None,
    transform: Sequence[float] | None = None,
    crs: str | None = None,
    file_name: str | None = None,
    drawn: np.ndarray | None = None,
) -> list[Path]:
    """Write a result as files into a folder, which is made where it is missing; returns their paths.

    They are called ``<stem>-<task>-<format>`` with an ending, those of "csv" and "geojson" ``<stem>-<task>`` with it,
    and the black-and-white pictures of "classes" ``<stem>-<task>-<class>``; ``stem`` as ``safe_stem`` makes it. A file
    is there whole or not at all. "objects" is left out where the task counts none. ``pixel_size`` as in ``stats_csv``,
    ``transform`` and ``crs`` as in ``to_geojson``; ``file_name`` is the picture's name, which COCO and CVAT keep, by
    default that of the stem; ``drawn`` is another overlay, RGB uint8 (H, W, 3), than ``overlay_image``.
    ValueError for a format that is not in FORMATS, before anything is written, and OSError from the disk.
    """
    files = _files(result, stem, formats, pixel_size, transform, crs, file_name, drawn)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files:
        write_whole(folder / name, data)
    return [folder / name for name, _ in files]


def zip_all(
    result: Segmentation,
    stem: str,
    formats: Collection[str] = FORMATS,
    pixel_size: float | None = None,
    transform: Sequence[float] | None = None,
    crs: str | None = None,
    file_name: str | None = None,
    drawn: np.ndarray | None = None,
) -> bytes:
    """The files of ``save`` in one zip archive."""
    return _zip(_files(result, stem, formats, pixel_size, transform, crs, file_name, drawn))


def _files(
    result: Segmentation,
    stem: str,
    formats: Collection[str],
    pixel_size: float | None,
    transform: Sequence[float] | None,
    crs: str | None,
    file_name: str | None,
    drawn: np.ndarray | None,
) -> list[tuple[str, bytes]]:
    """Name and content of every file, in the order of FORMATS."""
    formats = [formats] if isinstance(formats, str) else formats
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise ValueError(f"unknown format {unknown[0]!r}; choose among {', '.join(FORMATS)}.")
    start = f"{safe_stem(stem)}-{result.task.name}"
    file_name = file_name or f"{safe_stem(stem)}.png"
    content: dict[str, Callable[[], bytes]] = {
        "mask": lambda: png_bytes(mask_image(result)),
        "overlay": lambda: png_bytes(overlay_image(result) if drawn is None else Image.fromarray(drawn)),
        "cutout": lambda: png_bytes(cutout_image(result)),
        "csv": lambda: stats_csv(result, pixel_size).encode(TABLE_ENCODING),
        "objects": lambda: objects_csv(result, pixel_size).encode(TABLE_ENCODING),
        "coco": lambda: json.dumps(to_coco(result, file_name)).encode(),
        "geojson": lambda: json.dumps(to_geojson(result, transform, crs)).encode(),
        "cvat": lambda: cvat_zip(result, file_name),
    }
    files = []
    for name in FORMATS:
        if name not in formats or (name == "objects" and not result.task.has_objects):
            continue
        if name == "classes":
            files += [(f"{start}-{each}.png", png_bytes(class_image(result, each))) for each in result.task.class_names]
        else:
            what = "" if name == ENDINGS[name] else f"-{name}"
            files.append((f"{start}{what}.{ENDINGS[name]}", content[name]()))
    return files


def png_bytes(image: Image.Image) -> bytes:
    """The file that a picture of any mode is as a PNG."""
    buffer = io.BytesIO()
    # Photographs take a third of the time at level 3, and a tenth more bytes.
    image.save(buffer, "PNG", compress_level=3 if image.mode in ("RGB", "RGBA") else 6)
    return buffer.getvalue()


def _zip(files: Iterable[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return buffer.getvalue()
