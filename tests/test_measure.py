import math

import numpy as np
import pytest
from generated_results import SHAPES, result_of, results, shaped_result
from hypothesis import given
from scipy import ndimage

from segmenter.measure import ObjectStats, Region, area, objects, regions
from segmenter.tasks import TASKS


def test_objects_by_hand():
    """A square of 2 x 2 and a bar of 3: its ellipse has no width but that of its pixels."""
    found = objects(result_of([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 1, 1, 1]], "nuclei"))
    assert found[0] == ObjectStats(1, 4, 0.5, 0.5, pytest.approx(4 / math.sqrt(math.pi)), 0.0)
    assert (found[1].id, found[1].area, found[1].centroid_x, found[1].centroid_y) == (2, 3, 2.0, 3.0)
    # skimage gives a row of pixels the second moments 2/3 along it and none across.
    assert found[1].eccentricity == pytest.approx(1.0)
    assert [type(value) for value in vars(found[1]).values()] == [int, int, float, float, float, float]


def test_the_first_pixel_is_the_origin():
    (found,) = objects(result_of([[1]], "nuclei"))
    assert (found.centroid_x, found.centroid_y, found.eccentricity) == (0.0, 0.0, 0.0)


def test_objects_are_those_of_instances():
    seeds = np.zeros((4, 12), bool)
    seeds[1:3, 1:3] = seeds[1:3, 9:11] = True
    result = result_of(np.ones((4, 12)), "nuclei", seeds=seeds)
    labels = result.instances()
    assert labels.max() == 2
    assert [stats.area for stats in objects(result)] == [(labels == 1).sum(), (labels == 2).sum()]
    for stats in objects(result):
        rows, columns = np.nonzero(labels == stats.id)
        assert (stats.centroid_y, stats.centroid_x) == pytest.approx((rows.mean(), columns.mean()))


def test_no_objects():
    assert objects(result_of(np.zeros((3, 4)), "nuclei")) == []
    assert objects(result_of([[1, 1, 0, 1]], "nuclei", min_object=3)) == []


def test_area():
    assert area(250, 10, TASKS["water"]) == (2.5, "ha")
    assert area(8, 0.5, TASKS["nuclei"]) == (2.0, "µm²")
    assert area(0, 10, TASKS["water"]) == (0.0, "ha")


def test_units_of_length():
    assert {name: task.length_unit for name, task in TASKS.items()} == {
        "pets": "",
        "water": "m",
        "nuclei": "µm",
        "cars": "",
    }


@pytest.mark.parametrize("task", ["pets", "cars"])
def test_a_task_without_a_unit_has_no_area(refusal, task):
    with refusal(ValueError, task, "only water or nuclei have"):
        area(1, 1, TASKS[task])


@pytest.mark.parametrize("size", [0, -10, 1e-7, 2e6, 1e200, 10**400, math.nan, math.inf, -math.inf])
def test_a_pixel_has_a_side(refusal, size):
    with refusal(ValueError, f"is {str(size)[:20]};", "in m", "from 0.000001 to 1,000,000"):
        area(1, size, TASKS["water"])


def test_regions_by_hand():
    """Two classes that touch, and a second part of the first one."""
    result = result_of([[1, 1, 2], [0, 0, 2], [1, 0, 0]])
    labels, found = regions(result)
    assert labels.tolist() == [[1, 1, 2], [0, 0, 2], [3, 0, 0]]
    means = [float(result.confidence[labels == i].mean()) for i in (1, 2, 3)]
    assert found == [
        Region(1, 1, 2, pytest.approx(means[0]), (0, 0, 2, 1)),
        Region(2, 2, 2, pytest.approx(means[1]), (2, 0, 1, 2)),
        Region(3, 1, 1, pytest.approx(means[2]), (0, 2, 1, 1)),
    ]


def test_what_is_too_small_for_an_object_comes_last_and_without_an_id():
    labels, found = regions(result_of([[1, 0, 1, 1], [0, 0, 1, 0], [1, 0, 0, 1]], "nuclei", min_object=2))
    assert labels.tolist() == [[2, 0, 1, 1], [0, 0, 1, 0], [3, 0, 0, 4]]
    assert [(region.id, region.pixels) for region in found] == [(1, 3), (None, 1), (None, 1), (None, 1)]


def check_regions(result):
    labels, found = regions(result)
    assert ((labels > 0) == (result.class_ids > 0)).all()
    assert np.unique(labels[labels > 0]).tolist() == list(range(1, len(found) + 1))
    for i, region in enumerate(found, start=1):
        here = labels == i
        assert ndimage.label(here)[1] == 1
        assert (result.class_ids[here] == region.class_id).all()
        assert region.pixels == here.sum()
        left, top, width, height = region.box
        assert here[top : top + height, left : left + width].sum() == here.sum()
        assert here[top].any() and here[top + height - 1].any()
        assert here[:, left].any() and here[:, left + width - 1].any()
        assert region.confidence == pytest.approx(float(result.confidence[here].mean()), abs=1e-6)
        if result.task.has_objects:
            assert (result.instances()[here] == (region.id or 0)).all()
        else:
            assert region.id == i
    if result.task.has_objects:
        ids = [region.id for region in found if region.id]
        assert ids == list(range(1, int(result.instances().max()) + 1))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", SHAPES)
def test_regions_of_hard_shapes(name, task):
    check_regions(shaped_result(name, task))


@given(results())
def test_regions_of_anything(result):
    check_regions(result)
