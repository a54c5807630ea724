import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import rgb2lab

from segmenter import scoring
from segmenter.scoring import ERRORS, error_map, error_picture, score
from segmenter.tasks import TASKS

TRUE = np.array([[0, 0, 1, 1], [0, 1, 2, 255]], np.uint8)
FOUND = np.array([[0, 1, 1, 0], [0, 1, 1, 2]], np.uint8)


def test_a_score_by_hand():
    """Seven pixels count: 2 of 3 background, 2 of 3 pet, and the one border pixel is called pet."""
    found = score(FOUND, TRUE, TASKS["pets"])
    assert found.confusion.tolist() == [[2, 1, 0], [1, 2, 0], [0, 1, 0]] and found.confusion.dtype == np.int64
    assert found.iou == pytest.approx({"background": 2 / 4, "pet": 2 / 5, "border": 0})
    assert found.dice == pytest.approx({"background": 4 / 6, "pet": 4 / 7, "border": 0})
    assert found.mean_iou == pytest.approx((0.5 + 0.4 + 0) / 3)
    assert found.foreground_iou == pytest.approx(3 / 5)  # 2 pet and the border are found, 1 missed, 1 false
    assert found.pixel_accuracy == pytest.approx(4 / 7)
    assert found.ignored == 1


def test_the_boundary_score_is_the_mean_of_the_foreground_classes():
    """100 x 100: the tolerance is 1.06. The pet's edge is exact, the border's ends 5 pixels too far right."""
    true, found = np.zeros((100, 100), np.uint8), np.zeros((100, 100), np.uint8)
    true[:, :20], true[:, 20:40] = 1, 2
    found[:, :20], found[:, 20:45] = 1, 2
    # pet: 1; border: 100 pixels at its left edge agree, the 100 at its right edge do not
    assert score(found, true, TASKS["pets"]).boundary_f == pytest.approx((1 + 0.5) / 2)
    true[:, 39] = 255  # where the truth is ignored nothing counts: the border has its left edge only
    found[:, 40:] = 0
    assert score(found, true, TASKS["pets"]).boundary_f == 1


@pytest.mark.parametrize(
    ("true", "found", "boundary"),
    [
        (0, 0, 1),  # no foreground anywhere
        (1, 1, 1),  # all foreground: no boundary, and none needed
        (255, 1, 1),  # nothing known
        (0, 1, 1),  # neither mask has a boundary
    ],
)
def test_plain_pictures(true, found, boundary):
    result = score(np.full((4, 5), found, np.uint8), np.full((4, 5), true, np.uint8), TASKS["water"])
    assert result.boundary_f == boundary
    assert result.pixel_accuracy == float(true in (found, 255))
    assert result.ignored == (20 if true == 255 else 0)


def test_shapes_and_ids_that_do_not_fit(refusal):
    with refusal(ValueError, "target is (2, 3), prediction (3, 2)"):
        score(np.zeros((3, 2), np.uint8), np.zeros((2, 3), np.uint8), TASKS["water"])
    with refusal(ValueError, "class ids reach from 0 to 2"):
        score(np.zeros((1, 2), np.uint8), np.array([[0, 2]], np.uint8), TASKS["water"])


def test_the_error_map():
    assert error_map(FOUND, TRUE).tolist() == [[0, 3, 1, 2], [0, 1, 3, 255]]
    assert error_map(FOUND, TRUE).dtype == np.uint8


@given(st.integers(0, 2**32 - 1))
def test_the_error_map_counts_what_the_matrix_counts(seed):
    rng = np.random.default_rng(seed)
    true, found = rng.choice([0, 1, 2, 255], (6, 7)).astype(np.uint8), rng.integers(0, 3, (6, 7), np.uint8)
    counts = np.bincount(error_map(found, true).ravel(), minlength=256)
    result = score(found, true, TASKS["pets"])
    matrix = result.confusion
    assert counts[0] == matrix[0, 0] and counts[1] == matrix[1, 1] + matrix[2, 2]
    assert counts[2] == matrix[1:, 0].sum() and counts[255] == result.ignored
    assert counts[3] == matrix[0, 1:].sum() + matrix[1, 2] + matrix[2, 1]


def test_the_error_picture():
    """Three quarters of the colour and a quarter of the grey; red is 76 in grey, 57 when dimmed."""
    image = np.zeros((1, 5, 3), np.uint8)
    image[..., 0] = 255
    drawn = error_picture(image, np.array([[0, 1, 2, 3, 255]], np.uint8))
    expected = [[57, 57, 57]]
    expected += [[(57 * 64 + channel * 192) >> 8 for channel in colour] for _, colour in ERRORS.values()]
    expected += [[(57 * 64 + 255 * 192) >> 8] * 3]
    assert drawn.tolist() == [expected] and drawn.dtype == np.uint8
    assert [value for value, _ in ERRORS.values()] == [1, 2, 3] and list(ERRORS) == ["hit", "missed", "false"]


# Machado et al. (IEEE TVCG 2009), severity 1.0, on linear RGB.
COLOUR_VISION = {
    "all": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


@pytest.mark.parametrize("vision", COLOUR_VISION)
@pytest.mark.parametrize("grey", [0, 128, 255])
def test_everyone_can_tell_the_errors_apart(vision, grey):
    """As drawn over any grey, and from it; a difference of 2.3 in CIELAB is just noticed, 15 is plain."""
    drawn = error_picture(np.full((1, 5, 3), grey, np.uint8), np.array([[0, 1, 2, 3, 255]], np.uint8)) / 255
    linear = np.where(drawn <= 0.04045, drawn / 12.92, ((drawn + 0.055) / 1.055) ** 2.4)
    seen = (linear @ np.array(COLOUR_VISION[vision]).T).clip(0, 1)
    shown = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = rgb2lab(shown)[0]
    distances = [np.linalg.norm(lab[i] - lab[j]) for i in range(5) for j in range(i)]
    assert min(distances) > 15


def test_the_door():
    assert all(hasattr(scoring, name) for name in scoring.__all__)
