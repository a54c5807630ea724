import csv
import io
from dataclasses import astuple, fields, replace
from math import pi, sqrt

import pytest
from generated_results import result_of, shaped_result

from segmenter.measure import ObjectStats, objects
from segmenter.tables import objects_csv, safe_cell, stats_csv
from segmenter.tasks import TASKS, ClassInfo


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_stats_csv():
    result = result_of([[0, 0, 1], [0, 1, 2]])
    rows = rows_of(stats_csv(result))
    assert list(rows[0]) == ["class", "color", "pixels", "fraction", "confidence"]
    assert [row["class"] for row in rows] == ["background", "pet", "border"]
    assert [row["color"] for row in rows] == ["#000000", "#e69f00", "#56b4e9"]
    assert [int(row["pixels"]) for row in rows] == [3, 2, 1]
    for row, stats in zip(rows, result.stats(), strict=True):
        assert (float(row["fraction"]), float(row["confidence"])) == (stats.fraction, stats.confidence)


def test_stats_csv_with_the_size_of_a_pixel():
    rows = rows_of(stats_csv(result_of([[0, 1, 1]], "water"), 50))
    assert list(rows[0])[-1] == "area (ha)"
    assert [float(row["area (ha)"]) for row in rows] == [0.25, 0.5]


def test_objects_csv():
    result = shaped_result("at every border", "nuclei")
    header, *rows = csv.reader(io.StringIO(objects_csv(result), newline=""))
    assert header == [field.name for field in fields(ObjectStats)]
    assert [tuple(map(float, row)) for row in rows] == [astuple(stats) for stats in objects(result)]
    assert [row[:2] for row in rows] == [["1", "3"]] + [["2", "3"]] + [["3", "3"]] + [["4", "3"]]


def test_objects_csv_with_the_size_of_a_pixel():
    rows = rows_of(objects_csv(result_of([[1, 1, 0, 1]], "nuclei"), 0.5))
    assert [row["area (µm²)"] for row in rows] == ["0.5", "0.25"]
    lengths = [float(row["equivalent_diameter (µm)"]) for row in rows]
    assert lengths == pytest.approx([sqrt(2 / pi), sqrt(1 / pi)])  # half of 2 sqrt(area / pi)


def test_tables_without_objects_keep_their_header():
    assert rows_of(objects_csv(result_of([[0]], "nuclei"), 1)) == []
    assert objects_csv(result_of([[0]], "nuclei"), 1).strip().endswith("area (µm²)")


@pytest.mark.parametrize("table", [stats_csv, objects_csv])
def test_a_table_refuses_a_size_without_a_unit(table, refusal):
    with refusal(ValueError, "pets"):
        table(result_of([[0, 1]]), 10)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(text):
    assert safe_cell(text) == f"'{text}"
    task = TASKS["water"]
    task = replace(task, classes=(task.classes[0], ClassInfo(text, (0, 0, 255))))
    rows = rows_of(stats_csv(replace(result_of([[1]], "water"), task=task)))
    assert rows[1]["class"] == f"'{text}" and rows[1]["pixels"] == "1"


@pytest.mark.parametrize("text", ["water", "a-b", "", "Wasser = water", "'=1"])
def test_plain_cells_stay(text):
    assert safe_cell(text) == text
