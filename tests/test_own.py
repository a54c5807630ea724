"""Pictures of one's own: which of them are learnt from, what masks may be, and a whole run."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import expect_refusal
from generated_data import disc, picture, save
from PIL import Image
from test_training import small

from segmenter.config import load_config
from segmenter.export import mask_image
from segmenter.result import Segmentation
from segmenter.tasks import PETS, WATER
from train import evaluate, nuclei, water
from train.data import DataError
from train.own import examples, on_own, read_labels
from train.recipe import UNET
from train.run import main

RECIPE = on_own(water.TRAINING).recipes["default"]
SPLITS = ("train", "val", "test")


def write(root: Path, count: int) -> Path:
    """Pictures of bright discs in which all around them is wanted, as no model has learnt."""
    for seed in range(count):
        mask = ~disc(seed)
        save(picture(~mask, seed), root / "images" / f"lake {seed}.jpg")
        save(Image.fromarray(mask.astype(np.uint8) * 255), root / "masks" / f"lake {seed}.png")
    (root / "images" / ".hidden.jpg").write_bytes(b"")
    return root


def names(root: Path, split: str) -> list[str]:
    return [example.name for example in examples(WATER, root, split, RECIPE)]


@pytest.mark.parametrize(("count", "kept"), [(3, 1), (12, 1), (40, 4)])
def test_a_tenth_is_kept_to_choose_by_and_a_tenth_to_test_on(tmp_path: Path, count: int, kept: int) -> None:
    root = write(tmp_path, count)
    train, val, test = (set(names(root, split)) for split in SPLITS)
    assert (len(train), len(val), len(test)) == (count - 2 * kept, kept, kept)
    assert train | val | test == {f"lake {seed}" for seed in range(count)}


def test_a_mask_is_what_the_package_exports(tmp_path: Path) -> None:
    rng, written = np.random.default_rng(0), {}
    for number in range(3):
        image = rng.integers(0, 256, (6, 8, 3), np.uint8)
        class_ids = rng.integers(0, 3, (6, 8), np.uint8)
        result = Segmentation(task=PETS, image=image, class_ids=class_ids, confidence=np.ones((6, 8), np.float32))
        save(Image.fromarray(image), tmp_path / "images" / f"{number}.png")
        save(mask_image(result), tmp_path / "masks" / f"{number}-pets-mask.png")
        written[str(number)] = result
    for example in (example for split in SPLITS for example in examples(PETS, tmp_path, split, RECIPE)):
        image, class_ids = example.read()
        result = written.pop(example.name)
        np.testing.assert_array_equal(image, result.image)
        np.testing.assert_array_equal(class_ids, result.class_ids)
    assert not written


def test_labels_of_nuclei_stay_apart(tmp_path: Path) -> None:
    labels = np.zeros((5, 7), np.uint16)
    labels[1:3, 1:3], labels[1:3, 3:5], labels[4, 6] = 700, 40_000, 3
    Image.fromarray(labels).save(tmp_path / "labels.tif")
    found = read_labels(tmp_path / "labels.tif")
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, np.select([labels == 3, labels == 700, labels == 40_000], [1, 2, 3]))


def test_black_and_white_regions_are_nuclei(tmp_path: Path) -> None:
    mask = np.zeros((5, 7), bool)
    mask[0, :2] = mask[3:, 4:] = True
    Image.fromarray(mask).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "mask.png"), mask * np.array([[1]] * 3 + [[2]] * 2))


def test_a_picture_without_background_keeps_its_labels(tmp_path: Path) -> None:
    Image.fromarray(np.array([[5, 9]], np.uint8)).save(tmp_path / "full.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "full.png"), [[1, 2]])


@pytest.mark.parametrize("mode", ["RGB", "F"])
def test_labels_in_colour_are_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (4, 4)).save(tmp_path / "labels.tif")
    with expect_refusal(DataError, "labels.tif", "no picture of labels", "save it in grey"):
        read_labels(tmp_path / "labels.tif")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with expect_refusal(DataError, str(tmp_path / "images"), "put pictures into images"):
        names(tmp_path, "train")
    write(tmp_path, 2)
    with expect_refusal(DataError, "holds 2 pictures", "at least 3"):
        names(tmp_path, "train")
    write(tmp_path, 4)
    (tmp_path / "masks" / "lake 1.png").unlink()
    with expect_refusal(DataError, "1 of 4 pictures", "lake 1.jpg", str(tmp_path / "masks")):
        names(tmp_path, "test")


def test_a_mask_of_another_class_is_refused(tmp_path: Path) -> None:
    write(tmp_path, 3)
    for path in (tmp_path / "masks").iterdir():
        Image.fromarray(np.array(Image.open(path)) // 51).save(path)  # 5 and 0
        values = np.array(Image.open(path))
        values[0, 0] = 1
        Image.fromarray(values).save(path)
    with expect_refusal(DataError, "lake", "holds 5", "1 (water)"):
        examples(WATER, tmp_path, "train", RECIPE)[0].read()


@pytest.mark.parametrize(
    "options", [["--data", "."], ["--recipe", "base"], ["--download"], ["--split", "ancestor"], ["--teacher", "."]]
)
def test_options_that_say_nothing_of_own_pictures_are_refused(
    tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(water.TRAINING, ["--pictures", str(write(tmp_path, 3)), "--out", str(tmp_path / "out"), *options])
    assert f"error: --pictures takes no {options[0]}; leave that out." in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("module", [water, pytest.param(nuclei, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("own_cache")
def test_the_shipped_weights_are_fitted_to_own_pictures(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And better than before on the picture that was kept to test on, which the command scores too."""
    training = small(module.TRAINING, network=UNET, epochs=4, repeat=4, augment="none")
    name, root, out = training.task.name, write(tmp_path / "own", 10), tmp_path / "out"
    main(training, ["--pictures", str(root), "--out", str(out), "--device", "cpu", "--workers", "0"])
    assert load_config(out).familiarity is None  # of other weights, and nothing here to learn it from
    after = json.loads((out / "metrics.json").read_text())["test"]["own_size"]
    assert after["images"] == 1
    capsys.readouterr()
    monkeypatch.setattr("train.evaluate.write_metrics", lambda *arguments: pytest.fail("wrote scores"))
    command = [name, "--pictures", str(root), "--device", "cpu"]
    evaluate.main(command)
    before = foreground_iou(capsys.readouterr().out)
    evaluate.main([*command, "--weights", str(out)])
    assert foreground_iou(capsys.readouterr().out) == after["foreground_iou"] > before + 0.2


def foreground_iou(printed: str) -> float:
    return float(next(line.split()[1] for line in printed.splitlines() if line.startswith("foreground_iou ")))
