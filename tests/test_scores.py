"""The committed weights on the real test pictures: the stated scores are measured again, and pass the bars."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from segmenter import Segmenter
from segmenter.predict import WEIGHTS
from train import cars, nuclei, pets, water
from train.evaluate import evaluate, run_recipe
from train.scoreboard import HEADLINES, value

TRAININGS = {module.TRAINING.task.name: module.TRAINING for module in (pets, water, nuclei, cars)}

# (task, split, path to the score, bar)
BARS = [
    ("pets", "test", ("own_size", "pixel_accuracy"), 0.91),
    ("pets", "test", ("own_size", "mean_iou"), 0.76),
    ("pets", "test", ("own_size", "foreground_iou"), 0.91),
    ("water", "test", ("ancestor_protocol", "mean_iou"), 0.80),
    ("water", "test", ("own_size_no_data_ignored", "mean_iou"), 0.82),
    ("nuclei", "test", ("own_size", "foreground_iou"), 0.88),
    ("nuclei", "test", ("own_size", "ap_50"), 0.82),
    ("nuclei", "stage1_test", ("own_size", "foreground_iou"), 0.77),
    ("nuclei", "stage1_test", ("own_size", "ap_50"), 0.65),
    ("cars", "test", ("own_size_by_source", "CamVid", "foreground_iou"), 0.82),
    ("cars", "test", ("own_size_by_source", "Graz-02", "foreground_iou"), 0.75),
    ("cars", "test", ("own_size_by_source", "studio", "foreground_iou"), 0.92),
]


def at(scores, path):
    for key in path:
        scores = scores[key]
    return scores


def stated(task, split):
    return json.loads((WEIGHTS / task / "metrics.json").read_text(encoding="utf-8"))[split]


@pytest.mark.parametrize(("task", "split", "path", "bar"), BARS)
def test_stated_scores_pass_the_bars(task, split, path, bar):
    assert at(stated(task, split), path) >= bar


@pytest.mark.parametrize("task", TRAININGS)
def test_confidence_is_calibrated_and_other_pictures_are_known(task):
    scores = stated(task, "test")
    assert scores["own_size"]["ece"] < 0.03
    flagged = scores["unfamiliar"]
    assert flagged.pop(f"flagged {task}") <= 0.05
    assert len(flagged) == 3 and min(flagged.values()) >= 0.8


@pytest.mark.slow
@pytest.mark.parametrize(("task", "split"), sorted({(task, split) for task, split, _, _ in BARS}))
def test_stated_scores_are_measured_again(task, split):
    root = os.environ.get("SEGMENTER_DATA")
    if not root:
        pytest.skip("needs the real datasets: set SEGMENTER_DATA to the folder that holds them")
    training, segmenter = TRAININGS[task], Segmenter.load(task, device="cpu")
    found = evaluate(training, segmenter, training.examples(Path(root), split, run_recipe(segmenter)))
    for block in ("own_size", "ancestor_protocol", "small_picture"):
        for name in ("mean_iou", "foreground_iou", "pixel_accuracy"):
            assert found[block][name] == pytest.approx(stated(task, split)[block][name], abs=0.002)
    assert found["own_size"]["ece"] == pytest.approx(stated(task, split)["own_size"]["ece"], abs=0.002)
    for title, of, block, name, _ in HEADLINES[task]:
        if of == split:
            again, before = (value({split: scores}, split, block, name) for scores in (found, stated(task, split)))
            assert again == pytest.approx(before, abs=0.002), title
