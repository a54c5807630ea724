"""A true mask from a file: an indexed, grey or black and white picture, or COCO JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Union

import numpy as np

from segmenter.image import ImageError, open_image, read_file, upright
from segmenter.metrics import IGNORE
from segmenter.tasks import Task

MaskSource = Union[str, "os.PathLike[str]", bytes]

KINDS = "an indexed PNG of class ids, a black and white picture or COCO JSON"
GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B")  # of Pillow; its colours are RGB and RGBA
LOSSY = ("JPEG", "MPO", "WEBP")  # black, white and grey are not exact in these
MAX_JSON = 25_000_000  # bytes, of which Python makes up to thirty times as many; COCO's val2017 has 20 million
MAX_OUTLINE = 10_000_000  # pixels along the edges of all polygons, 40 bytes of memory for each while it is filled
MAX_FILLED = 5_000_000_000  # pixels in all: the picture's as often as the class changes from one annotation to the next
LOSSLESS_WEBP = b"VP8L"  # what such a file holds at the place of its first chunk's name
COLOUR_NOISE = 32  # how far the channels of a grey pixel are apart there at most


class ScoreError(ValueError):
    """A true mask cannot be used; its message is one sentence for people."""


def read_true_mask(source: MaskSource, task: Task, shape: tuple[int, int], image_name: str | None = None) -> np.ndarray:
    """True class ids uint8 (H, W) for a picture of ``shape`` (height, width); 255 is ignored.

    ``source`` is a path or the bytes of one of
    - an indexed picture, whose palette indices are class ids, unless all of its colours are black and white;
    - a grey picture, whose values are class ids;
    - a black and white picture: the values are 0 and 255, or 0 and one other that is no class id (in JPEG and
      WebP, those below 128 and those above); white is the task's first foreground class;
    - COCO JSON with polygons or RLE, compressed or not: categories called like a class are that class, and the
      others are left out; where the file names none, their ids are class ids. Of several
      images the one with the file name ``image_name`` is taken; later annotations cover earlier ones.
    Raises ScoreError where it is none of these, has another size or holds ids that are no class.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        data, name = bytes(source), "the true mask"
    else:
        path = Path(source)
        name = repr(path.name)
        try:
            data = read_file(path)
        except ImageError as error:
            raise ScoreError(str(error)) from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ScoreError(f"{name} cannot be read ({reason}); give the path of {KINDS}.") from error
    if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        return _read_coco(data, name, task, shape, image_name)
    return _read_picture(data, name, task, shape)


def _check_size(name: str, found: tuple[int, int], shape: tuple[int, int]) -> None:
    if found != shape:
        raise ScoreError(
            f"{name} is {found[1]} x {found[0]} and the picture {shape[1]} x {shape[0]}; "
            "give the mask of this picture at its own size."
        )


def _check_ids(name: str, ids: Iterable[int], task: Task) -> None:
    unknown = sorted(set(ids) - {*range(len(task.classes)), IGNORE})
    if unknown:
        listed = ", ".join(map(str, unknown[:8])) + (f" and {len(unknown) - 8} more" if len(unknown) > 8 else "")
        known = ", ".join(f"{number} ({class_name})" for number, class_name in enumerate(task.class_names))
        raise ScoreError(
            f"{name} holds {listed}; the class ids of {task.name} are {known}, and 255 where the truth is ignored."
        )


def _read_picture(data: bytes, name: str, task: Task, shape: tuple[int, int]) -> np.ndarray:
    try:
        with open_image(data) as opened:
            if opened.size != shape:  # which it has after a quarter turn
                _check_size(name, (opened.height, opened.width), shape)  # before a pixel is decoded
            mode, lossy = opened.mode, opened.format in LOSSY and data[12:16] != LOSSLESS_WEBP
            image = upright(opened)  # as the picture is
            _check_size(name, (image.height, image.width), shape)
            values, colours = np.asarray(image), image.getpalette("RGB")
    except ScoreError:
        raise
    except Exception as error:  # a damaged file raises whatever its decoder meets first
        raise ScoreError(f"{name} is not a mask that can be read; give {KINDS}.") from error
    if mode in ("RGB", "RGBA"):
        values = values[..., :3]
        if int(np.ptp(values, axis=2).max()) > (COLOUR_NOISE if lossy else 0):
            raise ScoreError(f"{name} is in colour, which says nothing of classes; give {KINDS}.")
    elif mode != "P" and mode not in GREY_MODES:
        raise ScoreError(f"{name} is a picture of the mode {mode}; give {KINDS}.")
    values = values[..., 0] if values.ndim == 3 else values
    if lossy:
        if 0 < values.max() < 128:
            raise ScoreError(f"{name} is dark and blurred by lossy compression; save class ids as PNG.")
        return (values >= 128).astype(np.uint8)
    present = np.unique(values).astype(int).tolist()
    own = [value for info in task.classes for value in info.color]
    if colours is not None and colours[: len(own)] != own:
        used = {index: colours[3 * index : 3 * index + 3] for index in present}
        if all(colour in ([0] * 3, [255] * 3) for colour in used.values()):
            return np.isin(values, [index for index in used if used[index][0]]).astype(np.uint8)
    if mode != "P" and _is_black_and_white(present, task):
        return (values > 0).astype(np.uint8)
    _check_ids(name, present, task)
    return values.astype(np.uint8)


def _is_black_and_white(present: Sequence[int], task: Task) -> bool:
    """Whether these sorted values of a grey picture are black and white rather than class ids."""
    if set(present) <= {0, 255}:
        return True
    return len(present) == 2 and present[0] == 0 and present[1] >= len(task.classes)


def _read_coco(data: bytes, name: str, task: Task, shape: tuple[int, int], image_name: str | None) -> np.ndarray:
    from pycocotools import mask as coco

    if len(data) > MAX_JSON:
        raise ScoreError(
            f"{name} has {len(data) / 1e6:.0f} MB, the limit for COCO JSON is {MAX_JSON / 1e6:g}; "
            "give the annotations of this picture alone."
        )
    class_ids = np.zeros(shape, np.uint8)
    try:
        document = json.loads(data)
        image = _choose_image(document["images"], name, image_name)
        if "height" in image and "width" in image:
            _check_size(name, (image["height"], image["width"]), shape)
        class_of = _classes_of(document.get("categories", []), name, task)
        there = (entry for entry in document["annotations"] if entry["image_id"] == image["id"])
        of_class = [(class_of.get(entry["category_id"], entry["category_id"]), entry) for entry in there]
        found = [(class_id, entry) for class_id, entry in of_class if class_id is not None]
        _check_ids(name, [class_id for class_id, _ in found], task)
        if any(entry.get("bbox") and not entry["segmentation"] for _, entry in found):
            raise ScoreError(f"{name} holds boxes without outlines; export polygons or RLE masks.")
        regions = [(class_id, _outlines(entry["segmentation"], shape)) for class_id, entry in found]
        groups = [(class_id, [each for _, each in group]) for class_id, group in groupby(regions, lambda one: one[0])]
        _check_work(name, groups, shape)
        for class_id, group in groups:
            parts = [part for each in group for part in _run_lengths(each, name, shape)]
            if parts:
                class_ids[coco.decode(coco.merge(parts)) > 0] = class_id
    except ScoreError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ScoreError(
            f"{name} is not COCO JSON as it should be: images, categories and annotations with polygons or RLE; "
            "export it again."
        ) from error
    return class_ids


def _check_work(name: str, groups: Sequence[tuple[int, list[Any]]], shape: tuple[int, int]) -> None:
    """Refuse what pycocotools would walk along or fill for minutes, or until the memory ends."""
    outlines = (each for _, group in groups for each in group if not isinstance(each, dict))
    edges = sum(_length(polygon) for polygons in outlines for polygon in polygons)
    if edges > MAX_OUTLINE or len(groups) * shape[0] * shape[1] > MAX_FILLED:
        raise ScoreError(
            f"{name} has outlines of {edges:,.0f} pixels in {len(groups):,} turns between classes, more than can be "
            "filled here; give a mask as a picture."
        )


def _length(polygon: np.ndarray) -> float:
    """How many pixels the edges of a polygon (x, y, x, y, ...) pass."""
    points = polygon.reshape(-1, 2)
    return float(np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum())


def _choose_image(images: Sequence[Mapping[str, Any]], name: str, image_name: str | None) -> Mapping[str, Any]:
    """The entry that is the picture's: the only one, or that of its file name, folders left out if need be."""
    if len(images) == 1:
        return images[0]
    for reading in (str, lambda file_name: Path(file_name).name):
        named = [image for image in images if image_name and reading(image["file_name"]) == reading(image_name)]
        if len(named) == 1:
            return named[0]
    raise ScoreError(
        f"{name} holds {len(images)} images and not just one is called {image_name!r}; "
        "give the COCO file of this picture, or one that has its file name once."
    )


def _classes_of(categories: Sequence[Mapping[str, Any]], name: str, task: Task) -> dict[int, int | None]:
    """Category id -> the id of the class that is called like it, None where none is."""
    names = {class_name.casefold(): class_id for class_id, class_name in enumerate(task.class_names)}
    found = {category["id"]: names.get(category["name"].casefold()) for category in categories}
    if found and not any(class_id is not None for class_id in found.values()):
        listed = ", ".join(category["name"][:40] for category in categories[:8])
        raise ScoreError(
            f"{name} has the categories {listed}; those of {task.name} are {', '.join(task.class_names)}: name them so."
        )
    return found


def _run_lengths(outlines: Any, name: str, shape: tuple[int, int]) -> list[dict[str, Any]]:
    """What ``_outlines`` gives as compressed RLEs whose union it is; ValueError where it is no RLE."""
    from pycocotools import mask as coco

    if isinstance(outlines, dict):
        height, width = outlines["size"]
        _check_size(name, (height, width), shape)
        counts = outlines["counts"]
        counts = _uncompress(counts) if isinstance(counts, str) else counts
        whole = all(type(count) is int and count >= 0 for count in counts)
        if not whole or sum(counts) != shape[0] * shape[1]:  # of others pycocotools makes what its memory held before
            raise ValueError("the run lengths do not fill the picture")
        return [coco.frPyObjects({"size": list(shape), "counts": counts}, *shape)]
    return coco.frPyObjects([polygon.tolist() for polygon in outlines], *shape) if outlines else []


def _outlines(segmentation: Any, shape: tuple[int, int]) -> dict[str, Any] | list[np.ndarray]:
    """A COCO segmentation: its RLE as it stands, or its polygons (x, y, x, y, ...); ValueError where they are none."""
    if isinstance(segmentation, dict):
        return segmentation
    polygons = [np.asarray(polygon, np.float64) for polygon in segmentation]
    far = 2 * max(shape)
    for polygon in polygons:
        if polygon.ndim != 1 or polygon.size < 6 or polygon.size % 2 or not (np.abs(polygon) <= far).all():
            raise ValueError("a polygon is x, y, x, y, ... of at least three points in the picture")
    return polygons


def _uncompress(text: str) -> list[int]:
    """The run lengths of a compressed RLE, as in ``rleFrString`` of COCO's maskApi.c, but with checks: 5 bits a
    character, the lowest first, a sixth bit where more follow; from the fourth on, differences to the last but one."""
    counts: list[int] = []
    value = shift = 0
    for code in text.encode("ascii"):
        bits = code - 48
        if not 0 <= bits < 64:
            raise ValueError("a character that no RLE has")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) << (shift - 4)  # the highest bit is the sign
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("the RLE ends in the middle of a number")
    return counts
