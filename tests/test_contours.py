import numpy as np
import pytest
from generated_results import SHAPES, results, shape
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco
from rasterio.features import rasterize
from scipy import ndimage
from shapely import Polygon
from shapely.validation import explain_validity

from segmenter.contours import rings, run_lengths


def labels_of(mask):
    return ndimage.label(mask)[0]


def lists(found):
    return [[ring.tolist() for ring in region] for region in found]


def check_rings(labels):
    """Outlines that are valid, as large as their regions, and give every pixel back to the tool they are meant for."""
    found = rings(labels)
    assert len(found) == labels.max()
    for i, (outer, *holes) in enumerate(found, start=1):
        assert all((ring[0] == ring[-1]).all() for ring in (outer, *holes))
        polygon = Polygon(outer, holes)
        assert polygon.is_valid, explain_validity(polygon)
        assert polygon.area == (labels == i).sum()
        assert polygon.exterior.is_ccw and not any(hole.is_ccw for hole in polygon.interiors)
        assert (rasterize([polygon], labels.shape) == (labels == i)).all()


@pytest.mark.parametrize("name", SHAPES)
def test_outlines_of_hard_shapes(name):
    check_rings(labels_of(shape(name)))


@pytest.mark.parametrize("name", SHAPES)
def test_outlines_of_what_lies_around_hard_shapes(name):
    """Regions that fill the picture share every edge."""
    mask = shape(name)
    inside, count = ndimage.label(mask)
    check_rings(np.where(mask, inside, ndimage.label(~mask)[0] + count))


@given(results(side=12))
def test_outlines_of_anything(result):
    check_rings(labels_of(result.class_ids > 0))


def test_one_pixel_by_hand():
    labels = np.array([[0, 0, 0], [0, 0, 1]])
    assert lists(rings(labels)) == [[[[2, 1], [3, 1], [3, 2], [2, 2], [2, 1]]]]


def test_only_corners_are_kept():
    """An L: six corners, however long its sides."""
    labels = np.zeros((20, 30), int)
    labels[2:12, 3:7] = labels[8:12, 3:25] = 1
    assert lists(rings(labels)) == [[[[3, 2], [7, 2], [7, 8], [25, 8], [25, 12], [3, 12], [3, 2]]]]


def test_a_hole_runs_the_other_way():
    assert lists(rings(labels_of(shape("two holes")))) == [
        [
            [[0, 0], [5, 0], [5, 3], [0, 3], [0, 0]],
            [[1, 2], [2, 2], [2, 1], [1, 1], [1, 2]],
            [[3, 2], [4, 2], [4, 1], [3, 1], [3, 2]],
        ]
    ]


def test_a_hole_that_touches_the_outside_is_a_ring_of_its_own():
    """As one ring the outline would meet itself in (2, 2)."""
    outer, hole = lists(rings(labels_of(shape("hole that touches the outside"))))[0]
    assert outer == [[0, 0], [3, 0], [3, 2], [2, 2], [2, 3], [0, 3], [0, 0]]
    assert sorted(hole[:-1]) == [[1, 1], [1, 2], [2, 1], [2, 2]]


def test_neighbours_have_outlines_of_their_own():
    labels = np.array([[1, 2], [1, 2]])
    assert lists(rings(labels)) == [
        [[[0, 0], [1, 0], [1, 2], [0, 2], [0, 0]]],
        [[[1, 0], [2, 0], [2, 2], [1, 2], [1, 0]]],
    ]


def test_run_lengths_by_hand():
    """Down the columns, first what is outside, and no run of nothing at the end."""
    labels = np.array([[2, 0, 1], [2, 1, 1]])
    assert run_lengths(labels) == [[3, 3], [0, 2, 4]]
    assert run_lengths(np.zeros((2, 2), int)) == []


@given(results(side=12), st.booleans())
def test_run_lengths_are_those_of_pycocotools(result, whole):
    labels = np.where(result.class_ids, 1, 0) if whole else labels_of(result.class_ids > 0)
    size = list(labels.shape)
    found = run_lengths(labels)
    assert len(found) == labels.max()
    for i, counts in enumerate(found, start=1):
        expected = coco.encode(np.asfortranarray(labels == i, np.uint8))
        assert coco.frPyObjects({"size": size, "counts": counts}, *size) == expected
