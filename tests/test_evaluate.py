"""The evaluation on drawn masks, with models that are right or wrong on purpose."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from generated_data import write_all
from torch import nn

from segmenter import Segmenter
from segmenter.config import Config
from segmenter.engine_torch import TorchEngine
from segmenter.predict import WEIGHTS
from segmenter.tasks import TASKS
from train import cars, evaluate, nuclei, water
from train.data import different
from train.evaluate import main, shrink, write_metrics
from train.scores import Score, table


class Brightness(nn.Module):
    """Foreground where a pixel is brighter than the middle (normalised zero), or the opposite."""

    def __init__(self, sign=1.0):
        super().__init__()
        self.sign = sign

    def forward(self, pixels):
        bright = self.sign * pixels.mean(1, keepdim=True) * 50
        return torch.cat([-bright, bright], 1)


def segmenter(task, sign=1.0, size=64):
    config = Config(task, {}, TASKS[task].class_names, (0, 1), TASKS[task].input_policy, size, recipe={"network": {}})
    return Segmenter(TASKS[task], TorchEngine(Brightness(sign), config), config)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_all(tmp_path_factory.mktemp("data"))


def test_a_right_model_scores_near_one_and_its_opposite_near_zero(root):
    examples = water.examples(root, "test", water.RECIPES["default"])
    right = evaluate.evaluate(water.TRAINING, segmenter("water"), examples)
    wrong = evaluate.evaluate(water.TRAINING, segmenter("water", -1.0), examples)
    for block in ("own_size", "ancestor_protocol", "small_picture", "own_size_no_data_ignored"):
        assert right[block]["images"] == 3
        assert right[block]["mean_iou"] > 0.85 and right[block]["pixel_accuracy"] > 0.9
        assert wrong[block]["mean_iou"] < 0.1
    assert right["own_size"]["class_dice"]["water"] > right["own_size"]["class_iou"]["water"]


def test_nuclei_are_scored_as_objects_too(root):
    examples = nuclei.examples(root, "stage1_test", nuclei.RECIPES["default"])
    found = evaluate.evaluate(nuclei.TRAINING, segmenter("nuclei"), examples)["own_size"]
    assert found["objects"] == 4 and found["ap_50"] == 1.0
    assert 0.5 < found["ap_50_95"] <= 1.0


def test_the_precision_of_objects_over_all_and_over_pictures():
    scored = Score.of(TASKS["nuclei"])
    for hits, true, guessed in ((9, 10, 10), (0, 1, 0)):
        scored.add(np.eye(2, dtype=np.uint8), np.eye(2, dtype=np.uint8), (np.full(hits, 0.9), true, guessed))
    found = scored.report()
    assert found["ap_50"] == 0.75  # 9 of 9 hit, 2 missed and 1 too much
    assert found["ap_50_per_image"] == round((9 / 11 + 0) / 2, 4)


def test_a_class_that_the_truth_lacks_has_no_score():
    scored = Score.of(TASKS["pets"])
    scored.add(np.array([[0, 0, 1, 1]]), np.array([[0, 0, 1, 2]]))
    found = scored.report()
    assert found["class_iou"] == {"background": 1, "pet": 0.5} and found["foreground_iou"] == 1
    assert "mean_iou" not in found and "mean_iou_per_image" not in found
    scored.add(np.array([[2]]), np.array([[2]]))
    assert scored.report()["mean_iou"] == round((1 + 0.5 + 0.5) / 3, 4)


def test_sources_are_told_apart(root):
    examples = cars.examples(root, "test", cars.RECIPES["default"])
    found = evaluate.evaluate(cars.TRAINING, segmenter("cars"), examples)
    by_source = found["own_size_by_source"]
    assert {name: block["images"] for name, block in by_source.items()} == {"CamVid": 2, "Graz-02": 1, "studio": 1}
    assert "CamVid" in table(found) and "ancestor_protocol" in table(found)


def test_shrink_keeps_labels_whole():
    target = np.full((300, 200), 70_000, np.int32)
    target[:150] = 5
    small = shrink(target)
    assert small.shape == (128, 128) and small.dtype == np.int32
    assert (small[:64] == 5).all() and (small[64:] == 70_000).all()
    assert shrink(np.zeros((3, 500, 3), np.uint8)).shape == (128, 128, 3)
    every = shrink(np.arange(128 * 128).reshape(128, 128))
    assert (every.ravel() == np.arange(128 * 128)).all()


def test_a_small_picture_shows_the_model_128_pixels(root):
    example = water.examples(root, "test", water.RECIPES["default"])[0]
    image, target = evaluate.read_small(example)
    assert image.shape == (128, 128, 3) and target.shape == (128, 128)


def test_scores_need_no_other_dataset(root, tmp_path, capsys):
    shutil.copytree(root / "cars", tmp_path / "cars")
    model = Segmenter.load("cars", engine="torch")
    found = evaluate.unfamiliar(model, tmp_path)["unfamiliar"]
    assert list(found) == ["flagged cars"]
    said = capsys.readouterr().err
    assert all(f"strange pictures of {name} are not measured: " in said for name in ("pets", "water", "nuclei"))


def test_a_picture_that_cannot_be_read_costs_no_scores(root, tmp_path, capsys):
    shutil.copytree(root / "cars", tmp_path / "cars")
    model = Segmenter.load("cars", engine="torch")
    examples = cars.examples(tmp_path, "test", cars.RECIPES["default"])
    examples[0].image.write_bytes(b"torn")
    assert 0 <= evaluate.unfamiliar(model, tmp_path)["unfamiliar"]["flagged cars"] <= 1
    assert "left out: " in capsys.readouterr().out


def test_a_picture_that_is_learnt_from_twice_counts_once(root):
    recipe = nuclei.RECIPES["default"]
    several = nuclei.examples(root, "train", recipe)
    several += several[:2]
    assert len({example.image for example in several}) == len(different(several)) < len(several)


def test_metrics_of_other_splits_stay(tmp_path):
    write_metrics(tmp_path, "test", {"own_size": {"mean_iou": 0.5}})
    write_metrics(tmp_path, "val", {"own_size": {"mean_iou": 0.6}})
    write_metrics(tmp_path, "test", {"own_size": {"mean_iou": 0.7}})
    assert json.loads((tmp_path / "metrics.json").read_text()) == {
        "test": {"own_size": {"mean_iou": 0.7}},
        "val": {"own_size": {"mean_iou": 0.6}},
    }
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


def test_the_command_scores_and_draws(root, tmp_path):
    shutil.copytree(WEIGHTS / "cars", tmp_path / "run")
    metrics = tmp_path / "run" / "metrics.json"
    metrics.unlink()
    given = ["cars", "--data", str(root), "--weights", str(tmp_path / "run"), "--device", "cpu"]
    main([*given, "--limit", "1"])
    assert not metrics.exists()
    main([*given, "--sheets", str(tmp_path / "sheets")])
    pictures = len(different(cars.examples(root, "test", cars.RECIPES["default"])))
    assert json.loads(metrics.read_text())["test"]["own_size"]["images"] == pictures > 0
    assert {path.name for path in (tmp_path / "sheets").iterdir()} == {"best.png", "middle.png", "worst.png"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["pets", "--split", "moon"], "pets has no split 'moon'; it has train, val, test, voc."),
        (["pets", "--weights", "/nowhere"], "/nowhere has no readable config.json"),
        (["pets", "--data", "/nowhere"], "Oxford-IIIT Pet is not at /nowhere"),
    ],
)
def test_mistakes_end_with_one_sentence(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert sentence in printed.err and "Traceback" not in printed.err


def test_a_sheet_shows_the_255th_nucleus_as_a_nucleus(tmp_path):
    from PIL import Image

    from train.data import Example
    from train.report import CELL, prediction_sheet

    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    example = Example("a", tmp_path / "a.png", lambda: np.full((64, 64), 255, np.int32), "stage1_train")
    sheet = prediction_sheet(segmenter("nuclei"), [example], nuclei.TRAINING.class_ids)
    assert sheet.getpixel((CELL + 20, 20)) == TASKS["nuclei"].classes[1].color
