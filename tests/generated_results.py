"""Results without a network, for the tests of what is made from them: masks that outlines and tables find hard."""

import numpy as np
from hypothesis import strategies as st

from segmenter.result import Segmentation
from segmenter.tasks import TASKS

# Rows of class ids of each mask; "." is background.
SHAPES = {
    "one pixel": ["#"],
    "one pixel of background": ["."],
    "empty": ["...", "..."],
    "full": ["####", "####", "####"],
    "one row": ["#.##.#"],
    "hole": ["#####", "#...#", "#.#.#", "#...#", "#####"],
    "two holes": ["#####", "#.#.#", "#####"],
    "holes that touch": ["####", "#.##", "##.#", "####"],
    "hole that touches the outside": ["###", "#.#", "##."],
    "hole that touches its own outside twice over": [".##.", "#..#", "####"],
    "corners that touch": ["#.#", ".#.", "#.#"],
    "spiral": ["######", ".....#", "####.#", "#..#.#", "#.##.#", "#....#", "######"],
    "at every border": [".#.#.", "##.##", ".....", "##.##", ".#.#."],
}


def result_of(class_ids, task="pets", min_object=1, seeds=None):
    """A result with these class ids; picture and confidence are random, the same at every call."""
    class_ids = np.array(class_ids, np.uint8)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*class_ids.shape, 3), np.uint8)
    confidence = rng.uniform(0.4, 1, class_ids.shape).astype(np.float32)
    return Segmentation(image, class_ids, confidence, TASKS[task], seeds, min_object)


def shape(name):
    """bool (H, W) of a mask in SHAPES."""
    return np.array([[character == "#" for character in row] for row in SHAPES[name]])


def shaped_result(name, task):
    """A mask of SHAPES as a result; where a task has several classes they share it in stripes two pixels wide."""
    mask = shape(name)
    classes = len(TASKS[task].classes) - 1
    stripes = 1 + np.arange(mask.shape[1]) // 2 % classes
    return result_of(mask * stripes, task)


@st.composite
def results(draw, task=None, side=9):
    """Small results of any class ids, some with seeds and with objects that are too small."""
    name = draw(st.sampled_from(list(TASKS))) if task is None else task
    size = draw(st.tuples(st.integers(1, side), st.integers(1, side)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    share = draw(st.sampled_from([0.05, 0.3, 0.5, 0.8, 0.95]))
    class_ids = (rng.random(size) < share) * rng.integers(1, len(TASKS[name].classes), size)
    seeds = rng.random(size) < 0.2 if draw(st.booleans()) else None
    return result_of(class_ids, name, draw(st.integers(1, 4)), seeds)
