"""What the tests share: a fake network whose answers are known, and the form of every refusal."""

from __future__ import annotations

import re
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import settings
from torch import nn

from segmenter.config import Config
from segmenter.engine_torch import TorchEngine
from segmenter.predict import Segmenter
from segmenter.tasks import get_task

# No test may fail because the machine was slow for a moment.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

# The brightest channel decides what the fake network answers.
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
NETWORK_CLASSES = {"pets": (0, 1, 2), "water": (0, 1), "nuclei": (0, 1, 1), "cars": (0, 1)}


class ColourNetwork(nn.Module):
    """Its logits are the first ``maps`` channels of the normalised pixels: red is map 0, green 1, blue 2.

    It remembers the shape of every input and whether it was in training mode.
    """

    def __init__(self, maps):
        super().__init__()
        self.maps = maps
        self.shapes = []
        self.modes = []

    def forward(self, pixels):
        self.shapes.append(tuple(pixels.shape))
        self.modes.append(self.training)
        return pixels[:, : self.maps]


def make_config(task="pets", **changes):
    """A config for the fake network: pixels in [-1, 1], working size 64."""
    fields = {
        "task": task,
        "network": {"_model_class": "ColourNetwork"},
        "classes": get_task(task).class_names,
        "network_classes": NETWORK_CLASSES[task],
        "input_policy": get_task(task).input_policy,
        "size": 64,
        "overlap": 16,
    }
    return Config(**{**fields, **changes})


def make_segmenter(task="pets", max_pixels=50_000_000, **changes):
    """A Segmenter on the fake network; the network stands in its attribute ``fake``."""
    config = make_config(task, **changes)
    network = ColourNetwork(len(config.network_classes))
    segmenter = Segmenter(get_task(task), TorchEngine(network, config), config, max_pixels)
    segmenter.fake = network
    return segmenter


@contextmanager
def expect_refusal(error, *words):
    """Expect exactly this error, as one sentence that holds all the words."""
    with pytest.raises(error) as caught:
        yield caught
    message = str(caught.value)
    assert type(caught.value) is error
    assert "\n" not in message and message.endswith("."), message
    assert re.search(r"[.!?]\s", message[:-1]) is None, message
    assert len(message) < 400, message
    for word in words:
        assert word in message, f"{word!r} is not in: {message}"


def make_quarters(height=40, width=60, colours=(RED, GREEN, BLUE, RED)):
    """An RGB picture of four plain quarters: top left, top right, bottom left, bottom right."""
    image = np.empty((height, width, 3), np.uint8)
    middle, centre = height // 2, width // 2
    image[:middle, :centre], image[:middle, centre:] = colours[0], colours[1]
    image[middle:, :centre], image[middle:, centre:] = colours[2], colours[3]
    return image


@pytest.fixture
def config_for():
    return make_config


@pytest.fixture
def segmenter_for():
    return make_segmenter


@pytest.fixture
def refusal():
    return expect_refusal


@pytest.fixture
def quarters():
    return make_quarters


@pytest.fixture
def noise():
    """A picture (height, width, 3) of random bytes, the same at every call."""

    def make(height, width, seed=0):
        return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)

    return make


@pytest.fixture(autouse=True)
def few_threads():
    """Tiny tensors gain nothing from many threads; a busy machine loses."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, 2))
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    """A folder for converted networks that are not the shipped ones, which they would drive out of the user's."""
    folder = tmp_path_factory.mktemp("converted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("segmenter.engine_openvino.cache_folder", lambda: folder)
        yield folder
