from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from segmenter.result import ClassStats, Segmentation
from segmenter.tasks import TASKS


@pytest.fixture
def pets():
    """Two rows of four: three background, four pet, one border."""
    class_ids = np.array([[0, 0, 1, 1], [0, 1, 1, 2]], np.uint8)
    confidence = np.array([[1.0, 0.5, 1.0, 0.5], [0.75, 0.5, 1.0, 0.875]], np.float32)
    return Segmentation(np.zeros((2, 4, 3), np.uint8), class_ids, confidence, TASKS["pets"])


def nuclei(class_ids, seeds=None):
    class_ids = np.array(class_ids, np.uint8)
    image = np.zeros((*class_ids.shape, 3), np.uint8)
    return Segmentation(image, class_ids, np.ones(class_ids.shape, np.float32), TASKS["nuclei"], seeds)


def test_stats(pets):
    assert pets.stats() == [
        ClassStats("background", (0, 0, 0), 3, 0.375, 0.75),
        ClassStats("pet", (230, 159, 0), 4, 0.5, 0.75),
        ClassStats("border", (86, 180, 233), 1, 0.125, 0.875),
    ]


def test_stats_are_plain_numbers(pets):
    """They go into JSON."""
    for stats in pets.stats():
        assert type(stats.pixels) is int and type(stats.fraction) is float and type(stats.confidence) is float


def test_a_class_without_pixels():
    result = nuclei([[1, 1], [1, 1]])
    assert result.stats()[0] == ClassStats("background", (0, 0, 0), 0, 0.0, 0.0)
    assert result.coverage() == {"background": 0.0, "nucleus": 1.0}


def test_coverage(pets):
    assert pets.coverage() == {"background": 0.375, "pet": 0.5, "border": 0.125}


def test_mask(pets):
    assert pets.mask("pet").dtype == bool
    assert pets.mask("pet").tolist() == [[False, False, True, True], [False, True, True, False]]
    assert pets.mask("border").sum() == 1 and pets.mask("background").sum() == 3
    with pytest.raises(KeyError, match="pets has no class 'cat'"):
        pets.mask("cat")


def test_confidence_may_come_later(pets):
    asked = []

    def confidence():
        asked.append(1)
        return pets.confidence

    later = Segmentation(pets.image, pets.class_ids, confidence, pets.task)
    assert later.mask("pet").sum() == 4 and later.coverage() == pets.coverage() and not asked
    assert later.stats() == pets.stats()
    assert later.confidence is pets.confidence and asked == [1]
    assert replace(later, min_object=2).confidence is pets.confidence and asked == [1]
    with pytest.raises(TypeError, match="confidence"):
        Segmentation(pets.image, pets.class_ids, task=pets.task)


def test_results_are_frozen_and_compare_by_identity(pets):
    with pytest.raises(FrozenInstanceError):
        pets.class_ids = None
    with pytest.raises(FrozenInstanceError):
        pets.confidence = None
    copy = Segmentation(pets.image, pets.class_ids, pets.confidence, pets.task)
    assert pets == pets and pets != copy
    assert len({pets, copy}) == 2


def test_instances_without_seeds():
    labels = nuclei([[1, 1, 0, 0, 1], [0, 0, 0, 1, 0]]).instances()
    # Corners do not join: three objects.
    assert labels.dtype == np.int32
    assert labels.tolist() == [[1, 1, 0, 0, 2], [0, 0, 0, 3, 0]]


def test_instances_with_seeds():
    seeds = np.zeros((8, 16), bool)
    seeds[2:6, 2:6] = seeds[2:6, 10:14] = True
    labels = nuclei(np.ones((8, 16)), seeds).instances()
    assert (labels[:, :8] == labels[0, 0]).all() and (labels[:, 8:] == labels[0, 15]).all()
    assert sorted(np.unique(labels)) == [1, 2]


def test_instances_are_found_once_and_read_only():
    result = nuclei([[1, 0, 1]])
    labels = result.instances()
    assert result.instances() is labels
    with pytest.raises(ValueError, match="read-only"):
        labels[0, 0] = 5


def test_objects_of_all_foreground_classes(pets):
    assert pets.instances().tolist() == [[0, 0, 1, 1], [0, 1, 1, 1]]
