from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from segmenter import ImageError, Segmenter
from segmenter.config import Familiarity, Judge
from segmenter.engine_torch import TorchEngine
from segmenter.suggest import SURE, Suggestion, middle, suggest
from segmenter.tasks import TASKS


class Same(nn.Module):
    """An encoder whose features are the pixels at every depth."""

    out_channels = (3,) * 6

    def forward(self, pixels):
        return [pixels] * 6


class Describing(nn.Module):
    """A network whose encoder sees the mean colour of the picture in all its features."""

    def __init__(self):
        super().__init__()
        self.encoder = Same()
        self.decoder = lambda features: features[1]
        self.segmentation_head = nn.Identity()


def segmenter_of(task, config, **options):
    return Segmenter(task, TorchEngine(Describing(), config), config, **options)


@pytest.fixture
def segmenters(config_for):
    """Pets are red, water is blue, nuclei are green; cars were never asked."""
    found = {}
    for name, channel in (("pets", 0), ("water", 2), ("nuclei", 1), ("cars", None)):
        weights = np.full(9, -2 / 3)
        if channel is not None:
            weights[channel::3] = 4 / 3
        known = None if channel is None else Familiarity((Judge(tuple(weights), -0.5),))
        found[name] = segmenter_of(TASKS[name], replace(config_for(name), familiarity=known))
    return found


def plain(*colour):
    return np.full((70, 200, 3), colour, np.uint8)


@pytest.mark.parametrize(("colour", "task"), [((255, 0, 0), "pets"), ((0, 0, 255), "water"), ((0, 255, 0), "nuclei")])
def test_the_best_of_its_kind_is_suggested(segmenters, colour, task):
    found = suggest(plain(*colour), segmenters)
    assert found.task == task and set(found.familiarity) == {"pets", "water", "nuclei"}
    # 2 features of weight 2 at +1 and 4 of weight -1 at -1, and the bias; the edges are padded in grey for pets
    assert found.familiarity["water" if task != "water" else "nuclei"] < 0 < found.familiarity[task] <= 7.5
    assert TASKS[task].title.lower() in found.reason


def test_keys_need_not_be_tasks(segmenters):
    found = suggest(plain(255, 0, 0), {"mine": segmenters["pets"], "water": segmenters["water"]})
    assert found.reason == "It looks like the pictures that the mine model was trained on."


def test_as_many_pixels_as_a_model_takes(segmenters, refusal):
    pets = segmenters["pets"]
    few, many = (segmenter_of(pets.task, pets.config, max_pixels=count) for count in (100, 20_000))
    assert suggest(plain(255, 0, 0), {"few": few, "many": many}).task == "many"
    with refusal(ImageError, "the limit is"):
        suggest(plain(255, 0, 0), {"few": few})


def test_none_fits(segmenters):
    found = suggest(plain(128, 128, 128), segmenters)
    assert found.task is None and "None of the models" in found.reason
    # A dark red: log-odds between 0 and what is sure
    unsure = suggest(plain(45, 0, 0), segmenters)
    assert 0 < unsure.familiarity["pets"] < SURE and unsure.task is None
    assert unsure.reason == "It is not clear that any model was trained on pictures like this one."
    assert suggest(plain(0, 0, 0), {"cars": segmenters["cars"]}) == Suggestion(None, {})


@pytest.mark.parametrize(("size", "task"), [((24, 200), "pets"), ((23, 200), None), ((200, 23), None)])
def test_of_a_narrow_picture_nothing_is_known(segmenters, size, task):
    found = suggest(np.full((*size, 3), (255, 0, 0), np.uint8), {"pets": segmenters["pets"]})
    assert found.task == task and ("too narrow" in found.reason) == (task is None)


def test_others_that_fit_are_named():
    found = Suggestion("pets", {"pets": 3.0, "cars": 2.0, "water": 0.2})
    assert found.reason == "It looks like the pictures that the pets model was trained on; cars would fit too."


@pytest.mark.parametrize("size", [(700, 300), (512, 512), (3, 2000)])
def test_the_middle(size):
    rows = np.arange(size[0])[:, None, None] * np.ones((1, size[1], 3))
    part = middle(rows, 512)
    assert part.shape == (min(size[0], 512), min(size[1], 512), 3)
    assert part[0, 0, 0] == max(0, (size[0] - 512) // 2)


def test_the_description_of_a_large_tiled_picture_costs_its_middle_only(segmenters):
    calls = []
    engine = segmenters["water"]._engine
    describe = engine.describe
    engine.describe = lambda windows: calls.append(len(windows)) or describe(windows)
    suggest(np.zeros((2000, 3000, 3), np.uint8), {"water": segmenters["water"]})
    assert sum(calls) == len(torch.arange(0, 512 - 16, 64 - 16)) ** 2
