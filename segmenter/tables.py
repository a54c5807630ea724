"""A result as tables: CSV text that spreadsheets and programs read."""

from __future__ import annotations

import csv
import io
from dataclasses import astuple, fields
from typing import Any

from segmenter.measure import ObjectStats, area, objects
from segmenter.result import Segmentation

FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # what one may begin with


def stats_csv(result: Segmentation, pixel_size: float | None = None) -> str:
    """A table with one row per class: its name, colour, pixels, fraction of the picture and mean confidence.

    With ``pixel_size``, the side of a pixel in the task's unit of length, the area too; ValueError as in
    ``measure.area``.
    """
    header = ["class", "color", "pixels", "fraction", "confidence"]
    rows = [
        [
            safe_cell(stats.name),
            stats.hex_color,
            stats.pixels,
            stats.fraction,
            stats.confidence,
        ]
        for stats in result.stats()
    ]
    return _table(result, header, rows, header.index("pixels"), pixel_size)


def objects_csv(result: Segmentation, pixel_size: float | None = None) -> str:
    """A table with one row per object; its columns are the fields of ``measure.ObjectStats``.

    With ``pixel_size`` as in ``stats_csv``, area and equivalent diameter in the task's units too.
    """
    header = [field.name for field in fields(ObjectStats)]
    rows = [list(astuple(stats)) for stats in objects(result)]
    return _table(result, header, rows, header.index("area"), pixel_size, header.index("equivalent_diameter"))


def _table(
    result: Segmentation,
    header: list[str],
    rows: list[list[Any]],
    pixels: int,
    pixel_size: float | None,
    length: int | None = None,
) -> str:
    """CSV text; with ``pixel_size`` two more columns: the ``length`` of objects, which stands in the column of that
    number, in the task's unit, and the area of the ``pixels`` in the column of that."""
    if pixel_size is not None:
        if length is not None:
            header = [*header, f"{header[length]} ({result.task.length_unit})"]
            rows = [[*row, row[length] * pixel_size] for row in rows]
        header = [*header, f"area ({area(0, pixel_size, result.task)[1]})"]
        rows = [[*row, area(row[pixels], pixel_size, result.task)[0]] for row in rows]
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    return text.getvalue()


def safe_cell(text: str) -> str:
    """A text for a cell of a table, with an apostrophe before it where a spreadsheet would take it for a formula
    (OWASP, CSV injection), in the wide letters of East Asia too."""
    return f"'{text}" if text.lstrip(" ").startswith(FORMULAS) else text
