import numpy as np
import pytest
from skimage.draw import disk

from segmenter.instances import label_objects


def discs(*circles, shape=(21, 36)):
    """A mask of discs (row, column, radius)."""
    mask = np.zeros(shape, bool)
    for row, column, radius in circles:
        mask[disk((row, column), radius, shape=shape)] = True
    return mask


def sizes(labels):
    """Pixels per label, from label 1 on."""
    return np.bincount(labels.ravel())[1:].tolist()


# Two discs of radius 8 whose centres lie 14 apart: they share the column 17 in the middle.
TOUCHING = ((10, 10, 8), (10, 24, 8))


def test_apart_without_seeds():
    labels = label_objects(discs((10, 7, 4), (10, 25, 5)))
    # x * x + y * y < 16 has 45 solutions, < 25 has 69
    assert labels.dtype == np.int32 and labels.shape == (21, 36)
    assert sizes(labels) == [69, 45]  # numbered as a reader meets them: the larger begins a row higher
    assert labels[10, 25] == 1 and labels[10, 7] == 2 and labels[0, 0] == 0


def test_touching_discs_are_one_without_seeds():
    assert label_objects(discs(*TOUCHING)).max() == 1


def test_touching_discs_are_parted_by_their_seeds():
    mask = discs(*TOUCHING)
    labels = label_objects(mask, discs((10, 10, 3), (10, 24, 3)))
    assert ((labels > 0) == mask).all()
    assert set(np.unique(labels)) == {0, 1, 2}
    left, right = labels[:, :17], labels[:, 18:]
    assert set(np.unique(left)) == {0, labels[10, 10]}
    assert set(np.unique(right)) == {0, labels[10, 24]}
    # Nearly equal: only the shared column in the middle can go to either.
    assert abs(sizes(labels)[0] - sizes(labels)[1]) <= mask[:, 17].sum()


def test_three_in_a_row():
    mask = discs((10, 6, 5), (10, 15, 5), (10, 24, 5))
    labels = label_objects(mask, discs((10, 6, 3), (10, 15, 3), (10, 24, 3)))
    assert labels.max() == 3
    assert len({labels[10, 6], labels[10, 15], labels[10, 24]}) == 3
    assert ((labels > 0) == mask).all()


@pytest.mark.parametrize("seeded", [7, 27])
def test_a_region_without_a_seed_is_one_object(seeded):
    mask = discs((10, 7, 5), (10, 27, 5))
    labels = label_objects(mask, discs((10, seeded, 2)))
    assert sizes(labels) == [69, 69]
    assert ((labels > 0) == mask).all()


@pytest.mark.parametrize(("pixels", "objects"), [(9, 1), (10, 2)])
def test_a_seed_that_is_noise(pixels, objects):
    """Where objects have 40 pixels at least, a seed of nine parts nothing and one of ten does."""
    mask = np.ones((5, 30), bool)
    seeds = np.zeros_like(mask)
    seeds[1:4, 2:6] = True
    seeds[2, 15 : 15 + pixels] = True
    assert label_objects(mask, seeds, min_size=40).max() == objects


def test_a_tiny_seed_alone_keeps_its_object():
    mask = discs((10, 7, 3), (10, 25, 5))
    labels = label_objects(mask, discs((10, 7, 1), (10, 25, 2)))
    assert discs((10, 7, 1)).sum() == 1
    assert sorted(sizes(labels)) == [25, 69]


@pytest.mark.parametrize(("pixels", "objects"), [(9, 1), (10, 2)])
def test_a_region_that_is_noise(pixels, objects):
    mask = discs((10, 7, 5))
    mask[18, 20 : 20 + pixels] = True
    assert label_objects(mask, discs((10, 7, 3)), min_size=10).max() == objects
    assert label_objects(mask, min_size=10).max() == objects
    assert label_objects(mask).max() == 2


def test_an_object_that_a_seed_leaves_too_small_does_not_count():
    mask = np.ones((4, 12), bool)
    seeds = np.zeros_like(mask)
    seeds[:, :7] = seeds[:, 11] = True
    labels = label_objects(mask, seeds, min_size=13)
    assert labels.max() == 1 and labels[0, 0] == 1 and labels[0, 11] == 0


def test_only_specks_are_no_object():
    mask = np.zeros((9, 9), bool)
    mask[2, 2:5] = True
    assert (label_objects(mask, np.zeros_like(mask), min_size=4) == 0).all()


def test_two_tiny_seeds_in_one_region_are_one_object():
    seeds = np.zeros((5, 9), bool)
    seeds[2, 1] = seeds[2, 7] = True
    assert (label_objects(np.ones((5, 9), bool), seeds, min_size=8) == 1).all()


def test_seeds_outside_the_mask_do_not_count():
    mask = discs((10, 10, 5))
    labels = label_objects(mask, discs((10, 10, 2), (10, 28, 4)))
    assert ((labels > 0) == mask).all()
    assert labels.max() == 1


def test_the_part_of_a_seed_outside_the_mask_does_not_count():
    """Two of its eight pixels are inside, too few beside a good seed."""
    mask, seeds = np.zeros((8, 30), bool), np.zeros((8, 30), bool)
    mask[:4] = True
    seeds[1:3, 2:6] = True
    seeds[3:7, 20:22] = True
    assert label_objects(mask, seeds, min_size=12).max() == 1


def test_corners_do_not_join():
    mask = np.array([[1, 1, 0], [0, 0, 1]], bool)
    assert label_objects(mask).tolist() == [[1, 1, 0], [0, 0, 2]]
    large = np.kron(mask, np.ones((4, 4), bool))
    assert sorted(sizes(label_objects(large, np.zeros_like(large)))) == [16, 32]


@pytest.mark.parametrize("seeded", [False, True])
def test_nothing_and_everything(seeded):
    nothing, everything = np.zeros((4, 6), bool), np.ones((4, 6), bool)
    assert not label_objects(nothing, everything if seeded else None).any()
    labels = label_objects(everything, everything if seeded else None)
    assert labels.dtype == np.int32 and (labels == 1).all()


def test_labels_are_consecutive():
    rng = np.random.default_rng(3)
    mask, seeds = rng.random((60, 60)) < 0.6, rng.random((60, 60)) < 0.5
    labels = label_objects(mask, seeds)
    assert labels.max() > 10
    assert np.unique(labels).tolist() == list(range(labels.max() + 1))
    assert not labels[~mask].any()


def test_the_input_stays_as_it_was():
    mask, seeds = discs(*TOUCHING), discs((10, 10, 3), (10, 24, 1))
    before = mask.copy(), seeds.copy()
    label_objects(mask, seeds)
    assert (mask == before[0]).all() and (seeds == before[1]).all()
