import csv
import errno
import io
import json
import os
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

from segmenter.cli import batch as module
from segmenter.cli.batch import Batch, Wanted
from segmenter.cli.pictures import Picture
from segmenter.cli.record import RECORD, SUMMARY, Record
from segmenter.export import FORMATS
from segmenter.geo import GeoError

RESULTS = ("mask", "csv")


@pytest.fixture
def weights(tmp_path):
    """A folder of weights as far as a batch looks at it."""
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"numbers")
    return folder


@pytest.fixture
def pictures(tmp_path, quarters):
    """Three pictures: red is background, green a pet, blue the border."""
    found = []
    for number in range(3):
        path = tmp_path / "in" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(quarters(20 + number, 30)).save(path)
        found.append(Picture(path))
    return found


@pytest.fixture
def run(tmp_path, weights, segmenter_for):
    """Run a batch with the fake network; returns its outcomes."""

    def make(pictures, task="pets", formats=RESULTS, force=False, segmenter=None, **changes):
        wanted = Wanted(task, formats, weights, **changes)
        work = Batch(Record(tmp_path / "out"), wanted, pictures, force)
        return [*work.skipped, *(work.run(segmenter or segmenter_for(task)) if work.todo else ())]

    return make


def statuses(outcomes):
    return [outcome.status for outcome in outcomes]


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# ---------------------------------------------------------------- what comes out


def test_outcomes_by_hand(run, pictures, tmp_path):
    """20 x 30 of quarters: half background, a quarter pet, a quarter border."""
    outcome = run(pictures[:1])[0]
    assert (outcome.path, outcome.status, outcome.reason) == (str(pictures[0].path), "done", None)
    assert [(row["class"], row["pixels"], row["percent"]) for row in outcome.stats] == [
        ("background", 300, 50.0),
        ("pet", 150, 25.0),
        ("border", 150, 25.0),
    ]
    assert all(0.33 < row["mean_confidence"] <= 1 for row in outcome.stats)
    assert outcome.objects is None and outcome.notice is None
    assert outcome.files == [str(tmp_path / "out" / name) for name in ("0-pets-mask.png", "0-pets.csv")]
    mask = np.asarray(Image.open(outcome.files[0]))
    assert mask[0, 0] == 0 and mask[0, -1] == 1 and mask[-1, 0] == 2


def test_objects_are_counted_where_the_task_has_them(run, tmp_path):
    image = np.zeros((40, 60, 3), np.uint8)
    image[...] = (255, 0, 0)
    image[5:15, 5:15] = image[20:30, 40:50] = (0, 255, 0)
    Image.fromarray(image).save(tmp_path / "cells.png")
    outcome = run([Picture(tmp_path / "cells.png")], "nuclei", ("objects", "csv"))[0]
    assert outcome.objects == 2
    assert [row["class"] for row in outcome.stats] == ["background", "nucleus"]
    assert names(tmp_path / "out") == ["cells-nuclei-objects.csv", "cells-nuclei.csv", RECORD]


def test_every_format(run, pictures, tmp_path):
    outcome = run(pictures[:1], formats=FORMATS)[0]
    assert sorted(outcome.files) == sorted(str(tmp_path / "out" / name) for name in names(tmp_path / "out")[:-1])
    assert len(outcome.files) == len(FORMATS) - 2 + 3  # no objects here, a picture of each class
    coco = json.loads((tmp_path / "out" / "0-pets-coco.json").read_text())
    assert coco["images"][0]["file_name"] == "0.png"
    assert statuses(run(pictures[:1], formats=FORMATS)) == ["skipped"]


def test_folders_are_kept_and_equal_names_do_not_meet(run, pictures, tmp_path):
    same = [
        Picture(picture.path.rename(picture.path.with_name(f"x.{kind}")))
        for picture, kind in zip(pictures, "abc", strict=True)
    ]
    outcomes = run([Picture(same[0].path, "deep/er"), *same[1:]])
    assert statuses(outcomes) == ["done"] * 3
    masks = [Image.open(outcome.files[0]).size for outcome in outcomes]
    assert masks == [(30, 20), (30, 21), (30, 22)]
    assert (tmp_path / "out/deep/er/x-pets-mask.png").is_file() and (tmp_path / "out/x-pets-mask.png").is_file()
    assert len(names(tmp_path / "out")) == 3 * 2 + 1


def test_pictures_go_in_batches(run, tmp_path, noise, segmenter_for):
    pictures = []
    for number in range(11):
        pictures.append(Picture(tmp_path / f"{number:02}.png"))
        Image.fromarray(noise(20, 30, number)).save(pictures[-1].path)
    segmenter = segmenter_for()
    segmenter._engine.batch = 4  # as on CUDA
    assert statuses(run(pictures, segmenter=segmenter)) == ["done"] * 11
    assert [shape[0] for shape in segmenter.fake.shapes] == [4, 4, 3]


def test_a_notice_is_told_then_and_later(run, pictures, segmenter_for):
    from segmenter.config import Familiarity, Judge

    segmenter = segmenter_for(familiarity=Familiarity((Judge((), -1.0),)))
    first, again = run(pictures[:1], segmenter=segmenter), run(pictures[:1])
    assert "does not look like" in first[0].notice and again[0].notice == first[0].notice


# ---------------------------------------------------------------- what is done is not done again


def test_what_is_done_is_skipped(run, pictures, tmp_path):
    done = run(pictures)
    before = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in names(tmp_path / "out")}
    skipped = run(pictures)
    assert statuses(done) == ["done"] * 3 and statuses(skipped) == ["skipped"] * 3
    assert {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in names(tmp_path / "out")} == before
    for one, other in zip(done, skipped, strict=True):
        assert (one.path, one.stats, one.files) == (other.path, other.stats, other.files)


def test_only_what_is_new_is_done(run, pictures):
    run(pictures[:2])
    assert [(outcome.path[-5:], outcome.status) for outcome in run(pictures)] == [
        ("0.png", "skipped"),
        ("1.png", "skipped"),
        ("2.png", "done"),
    ]


def test_force_does_all_again(run, pictures):
    run(pictures)
    assert statuses(run(pictures, force=True)) == ["done"] * 3


@pytest.mark.parametrize("change", ["content", "older", "result gone", "weights", "config", "tta", "pixel size"])
def test_what_changed_is_done_again(run, pictures, weights, tmp_path, quarters, change):
    task, options = ("water", {"pixel_size": 2.0}) if change == "pixel size" else ("pets", {})
    run(pictures[:1], task, **options)
    path = pictures[0].path
    if change == "content":
        Image.fromarray(quarters(50, 50)).save(path)
    elif change == "older":  # another picture with an older date has taken its place
        os.utime(path, ns=(0, 1_000_000_000))
    elif change == "result gone":
        (tmp_path / "out" / "0-pets.csv").unlink()
    elif change == "weights":
        (weights / "model.safetensors").write_bytes(b"others")
    elif change == "config":
        (weights / "config.json").write_text("{ }")
    elif change == "tta":
        options = {"flips": True}
    else:
        options = {"pixel_size": 3.0}
    assert statuses(run(pictures[:1], task, **options)) == ["done"]
    assert statuses(run(pictures[:1], task, **options)) == ["skipped"]


def test_formats_add_up(run, pictures):
    """A format that was written stays done while others come."""
    assert statuses(run(pictures[:1], formats=("mask",))) == ["done"]
    assert statuses(run(pictures[:1], formats=("mask", "overlay"))) == ["done"]
    assert statuses(run(pictures[:1], formats=("cutout",))) == ["done"]
    assert statuses(run(pictures[:1], formats=("mask", "cutout"))) == ["skipped"]
    assert statuses(run(pictures[:1], formats=("mask",), flips=True)) == ["done"]
    assert statuses(run(pictures[:1], formats=("overlay",), flips=True)) == ["done"]  # the old one is of other options


def test_tasks_share_a_folder(run, pictures):
    assert statuses(run(pictures[:1], "pets")) == statuses(run(pictures[:1], "cars")) == ["done"]
    assert statuses(run(pictures[:1], "pets")) == statuses(run(pictures[:1], "cars")) == ["skipped"]


def test_what_was_interrupted_goes_on(run, pictures, tmp_path, monkeypatch):
    save = module.save

    def interrupt(result, folder, stem, formats, *rest):
        if (stem, formats) == ("1", ("csv",)):  # the second file of the second picture
            raise KeyboardInterrupt
        return save(result, folder, stem, formats, *rest)

    monkeypatch.setattr(module, "save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(pictures)
    found = names(tmp_path / "out")
    assert {"0-pets.csv", "0-pets-mask.png", "1-pets-mask.png", RECORD} <= set(found)
    assert "1-pets.csv" not in found
    monkeypatch.setattr(module, "save", save)
    assert statuses(run(pictures)) == ["skipped", "done", "done"]


def test_results_are_written_beside_each_other(run, pictures, monkeypatch):
    """The first picture's results wait for the second's to begin, which one thread alone could not do."""
    save, begun = module.save, threading.Event()

    def wait(result, folder, stem, *rest):
        if stem == "1":
            begun.set()
        elif stem == "0":
            assert begun.wait(20)
        return save(result, folder, stem, *rest)

    monkeypatch.setattr(module, "usable_cpus", lambda: 2)
    monkeypatch.setattr(module, "save", wait)
    assert statuses(run(pictures)) == ["done"] * 3


# ---------------------------------------------------------------- what fails


@pytest.mark.parametrize(
    ("cpus", "count", "side", "enough"),
    [
        (2, 2, 7000, False),
        (2, 3, 7000, True),
        (2, 3, 100, False),
        (2, 16, 100, False),
        (2, 17, 100, True),
        (64, 3, 5000, False),
        (64, 3, 7000, True),
        (64, 1, 20_000, False),
    ],
)
def test_few_large_results_wait_or_many_small_ones(monkeypatch, cpus, count, side, enough):
    monkeypatch.setattr(module, "usable_cpus", lambda: cpus)
    assert module._are_enough([np.broadcast_to(np.uint8(0), (side, side, 3))] * count) is enough


def test_broken_pictures_fail_alone(run, pictures, tmp_path, noise, segmenter_for):
    png = io.BytesIO()
    Image.fromarray(noise(24, 25)).save(png, "PNG")
    broken = {"text.jpg": b"no picture", "empty.png": b"", "half.png": png.getvalue()[:900]}
    for name, data in broken.items():
        (tmp_path / name).write_bytes(data)
    mixed = [*(Picture(tmp_path / name) for name in broken), *pictures, Picture(tmp_path / "gone.png")]
    outcomes = run(mixed, segmenter=segmenter_for(max_pixels=20 * 30 + 30))
    assert [outcome.path for outcome in outcomes] == [str(picture.path) for picture in mixed]
    told = {outcome.path.rpartition("/")[2]: outcome for outcome in outcomes}
    assert [name for name, outcome in told.items() if outcome.status == "done"] == ["0.png", "1.png"]
    for name, words in (
        ("text.jpg", "not a picture that can be read"),
        ("empty.png", "is an empty file"),
        ("half.png", "damaged or incomplete"),
        ("2.png", "30 x 22"),
        ("gone.png", "cannot be read (No such file"),
    ):
        assert words in told[name].reason and told[name].reason.endswith(".")
        assert told[name].files == [] and told[name].stats == []
    again = run(mixed)  # 2.png is below the usual limit
    assert statuses(again) == ["skipped", "skipped", "failed", "failed", "failed", "done", "failed"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "cannot be written (No space left on device)"),
        (MemoryError(), "not enough memory"),
        (ValueError("it is odd."), "it is odd."),
    ],
)
def test_a_result_that_cannot_be_written(run, pictures, tmp_path, monkeypatch, error, words):
    save = module.save

    def fail(result, folder, stem, *rest):
        if stem == "1":
            raise error
        return save(result, folder, stem, *rest)

    monkeypatch.setattr(module, "save", fail)
    outcomes = run(pictures)
    assert statuses(outcomes) == ["done", "failed", "done"] and words in outcomes[1].reason
    monkeypatch.setattr(module, "save", save)
    assert statuses(run(pictures)) == ["skipped", "skipped", "done"]


def test_results_of_what_a_picture_was_before_go(run, pictures, tmp_path, noise):
    """They would pass for those of the new picture; what other weights or options made stays."""
    run(pictures[:1], formats=("mask", "csv"))
    Image.fromarray(noise(20, 30)).save(pictures[0].path)
    run(pictures[:1], formats=("mask",))
    assert names(tmp_path / "out") == ["0-pets-mask.png", "record.jsonl"]
    run(pictures[:1], formats=("csv",), flips=True)
    assert names(tmp_path / "out") == ["0-pets-mask.png", "0-pets.csv", "record.jsonl"]


def test_only_results_are_taken_away(run, pictures, tmp_path, noise):
    """A record that came with a folder may name anything."""
    run(pictures[:1], formats=("mask",))
    kept = [tmp_path / "thesis.txt", tmp_path / "0-pets-mask.png", tmp_path / "out" / "notes.txt"]
    for path in kept:
        path.write_text("mine")
    record = tmp_path / "out" / "record.jsonl"
    entry = json.loads(record.read_text())
    entry["files"]["csv"] = [str(kept[0]), "../0-pets-mask.png", "notes.txt"]
    record.write_text(json.dumps(entry) + "\n")
    Image.fromarray(noise(20, 30)).save(pictures[0].path)
    run(pictures[:1], formats=("overlay",))
    assert all(path.read_text() == "mine" for path in kept)
    assert not (tmp_path / "out" / "0-pets-mask.png").exists()


def test_a_picture_that_changed_and_fails_has_no_results(run, pictures, tmp_path):
    """Its old numbers would pass for those of the new picture."""
    summary = tmp_path / "out" / "summary.csv"
    run(pictures)
    content = pictures[0].path.read_bytes()
    pictures[0].path.write_bytes(b"spoilt")
    assert statuses(run(pictures)) == ["skipped", "skipped", "failed"]
    assert not any(name.startswith("0-") for name in names(tmp_path / "out"))
    Record(tmp_path / "out").write_summary()
    assert "0.png" not in summary.read_text("utf-8-sig") and "1.png" in summary.read_text("utf-8-sig")
    pictures[0].path.write_bytes(content)
    assert statuses(run(pictures))[-1] == "done"
    Record(tmp_path / "out").write_summary()
    assert "0.png" in summary.read_text("utf-8-sig") and "1.png" in summary.read_text("utf-8-sig")


class Tired(nn.Module):
    """A network that gives up where a picture in the batch is white in its first corner."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def forward(self, pixels):
        self.batches.append(len(pixels))
        if (pixels[:, :, 0, 0] > 0.99).all(dim=1).any():
            raise RuntimeError("CUDA out of memory.\nTried to allocate much")
        return pixels


def test_a_batch_that_fails_is_done_one_by_one(run, tmp_path, noise, config_for):
    from segmenter.engine_torch import TorchEngine
    from segmenter.predict import Segmenter
    from segmenter.tasks import TASKS

    pictures = []
    for number in range(12):
        image = noise(64, 64, number)
        image[0, 0] = 255 if number == 3 else 0
        pictures.append(Picture(tmp_path / f"{number:02}.png"))
        Image.fromarray(image).save(pictures[-1].path)
    network = Tired()
    engine = TorchEngine(network, config_for())
    engine.batch = 8
    outcomes = run(pictures, segmenter=Segmenter(TASKS["pets"], engine, config_for()))
    assert [outcome.path for outcome in outcomes] == [str(picture.path) for picture in pictures]
    assert [number for number, outcome in enumerate(outcomes) if outcome.status == "failed"] == [3]
    assert outcomes[3].reason == "it cannot be segmented (CUDA out of memory)."
    # Two groups, of eight and of four, are in the pool at once; then each of the eight comes alone.
    assert network.batches.count(8) == 1 and network.batches.count(1) >= 8


def test_trouble_that_no_picture_makes_ends_the_run(run, pictures, segmenter_for, monkeypatch):
    segmenter = segmenter_for()

    def refuse(images):
        raise RuntimeError("no device")

    monkeypatch.setattr(segmenter, "predict_many", refuse)
    with pytest.raises(RuntimeError, match="no device"):
        run(pictures, segmenter=segmenter)


def test_a_geotiff_needs_its_place_for_geojson_only(run, pictures, monkeypatch):
    def refuse(path):
        raise GeoError("'x' is a GeoTIFF; install rasterio.")

    monkeypatch.setattr(module, "read_georeference", refuse)
    assert statuses(run(pictures[:1])) == ["done"]
    outcome = run(pictures[:1], formats=("geojson",))[0]
    assert (outcome.status, outcome.reason) == ("failed", "'x' is a GeoTIFF; install rasterio.")


@pytest.fixture
def geotiff(tmp_path):
    """Pixels of 10 m from (500000, 6000000) on, y up: the green square lies 20 m east and 50 m south of it."""
    rasterio = pytest.importorskip("rasterio")
    image = np.zeros((3, 40, 60), np.uint8)
    image[0] = 255
    image[:, 5:15, 2:12] = np.array([0, 255, 0])[:, None, None]
    profile = {"driver": "GTiff", "height": 40, "width": 60, "count": 3, "dtype": "uint8", "crs": "EPSG:32633"}
    transform = rasterio.transform.from_origin(500_000, 6_000_000, 10, 10)
    with rasterio.open(tmp_path / "map.tif", "w", transform=transform, photometric="RGB", **profile) as file:
        file.write(image)
    return Picture(tmp_path / "map.tif")


@pytest.mark.parametrize(("asked", "hectares"), [(None, 1.0), (20.0, 4.0)])
def test_a_geotiff_tells_the_size_of_its_pixels(run, geotiff, tmp_path, asked, hectares):
    """The green square has 100 of them."""
    outcome = run([geotiff], "water", ("csv",), pixel_size=asked)[0]
    table = Path(outcome.files[0]).read_text(encoding="utf-8-sig").splitlines()
    (row,) = (row for row in csv.reader(table) if row[0] == "water")
    assert hectares in [float(cell) for cell in row if re.fullmatch(r"[0-9.]+", cell)]
    record = Record(tmp_path / "out")
    record.write_summary()
    summary = list(csv.DictReader((tmp_path / "out" / SUMMARY).read_text().splitlines()))
    assert [(row["area"], row["unit"]) for row in summary if row["class"] == "water"] == [(str(hectares), "ha")]
    assert statuses(run([geotiff], "water", ("csv",), pixel_size=asked)) == ["skipped"]


def test_map_coordinates(run, geotiff):
    outcome = run([geotiff], "water", ("geojson",))[0]
    (feature,) = json.loads(Path(outcome.files[0]).read_text())["features"]
    corners = np.array(feature["geometry"]["coordinates"][0])
    assert corners.min(0).tolist() == [500_020, 5_999_850] and corners.max(0).tolist() == [500_120, 5_999_950]
