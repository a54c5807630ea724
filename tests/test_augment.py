"""Image and target go through chance together, and come out in the promised form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from segmenter.fitting import PAD_VALUE
from train.augment import STYLES, training_transform, validation_transform
from train.recipe import Recipe
from train.stains import FluorescenceAsStain

RECIPE = Recipe(network={}, size=64, crop=48, scale=(0.5, 1.5))


def halves(height=60, width=90):
    """A picture whose left half is dark with target 0, its right half bright with target 1."""
    target = np.zeros((height, width), np.uint8)
    target[:, width // 2 :] = 1
    return np.repeat(target[..., None] * 200, 3, axis=2), target


@pytest.mark.parametrize("policy", ["fit", "tile"])
def test_geometry_moves_image_and_target_together(policy):
    torch.manual_seed(0)
    transform = training_transform(RECIPE, policy)
    for _ in range(20):
        image, target = transform(*halves())
        assert image.shape == (48, 48, 3) and image.dtype == torch.uint8
        assert target.shape == (48, 48) and target.dtype == torch.int64
        padded = target == 255
        assert (image[padded] == PAD_VALUE).all()
        agree = (image[..., 0] > 100) == (target == 1)
        assert agree[~padded].float().mean() > 0.93  # the bilinear edge between the halves is the rest


@pytest.mark.parametrize("style", STYLES)
def test_styles_keep_form_and_change_something(style):
    torch.manual_seed(1)
    transform = training_transform(replace(RECIPE, augment=style, scale=(1, 1)), "tile")
    image, target = halves(48, 48)
    outputs = [transform(image, target) for _ in range(12)]
    assert all(found.shape == (48, 48, 3) and found.dtype == torch.uint8 for found, _ in outputs)
    assert all(set(found.unique().tolist()) <= {0, 1, 255} for _, found in outputs)
    seen = {tuple(found.flatten().tolist()) for found, _ in outputs}
    assert seen == {tuple(image.flatten().tolist())} if style == "none" else len(seen) > 6


def test_scale_stays_within_the_recipe():
    torch.manual_seed(2)
    recipe = replace(RECIPE, scale=(0.5, 0.5), crop=64)
    _, target = training_transform(recipe, "tile")(*halves(40, 80))
    assert int((target != 255).sum()) == 20 * 40
    _, target = training_transform(recipe, "fit")(*halves(40, 80))
    assert int((target != 255).sum()) == 16 * 32  # half the working size of 64


def test_validation_fits_photos_as_prediction_does():
    image, target = validation_transform(RECIPE, "fit")(*halves(30, 60))
    assert image.shape == (64, 64, 3)
    assert (target[32:] == 255).all() and (image[32:] == PAD_VALUE).all()
    assert (target[:32, :32] == 0).all() and (target[:32, 32:] == 1).all()


def test_validation_takes_the_middle_of_a_large_tile():
    target = np.zeros((100, 100), np.uint8)
    target[18:82, 18:82] = 1
    image, found = validation_transform(RECIPE, "tile")(np.zeros((100, 100, 3), np.uint8), target)
    assert image.shape == (64, 64, 3) and (found == 1).all()


def test_stretch_fills_the_square_whatever_the_aspect():
    for make in (training_transform, validation_transform):
        image, target = make(replace(RECIPE, stretch=True), "stretch")(*halves(20, 90))
        assert image.shape == (64, 64, 3)
        assert (target[:, :32] == 0).all() and (target[:, 32:] == 1).all()


@pytest.mark.parametrize("policy", ["fit", "stretch"])
def test_targets_lie_where_the_image_lies(policy):
    """Over edges at 40 places the mask's edge is where it should be in the mean; half a pixel on with plain nearest."""
    transform = validation_transform(replace(RECIPE, stretch=policy == "stretch"), policy)
    off = []
    for edge in range(30, 70):
        target = np.zeros((100, 100), np.uint8)
        target[edge:, edge:] = 1
        _, found = transform(np.zeros((100, 100, 3), np.uint8), target)
        off += [64 - int(found[63].sum()) - 0.64 * edge, 64 - int(found[:, 63].sum()) - 0.64 * edge]
    assert abs(np.mean(off)) < 0.05 and np.abs(off).max() <= 0.5


def test_target_is_made_after_the_geometry():
    seen = []

    def to_target(labels):
        seen.append(labels.shape)
        return np.where(labels == 300, 2, 0)

    target = np.full((40, 40), 300, np.int32)
    _, found = training_transform(replace(RECIPE, scale=(1, 1)), "tile", to_target)(
        np.zeros((40, 40, 3), np.uint8), target
    )
    assert seen == [(48, 48)]
    assert set(found.unique().tolist()) == {2, 255}


def test_glowing_nuclei_become_dark_ones_on_a_bright_ground_and_stay_where_they_are():
    torch.manual_seed(3)
    dark = tv_tensors.Image(torch.zeros(3, 60, 80, dtype=torch.uint8))
    dark[:, 20:40, 30:60] = 200
    nuclei = tv_tensors.Mask((dark[0] > 0).to(torch.uint8))
    stained = FluorescenceAsStain()
    seen = [stained(dark, nuclei) for _ in range(10)]
    for image, mask in seen:
        assert image.shape == dark.shape and image.dtype == torch.uint8 and (mask == nuclei).all()
        red = image[0].float()  # which haematoxylin takes and eosin does not
        assert red[nuclei == 1].mean() < 0.8 * red[nuclei == 0].mean()
    assert len({tuple(image.flatten().tolist()) for image, _ in seen}) == 10
    padded = tv_tensors.Image(torch.nn.functional.pad(dark // 2, (0, 200), value=PAD_VALUE))
    assert not (stained(padded) == padded).all()  # what is padded makes no picture bright
    bright = tv_tensors.Image(255 - dark)
    assert (stained(bright) == bright).all()
