"""The endpoints with a fake model, as plain functions."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from gradio.utils import get_function_description
from page_fakes import BAD_FILES, FakeSegmenter, given
from PIL import Image

from page import api, models
from segmenter import TASKS
from segmenter.suggest import Suggestion

pytest_plugins = ["page_fakes"]

Fakes = dict[str, FakeSegmenter]


def test_segment_gives_files_and_facts(fakes: Fakes, picture: Path) -> None:
    overlay, mask, rows, facts, files = api.segment("pets", given(picture))
    assert Image.open(overlay).size == (60, 40) and Image.open(mask).mode == "P" and files == []
    assert rows == [
        {"class": "background", "color": "#000000", "pixels": 1800, "percent": 75.0, "mean_confidence": 0.5},
        {"class": "pet", "color": "#e69f00", "pixels": 600, "percent": 25.0, "mean_confidence": 0.75},
        {"class": "border", "color": "#56b4e9", "pixels": 0, "percent": 0.0, "mean_confidence": 0.0},
    ]
    sentence = "The pet fills 25% of the picture; confidence 0.75."
    assert facts == {"sentence": sentence, "objects": None, "notice": None, "area": None}


def test_segment_measures(fakes: Fakes, picture: Path) -> None:
    facts = api.segment("nuclei", given(picture), [], 0.5)[3]
    assert (facts["objects"], facts["area"], facts["sentence"]) == (1, "150 µm²", "1 nucleus of 150 µm².")
    assert api.segment("water", given(picture), pixel_size=10)[3]["area"] == "6 ha"


def test_a_geotiff_tells_the_size_of_its_pixels(fakes: Fakes, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "pixel_side", lambda path, unit: 20.0 if unit == "m" else None)
    facts = api.segment("water", given(picture))[3]
    assert (facts["area"], "24 ha" in facts["sentence"]) == ("24 ha", True)
    assert api.segment("water", given(picture), pixel_size=10)[3]["area"] == "6 ha"
    assert api.segment("nuclei", given(picture))[3]["area"] is None


def test_segment_makes_the_formats_asked_for(fakes: Fakes, picture: Path) -> None:
    files = api.segment("nuclei", given(picture), ["geojson", "coco", "objects"], 0.5)[4]
    assert [Path(file).name for file in files] == [
        "grey-nuclei-objects.csv",
        "grey-nuclei-coco.json",
        "grey-nuclei.geojson",
    ]
    assert "area (µm²)" in Path(files[0]).read_text("utf-8-sig")
    assert json.loads(Path(files[1]).read_text())["annotations"][0]["area"] == 600


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dogs", {"path": "x.png"}), "Unknown task 'dogs'; choose one of pets"),
        (("pets", None), "There is no picture"),
        (("pets", {"path": "x.png"}, ["psd"]), "Unknown format 'psd'; choose among mask"),
        (("pets", {"path": "x.png"}, ["objects"]), "Pets are not counted"),
        (("pets", {"path": "x.png"}, [], 10), "Pets pictures have no pixel size"),
        (("water", {"path": "x.png"}, [], -1), "The pixel size is -1"),
        (("water", {"path": "gone.png"}), "'gone.png' cannot be read"),
    ],
)
def test_segment_names_what_is_wrong(fakes: Fakes, arguments: tuple, message: str) -> None:
    with pytest.raises(gr.Error, match=re.escape(message)):
        api.segment(*arguments)


@pytest.mark.parametrize(("name", "content", "message"), BAD_FILES)
def test_every_endpoint_names_a_bad_file(
    fakes: Fakes, tmp_path: Path, name: str, content: Callable[[Path], bytes], message: str
) -> None:
    (tmp_path / name).write_bytes(content(tmp_path))
    bad = given(tmp_path / name)
    for call in (lambda: api.segment("pets", bad), lambda: api.score("pets", bad, bad), lambda: api.suggest(bad)):
        with pytest.raises(gr.Error, match=re.escape(message)):
            call()


def test_segment_batch_goes_on_after_a_broken_file(fakes: Fakes, picture: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("Dear diary")
    path, rows = api.segment_batch("cars", [given(tmp_path / "bad.png"), given(picture)])
    assert [row["picture"] for row in rows] == ["bad.png", "grey.png"]
    assert "is not a picture" in rows[0]["problem"] and rows[0]["sentence"] is None
    assert rows[1] == {
        "picture": "grey.png",
        "problem": None,
        "sentence": "Cars fill 25% of the picture; confidence 0.75.",
        "notice": None,
        "objects": None,
        "mask": "grey-cars-mask.png",
        "overlay": "grey-cars-overlay.png",
    }
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == ["grey-cars-mask.png", "grey-cars-overlay.png", "stats.csv"]


@pytest.mark.parametrize("files", [None, []])
def test_an_empty_batch_is_refused(fakes: Fakes, files: list | None) -> None:
    with pytest.raises(gr.Error, match="There is no picture; choose pictures or a zip"):
        api.segment_batch("cars", files)


def test_score_by_hand(fakes: Fakes, picture: Path, tmp_path: Path) -> None:
    truth = np.zeros((40, 60), np.uint8)
    truth[:20] = 255  # twice the 10 rows that the fake finds
    Image.fromarray(truth).save(tmp_path / "truth.png")
    report, errors = api.score("water", given(picture), given(tmp_path / "truth.png"))
    assert report["confusion"] == [[1200, 0], [600, 600]] and report["ignored"] == 0
    assert report["iou"] == pytest.approx({"background": 1200 / 1800, "water": 0.5})
    assert report["dice"]["water"] == pytest.approx(2 / 3)
    assert report["pixel_accuracy"] == 0.75 and report["foreground_iou"] == 0.5
    assert report["mean_iou"] == pytest.approx(7 / 12) and 0 <= report["boundary_f"] < 1
    assert Image.open(errors).size == (60, 40) and Path(errors).name == "grey-water-errors.png"
    json.dumps(report)


def test_score_names_what_is_wrong(fakes: Fakes, picture: Path, tmp_path: Path) -> None:
    Image.new("L", (10, 10)).save(tmp_path / "small.png")
    for truth, message in ((given(tmp_path / "small.png"), "is 10 x 10 and the picture 60 x 40"), (None, "true mask")):
        with pytest.raises(gr.Error, match=message):
            api.score("water", given(picture), truth)


def test_suggest_is_a_record(monkeypatch: pytest.MonkeyPatch, picture: Path) -> None:
    monkeypatch.setattr(api, "suggest_for", lambda path: Suggestion("water", {"water": 1.5, "pets": -2.0}))
    assert api.suggest(given(picture)) == {
        "task": "water",
        "reason": "It looks like the pictures that the water model was trained on.",
        "familiarity": {"water": 1.5, "pets": -2.0},
    }


def test_suggest_asks_every_model_that_is_there(monkeypatch: pytest.MonkeyPatch, picture: Path) -> None:
    def load(task: str) -> FakeSegmenter:
        if task == "cars":
            raise models.WeightsError("the weights of cars are missing.")
        return FakeSegmenter(task)

    asked: list[str] = []
    monkeypatch.setattr(models, "segmenter_for", load)
    monkeypatch.setattr(models, "suggest", lambda path, segmenters: asked.extend(segmenters) or Suggestion(None, {}))
    assert models.suggest_for(str(picture)).task is None
    assert asked == [task for task in TASKS if task != "cars"]


@pytest.mark.parametrize("endpoint", [api.segment, api.segment_batch, api.score, api.suggest])
def test_gradio_reads_what_every_parameter_is(endpoint: Callable) -> None:
    description, parameters, returns = get_function_description(endpoint)
    assert description and returns and all(text.endswith(".") for text in parameters.values()), parameters
