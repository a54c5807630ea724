import numpy as np
import pytest

from segmenter.draw import colour_mask, mask_picture, outlines, overlay, palette, shrink
from segmenter.result import Segmentation
from segmenter.tasks import TASKS

PET, BORDER, NUCLEUS = [230, 159, 0], [86, 180, 233], [0, 158, 115]
GREY = [100, 100, 100]


def result_of(class_ids, task="pets", seeds=None, image=None):
    class_ids = np.array(class_ids, np.uint8)
    if image is None:
        image = np.full((*class_ids.shape, 3), 100, np.uint8)
    return Segmentation(image, class_ids, np.ones(class_ids.shape, np.float32), TASKS[task], seeds)


@pytest.fixture
def block():
    """A pet of 5 x 5 pixels in a picture of 9 x 9."""
    class_ids = np.zeros((9, 9), np.uint8)
    class_ids[2:7, 2:7] = 1
    return result_of(class_ids)


def test_palette():
    table = palette(TASKS["pets"])
    assert table.shape == (256, 3) and table.dtype == np.uint8
    assert table[:3].tolist() == [[0, 0, 0], PET, BORDER]
    assert (table[3:] == 255).all()


def test_colour_mask():
    drawn = colour_mask(np.array([[0, 1], [2, 255]], np.uint8), TASKS["pets"])
    assert drawn.tolist() == [[[0, 0, 0], PET], [BORDER, [255] * 3]]


@pytest.mark.parametrize(
    ("opacity", "inside"),
    [
        (0.0, GREY),
        (0.25, [132, 114, 75]),  # (100 * 192 + colour * 64) / 256: 132.5, 114.75, 75
        (0.5, [165, 129, 50]),  # 165, 129.5, 50
        (1.0, PET),
    ],
)
def test_overlay_blends(block, opacity, inside):
    drawn = overlay(block, opacity)
    assert drawn.dtype == np.uint8 and drawn.shape == (9, 9, 3)
    assert (drawn[3:6, 3:6] == inside).all()
    background = np.ones((9, 9), bool)
    background[2:7, 2:7] = False
    assert (drawn[background] == 100).all()


def test_overlay_outlines_in_the_full_colour(block):
    drawn = overlay(block, 0.5)
    ring = np.zeros((9, 9), bool)
    ring[2:7, 2:7] = True
    ring[3:6, 3:6] = False
    assert (drawn[ring] == PET).all()


def test_overlay_half_is_the_default(block):
    assert (overlay(block) == overlay(block, 0.5)).all()


@pytest.mark.parametrize("value", [0, 1, 127, 254, 255])
def test_overlay_at_the_ends_of_the_range(value):
    """Plain blue water over any grey: no overflow."""
    image = np.full((6, 6, 3), value, np.uint8)
    result = result_of(np.ones((6, 6)), "water", image=image)
    assert overlay(result, 0.0).tolist() == image.tolist()
    assert (overlay(result, 1.0) == (0, 114, 178)).all()
    half = [(value * 128 + colour * 128) // 256 for colour in (0, 114, 178)]
    assert (overlay(result, 0.5) == half).all()


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (None, [GREY, PET, BORDER]),
        (["pet"], [GREY, PET, GREY]),
        (("border",), [GREY, GREY, BORDER]),
        ({"pet", "border"}, [GREY, PET, BORDER]),
        (["background"], [GREY, GREY, GREY]),
        ([], [GREY, GREY, GREY]),
    ],
)
def test_overlay_of_chosen_classes(classes, expected):
    drawn = overlay(result_of([[0, 0, 0, 1, 1, 1, 2, 2, 2]] * 3), 1.0, classes)
    assert [drawn[1, column].tolist() for column in (0, 4, 8)] == expected


def test_overlay_draws_where_objects_touch():
    """Two nuclei side by side: the pixels along their border are plain, the middles are blended."""
    seeds = np.zeros((8, 16), bool)
    seeds[2:6, 2:6] = seeds[2:6, 10:14] = True
    class_ids = np.ones((8, 16), np.uint8)
    parted = overlay(result_of(class_ids, "nuclei", seeds), 0.5)
    whole = overlay(result_of(class_ids, "nuclei"), 0.5)
    blended = [50, 129, 107]  # 50, 129, 107.5
    assert (whole == blended).all()
    assert (parted[:, 7:9] == NUCLEUS).all()
    assert (parted[:, :7] == blended).all() and (parted[:, 9:] == blended).all()


def test_overlay_leaves_the_result_alone(block):
    overlay(block, 1.0)
    assert (block.image == 100).all()


def test_outlines():
    regions = np.array([[0, 0, 0, 0], [0, 0, 5, 5], [0, 0, 5, 5]])
    expected = [[0, 0, 1, 1], [0, 1, 1, 1], [0, 1, 1, 0]]
    assert outlines(regions).astype(int).tolist() == expected


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (4, 4)])
def test_one_region_has_no_outline(shape):
    edges = outlines(np.full(shape, 3))
    assert edges.shape == shape and edges.dtype == bool and not edges.any()


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (None, [[0, 0, 0], PET, BORDER]),
        (["pet"], [[0, 0, 0], PET, [0, 0, 0]]),
        (["background", "border"], [[0, 0, 0], [0, 0, 0], BORDER]),
        ([], [[0, 0, 0]] * 3),
    ],
)
def test_mask_picture(classes, expected):
    assert mask_picture(result_of([[0, 1, 2]]), classes).tolist() == [expected]


def test_shrink_takes_the_pixel_in_the_middle():
    """From 4 x 8 to 2 x 4: the rows 1 and 3 and the columns 1, 3, 5 and 7; the image is averaged."""
    class_ids = np.zeros((4, 8), np.uint8)
    class_ids[1, [1, 5]] = class_ids[3, 7] = 1
    image = np.zeros((4, 8, 3), np.uint8)
    image[:, ::2] = 200
    seeds = class_ids.astype(bool)
    confidence = np.arange(32, dtype=np.float32).reshape(4, 8) / 32
    small = shrink(Segmentation(image, class_ids, confidence, TASKS["nuclei"], seeds), 4)
    assert small.class_ids.tolist() == [[1, 0, 1, 0], [0, 0, 0, 1]]
    assert (small.seeds == small.class_ids.astype(bool)).all()
    assert (small.confidence * 32).tolist() == [[9, 11, 13, 15], [25, 27, 29, 31]]
    assert small.image.shape == (2, 4, 3) and small.image.dtype == np.uint8
    assert np.abs(small.image[:, 1:-1].astype(int) - 100).max() <= 15
    assert small.task is TASKS["nuclei"]


def test_shrink_keeps_the_objects_that_were_counted():
    """Two nuclei one pixel apart touch once that pixel's column is left out, and stay two."""
    class_ids = np.ones((6, 12), np.uint8)
    class_ids[:, 6] = 0
    result = Segmentation(np.zeros((6, 12, 3), np.uint8), class_ids, np.ones((6, 12), np.float32), TASKS["nuclei"])
    small = shrink(result, 6)
    assert small.class_ids.all() and small.instances().tolist() == [[1, 1, 1, 2, 2, 2]] * 3
    gaps = overlay(small, 0)[0] == palette(small.task)[1]
    assert gaps.all(axis=1).tolist() == [False, False, True, True, False, False]


@pytest.mark.parametrize(("shape", "side", "expected"), [((10, 5), 4, (4, 2)), ((3, 700), 70, (1, 70))])
def test_shrink_keeps_the_aspect(shape, side, expected):
    small = shrink(result_of(np.ones(shape)), side)
    assert small.image.shape == (*expected, 3)
    assert small.class_ids.shape == small.confidence.shape == expected and small.seeds is None


def test_shrink_leaves_small_results_as_they_are():
    result = result_of(np.ones((5, 10)))
    assert shrink(result, 10) is result
