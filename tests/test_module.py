"""Losses worked out by hand, and which parameters learn how fast."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from segmenter.config import Config
from train.module import SegmentationModule
from train.recipe import Recipe


def module(loss="cross_entropy", **changes):
    config = Config("water", {}, ("background", "water"), (0, 1), "tile", 32)
    network = nn.Sequential()
    network.encoder = nn.Conv2d(3, 4, 1)
    network.head = nn.Conv2d(4, 2, 1)
    return SegmentationModule(network, replace(Recipe(network={}), loss=loss, **changes), config)


def test_cross_entropy_is_the_mean_over_known_pixels():
    logits = torch.zeros(1, 2, 1, 2)
    logits[0, 1, 0, 0] = math.log(3)  # probability 3/4 for water in the first pixel
    known = torch.tensor([[[1, 255]]])
    assert module().loss(logits, known).item() == pytest.approx(-math.log(0.75))


@pytest.mark.parametrize("loss", ["cross_entropy", "cross_entropy+dice", "bce"])
def test_nothing_known_costs_nothing_and_is_finite(loss):
    value = module(loss).loss(torch.randn(2, 2, 4, 4), torch.full((2, 4, 4), 255))
    assert value.item() == pytest.approx(0.0, abs=1e-6)


def test_bce_counts_every_map():
    logits = torch.zeros(1, 2, 1, 1)
    assert module("bce").loss(logits, torch.zeros(1, 1, 1, dtype=torch.long)).item() == pytest.approx(math.log(2))


def test_dice_is_added_and_falls_with_a_better_answer():
    target = torch.zeros(1, 8, 8, dtype=torch.long)
    target[:, 4:] = 1
    right = torch.stack([1 - target, target], 1).float() * 20 - 10
    both = module("cross_entropy+dice")
    assert both.loss(right, target).item() == pytest.approx(0.0, abs=1e-3)
    assert both.loss(-right, target).item() > 20.9  # cross-entropy 20 and a Dice loss of nearly 1


def test_encoder_learns_at_its_share():
    learner = module(schedule="constant", learning_rate=0.01, encoder_rate=0.25)
    rates = {group["lr"]: len(group["params"]) for group in learner.configure_optimizers().param_groups}
    assert rates == {0.01: 2, 0.0025: 2}


def test_adam_has_one_rate_for_all():
    learner = module(optimiser="adam", schedule="constant", learning_rate=0.01)
    assert [len(g["params"]) for g in learner.configure_optimizers().param_groups] == [4]


def test_inner_parts_and_boundaries_count_as_one_class():
    config = Config("nuclei", {}, ("background", "nucleus"), (0, 1, 1), "tile", 32)
    learner = SegmentationModule(nn.Conv2d(3, 3, 1), Recipe(network={}), config)
    assert learner.public[[0, 1, 2, 255]].tolist() == [0, 1, 1, 255]


def test_a_teacher_is_learnt_from_by_cross_entropy_where_nothing_else_is_known():
    """Three quarters water, the teacher says of every black pixel; the mean it was taught with is its own."""
    config = Config("water", {}, ("background", "water"), (0, 1), "tile", 32)
    teacher = nn.Conv2d(3, 2, 1, bias=False)
    teacher.weight.data = torch.tensor([0.0, -math.log(3) / 3]).reshape(2, 1, 1, 1).repeat(1, 3, 1, 1)
    own = replace(config, mean=(0.2,) * 3, std=(0.2,) * 3)  # black is -1 to it
    learner = SegmentationModule(nn.Conv2d(3, 2, 1), Recipe(network={}), config, teacher=(teacher, own))
    logits = torch.stack([torch.zeros(1, 4, 4), torch.full((1, 4, 4), math.log(7))], 1).requires_grad_()
    distance = learner.distance_to_teacher(logits, torch.zeros(1, 4, 4, 3, dtype=torch.uint8))
    assert distance.item() == pytest.approx(-(0.25 * math.log(1 / 8) + 0.75 * math.log(7 / 8)))
    distance.backward()
    assert logits.grad.abs().sum() > 0 and teacher.weight.grad is None
    assert {name.split(".")[0] for name in learner.state_dict()} == {"network"}


def test_without_a_teacher_nothing_is_added():
    assert module().distance_to_teacher(torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4, 3)).item() == 0
