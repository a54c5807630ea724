import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.draw import disk, rectangle

from segmenter.metrics import (
    AP_THRESHOLDS,
    average_precision,
    boundary_f,
    boundary_tolerance,
    calibration_counts,
    confusion_matrix,
    dice_per_class,
    expected_calibration_error,
    foreground_confusion,
    iou_per_class,
    object_matches,
    pixel_accuracy,
)

TARGET = np.array([[0, 0, 1], [1, 255, 2]], np.uint8)
PREDICTED = np.array([[0, 1, 1], [0, 2, 2]], np.uint8)


def labelled(*shapes, size=(40, 40)):
    """Labels 1, 2, ... of shapes (rows, columns)."""
    labels = np.zeros(size, np.int32)
    for number, pixels in enumerate(shapes, 1):
        labels[pixels] = number
    return labels


def box(top, left, height, width):
    return tuple(rectangle((top, left), extent=(height, width)))


def circle(row, column, radius):
    return disk((row, column), radius)


# ---------------------------------------------------------------- pixels


def test_confusion_matrix():
    confusion = confusion_matrix(TARGET, PREDICTED, 3)
    assert confusion.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert confusion.dtype == np.int64


def test_scores_by_hand():
    confusion = confusion_matrix(TARGET, PREDICTED, 3)
    assert iou_per_class(confusion) == pytest.approx([1 / 3, 1 / 3, 1])
    assert dice_per_class(confusion) == pytest.approx([1 / 2, 1 / 2, 1])
    assert pixel_accuracy(confusion) == pytest.approx(3 / 5)


def test_rows_are_true_and_columns_predicted():
    assert confusion_matrix(np.array([0, 0, 0]), np.array([1, 1, 0]), 2).tolist() == [[1, 2], [0, 0]]


@pytest.mark.parametrize(
    ("confusion", "iou", "dice", "accuracy"),
    [
        ([[4, 0], [0, 0]], [1, 1], [1, 1], 1),  # a class in neither
        ([[0, 4], [0, 0]], [0, 0], [0, 0], 0),
        ([[0, 0], [0, 0]], [1, 1], [1, 1], 1),  # no pixel at all
        ([[6, 2], [1, 3]], [6 / 9, 3 / 6], [12 / 15, 6 / 9], 9 / 12),
    ],
)
def test_scores_of_a_matrix(confusion, iou, dice, accuracy):
    confusion = np.array(confusion)
    assert iou_per_class(confusion) == pytest.approx(iou)
    assert dice_per_class(confusion) == pytest.approx(dice)
    assert pixel_accuracy(confusion) == pytest.approx(accuracy)


def test_circles():
    """Radius 5 has 69 pixels, radius 4 inside it 45: the IoU is 45 / 69, the Dice 90 / 114."""
    target, predicted = labelled(circle(20, 20, 5)), labelled(circle(20, 20, 4))
    confusion = confusion_matrix(target, predicted, 2)
    assert confusion.tolist() == [[1600 - 69, 0], [24, 45]]
    assert iou_per_class(confusion) == pytest.approx([1531 / 1555, 45 / 69])
    assert dice_per_class(confusion) == pytest.approx([3062 / 3086, 90 / 114])


def test_only_ignored_pixels():
    nothing = confusion_matrix(np.full((3, 3), 255), np.zeros((3, 3), int), 2)
    assert nothing.tolist() == [[0, 0], [0, 0]]


def test_what_is_predicted_on_ignored_pixels_does_not_count():
    assert confusion_matrix(np.array([255, 1]), np.array([77, 1]), 2).tolist() == [[0, 0], [0, 1]]


@pytest.mark.parametrize(("target", "predicted"), [([0, 2], [0, 0]), ([0, 1], [0, 2]), ([2, 0], [0, 1])])
def test_ids_that_are_no_class(refusal, target, predicted):
    with refusal(ValueError, "class ids reach from 0 to 2", "with 2 classes they go from 0 to 1"):
        confusion_matrix(np.array(target), np.array(predicted), 2)


@pytest.mark.parametrize(("target", "predicted"), [([0, -1], [0, 0]), ([0, 0], [0, -1])])
def test_ids_below_zero(refusal, target, predicted):
    with refusal(ValueError, "class ids reach from -1 to 0"):
        confusion_matrix(np.array(target), np.array(predicted), 2)


def test_shapes_that_differ(refusal):
    with refusal(ValueError, "target is (2, 3), prediction (3, 2)", "one shape"):
        confusion_matrix(np.zeros((2, 3), int), np.zeros((3, 2), int), 2)


def test_foreground_confusion():
    confusion = np.array([[5, 1, 2], [3, 7, 1], [4, 2, 6]])
    assert foreground_confusion(confusion).tolist() == [[5, 3], [7, 16]]
    assert foreground_confusion(np.array([[5, 1], [3, 7]])).tolist() == [[5, 1], [3, 7]]


# ---------------------------------------------------------------- objects


@pytest.mark.parametrize(
    ("target", "predicted", "ious"),
    [
        ([box(5, 5, 10, 10)], [box(5, 5, 10, 10)], [1]),
        ([box(5, 5, 10, 10)], [box(5, 7, 10, 10)], [80 / 120]),
        ([box(5, 5, 10, 10)], [box(5, 5, 10, 5)], []),  # exactly a half is no match
        ([box(5, 5, 10, 10)], [box(5, 5, 10, 6)], [0.6]),
        ([circle(20, 20, 5)], [circle(20, 20, 4)], [45 / 69]),
        ([circle(20, 20, 5)], [circle(20, 20, 3)], []),  # 25 / 69
        ([box(5, 5, 10, 10)], [], []),
        ([], [box(5, 5, 10, 10)], []),
        ([], [], []),
        # one of two found, and one that is none
        ([box(0, 0, 4, 5), box(20, 20, 4, 5)], [box(20, 20, 4, 4), box(30, 0, 3, 3)], [0.8]),
        # two true ones taken for one: the larger still overlaps it by 60 of 100
        ([box(0, 0, 10, 6), box(0, 6, 10, 4)], [box(0, 0, 10, 10)], [0.6]),
    ],
)
def test_object_matches(target, predicted, ious):
    found, true, guess = object_matches(labelled(*target), labelled(*predicted))
    assert found.tolist() == pytest.approx(ious)
    assert (true, guess) == (len(target), len(predicted))


def test_any_numbers_serve_as_labels():
    target, predicted = labelled(box(0, 0, 4, 5), box(20, 20, 4, 5)), labelled(box(20, 20, 4, 4), box(0, 0, 4, 5))
    found, true, guess = object_matches(target * 1000, predicted * 77)
    assert sorted(found.tolist()) == pytest.approx([0.8, 1]) and (true, guess) == (2, 2)


def test_a_picture_that_is_all_object():
    found, true, guess = object_matches(np.ones((4, 4), int), np.ones((4, 4), int))
    assert found.tolist() == [1] and (true, guess) == (1, 1)


def test_thresholds():
    assert AP_THRESHOLDS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def test_average_precision_of_a_shifted_box():
    """IoU 80 / 120: found up to 0.65, a miss and a false one from 0.70 on."""
    scores = average_precision([object_matches(labelled(box(5, 5, 10, 10)), labelled(box(5, 7, 10, 10)))])
    assert scores == {threshold: float(threshold < 0.67) for threshold in AP_THRESHOLDS}


def test_average_precision_over_pictures():
    """Two true and three predicted, one pair of IoU 0.8; then one perfect pair: sums, not means.

    At 0.5: 2 hits / (3 + 4 - 2); at 0.8, which is not above 0.8: 1 / (3 + 4 - 1).
    """
    first = (np.array([0.8]), 2, 3)
    second = (np.array([1.0]), 1, 1)
    scores = average_precision([first, second])
    assert scores[0.5] == scores[0.75] == pytest.approx(2 / 5)
    assert scores[0.8] == scores[0.95] == pytest.approx(1 / 6)


def test_average_precision_of_nothing():
    nothing = object_matches(labelled(), labelled())
    assert set(average_precision([]).values()) == set(average_precision([nothing]).values()) == {1.0}
    one = object_matches(labelled(box(0, 0, 3, 3)), labelled())
    assert set(average_precision([nothing, one]).values()) == {0.0}


# ---------------------------------------------------------------- calibration


def test_calibration_error_by_hand():
    """Two pixels at 0.9, one right: off by 0.4; two at 0.62, both right: off by 0.38. The mean is 0.39."""
    counts = calibration_counts(np.array([[0.9, 0.9], [0.62, 0.62]]), np.array([[True, False], [True, True]]))
    assert counts.shape == (15, 3) and counts[:, 0].sum() == 4
    assert counts[13].tolist() == pytest.approx([2, 1.8, 1]) and counts[9].tolist() == pytest.approx([2, 1.24, 2])
    assert expected_calibration_error(counts) == pytest.approx(0.39)


def test_full_confidence_has_a_bin_and_pictures_add_up():
    right = calibration_counts(np.ones(3), np.ones(3, bool))
    wrong = calibration_counts(np.ones(1), np.zeros(1, bool))
    assert right[14].tolist() == [3, 3, 3]
    assert expected_calibration_error(right) == 0
    assert expected_calibration_error(right + wrong) == 0.25
    assert expected_calibration_error(np.zeros((15, 3))) == 0


# ---------------------------------------------------------------- boundaries


def everywhere(mask):
    return np.ones(mask.shape, bool)


def halves(column, size=(20, 30)):
    """bool: true left of a column."""
    return np.arange(size[1])[None, :].repeat(size[0], 0) < column


@pytest.mark.parametrize(
    ("shape", "tolerance"), [((300, 400), 3.75), ((30, 40), 1.0), ((1, 1), 1.0), ((3000, 4000, 3), 37.5)]
)
def test_boundary_tolerance(shape, tolerance):
    assert boundary_tolerance(shape) == pytest.approx(tolerance)


@pytest.mark.parametrize(("shift", "expected"), [(0, 1), (1, 1), (2, 1), (3, 0), (-2, 1), (-3, 0)])
def test_a_shifted_edge(shift, expected):
    """The boundary is the last column inside; the picture's edge is none. 2 pixels off is within a tolerance of 2."""
    true, guess = halves(10), halves(10 + shift)
    assert boundary_f(true, guess, everywhere(true), 2.0) == expected


def test_boundary_f_by_hand():
    """True: one edge of 20 pixels. Predicted: that edge and a block of 4 x 4 far from it, whose rim has 12 pixels.

    P = 20 / 32, R = 1.
    """
    true, guess = halves(10), halves(10)
    guess[8:12, 22:26] = True
    assert boundary_f(true, guess, everywhere(true), 1.0) == pytest.approx(2 * (20 / 32) / (20 / 32 + 1))
    assert boundary_f(guess, true, everywhere(true), 1.0) == pytest.approx(2 * (20 / 32) / (20 / 32 + 1))


def test_distances_are_euclidean():
    """Single pixels (0, 0) and (3, 4) are 5 apart."""
    true, guess = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    true[0, 0] = guess[3, 4] = True
    assert boundary_f(true, guess, everywhere(true), 4.99) == 0
    assert boundary_f(true, guess, everywhere(true), 5.0) == 1


def test_boundaries_that_are_not_there():
    whole, nothing = np.ones((5, 6), bool), np.zeros((5, 6), bool)
    part = whole.copy()
    part[0] = False
    assert boundary_f(whole, whole, whole, 1.0) == boundary_f(nothing, nothing, whole, 1.0) == 1
    assert boundary_f(part, whole, whole, 1.0) == boundary_f(whole, part, whole, 1.0) == 0
    assert boundary_f(part, nothing, whole, 1.0) == 0


def test_ignored_pixels_have_and_make_no_boundary():
    true, guess = halves(10), halves(10)
    guess[5:9, 20:24] = True
    known = everywhere(true)
    known[3:11, 18:26] = False  # hides what is falsely found
    assert boundary_f(true, guess, known, 1.0) == 1
    known = ~halves(10)  # the truth inside is unknown: no mask is left, and no edge to the unknown
    assert boundary_f(true, halves(10), known, 1.0) == 1


@given(st.integers(0, 2**32 - 1), st.tuples(st.integers(1, 12), st.integers(1, 12)), st.floats(1, 6))
def test_boundary_f_of_any_masks(seed, size, tolerance):
    """Against all distances written out; swapping the two masks swaps P and R only."""
    rng = np.random.default_rng(seed)
    true, guess, known = rng.random((3, *size)) < rng.random((3, 1, 1))

    def rim(mask):
        found = []
        for y, x in zip(*np.nonzero(mask & known), strict=True):
            around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            inside = [(v, u) for v, u in around if 0 <= v < size[0] and 0 <= u < size[1]]
            if any(known[place] and not mask[place] for place in inside):
                found.append((y, x))
        return found

    def near(some, others):
        return np.mean([any(np.hypot(y - v, x - u) <= tolerance for v, u in others) for y, x in some])

    one, two = rim(true), rim(guess)
    expected = float(bool(one) == bool(two))
    if one and two:
        precision, recall = near(two, one), near(one, two)
        expected = 2 * precision * recall / (precision + recall) if precision + recall else 0
    assert boundary_f(true, guess, known, tolerance) == pytest.approx(expected)
    assert boundary_f(guess, true, known, tolerance) == pytest.approx(expected)
