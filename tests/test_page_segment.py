"""The Segment tab: its handlers with a fake model, without a browser."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
from page_fakes import BAD_FILES, LOOKS, FakeSegmenter, given
from PIL import Image

from page import handlers, models, view, words
from page.desk import Desk
from page.examples import examples, lakes_truth
from page.given import Given
from page.pictures import MODES
from segmenter import TASKS, ClassStats, ImageError, Stopped, WeightsError
from segmenter.suggest import Suggestion

pytest_plugins = ["page_fakes"]

Open = Callable[..., handlers.Page]


def test_an_upload_shows_everything(page: Open, picture: Path) -> None:
    shown = page("cars")
    assert shown.view.source == Given(str(picture), "grey.png")
    assert "Cars fill 25% of the picture; confidence 0.75." in shown.summary
    assert shown.classes["value"] == ["car"]
    assert shown.details["visible"] and not shown.stage["visible"] and not shown.slider["visible"]
    for cell in ("600", "25.0%", "0.75", "1,800", "75.0%", "0.50"):
        assert f">{cell}<" in shown.table
    assert not shown.per_object["visible"] and not shown.pixel_size["visible"] and shown.objects["data"] == []


def test_looking_again_does_not_run_the_network(page: Open, fakes: dict[str, FakeSegmenter]) -> None:
    held = page("cars").view
    grey, car, black, white = (100, 100, 100), TASKS["cars"].classes[1].color, (0, 0, 0), (255, 255, 255)
    for looks, wanted in [
        (("Overlay", "Fill", 0, ["car"], "car"), grey),
        (("Overlay", "Fill", 100, ["car"], "car"), car),
        (("Overlay", "Fill", 100, [], "car"), grey),
        (("Overlay", "Outline", 100, ["car"], "car"), grey),
        (("Mask", "Fill", 50, ["car"], "car"), car),
        (("Mask", "Fill", 50, [], "car"), black),
        (("One class", "Fill", 50, [], "car"), white),
        (("One class", "Fill", 50, [], "background"), black),
        (("Confidence", "Fill", 50, [], "car"), (33, 144, 141)),  # 0.75 is halfway from 0.5 to 1
    ]:
        found = Image.open(handlers.on_look(held, Desk(), *looks).result["value"]).getpixel((30, 4))
        assert np.abs(np.subtract(found, wanted)).max() <= 5, looks  # JPEG
    handlers.on_point(SimpleNamespace(index=[3, 2]), held, None)
    handlers.on_pixel_size(held, 2.0, Desk())
    assert fakes["cars"].calls == 1


def test_an_outline_is_drawn_at_the_edge(page: Open) -> None:
    held = page("cars").view
    drawn = Image.open(handlers.on_look(held, Desk(), "Overlay", "Outline", 50, ["car"], "car").result["value"])
    assert np.abs(np.subtract(drawn.getpixel((30, 9)), TASKS["cars"].classes[1].color)).max() < 60
    assert np.abs(np.subtract(drawn.getpixel((30, 25)), 100)).max() <= 5


def test_controls_stand_where_they_mean_something(page: Open) -> None:
    held = page("cars").view
    shown = {}
    for mode in MODES:
        drawn = handlers.on_look(held, Desk(), mode, *LOOKS[1:])
        shown[mode] = {name for name, update in drawn._asdict().items() if update["visible"]}
    layered = {"style", "opacity", "classes"}
    assert shown == {
        "Overlay": {"result", "point"} | layered,
        "Compare": {"slider", "drag"} | layered,
        "Confidence": {"result", "point", "scale"},
        "Mask": {"result", "point", "classes"},
        "One class": {"result", "point", "one"},
    }
    assert not handlers.on_look(held, Desk(), "Overlay", "Outline", *LOOKS[2:]).opacity["visible"]


def test_before_and_after_are_of_one_size(page: Open) -> None:
    before, after = handlers.on_look(page("cars").view, Desk(), "Compare", *LOOKS[1:]).slider["value"]
    pictures = [Image.open(path) for path in (before, after)]
    assert [each.size for each in pictures] == [(60, 40)] * 2 and [each.mode for each in pictures] == ["RGB"] * 2


def test_another_task_reads_the_same_picture(fakes: dict[str, FakeSegmenter], picture: Path) -> None:
    shown = handlers.on_task("pets", given(picture), Desk(Given(str(picture), "grey.png")), *LOOKS)
    assert shown.picture == gr.skip()
    assert shown.classes["value"] == ["pet", "border"]
    assert "The pet fills 25%" in shown.summary
    assert "Cats and dogs" in shown.about
    assert (fakes["pets"].calls, fakes["cars"].calls) == (1, 0)


@pytest.mark.parametrize("size", [(60, 40), (2001, 10)])
def test_a_model_reads_a_picture_once(fakes: dict[str, FakeSegmenter], tmp_path: Path, size: tuple[int, int]) -> None:
    """Choosing a model again brings back what it found; another picture, or files that are gone, are read."""
    for name, grey in (("one.png", 90), ("other.png", 110)):
        Image.new("RGB", size, (grey,) * 3).save(tmp_path / name)
    one, other = given(tmp_path / "one.png"), given(tmp_path / "other.png")
    desk = Desk()
    first = handlers.on_upload(one, "cars", desk, *LOOKS)
    pets = handlers.on_task("pets", one, desk, *LOOKS)
    back = handlers.on_task("cars", one, desk, *LOOKS)
    assert (fakes["cars"].calls, fakes["pets"].calls) == (1, 1)
    assert back.view is not first.view and (back.summary, back.table) == (first.summary, first.table)
    for found, before in ((back.view.shown, first.view.shown), (back.view.result(), first.view.result())):
        assert (found.image == before.image).all() and (found.class_ids == before.class_ids).all()
        assert (found.confidence == before.confidence).all() and found.seeds is None
    assert handlers.on_task("cars", one, desk, *LOOKS).view is back.view
    assert handlers.on_task("pets", one, desk, *LOOKS).summary == pets.summary

    held = [handlers.on_upload(other, "cars", desk, *LOOKS)]
    assert fakes["cars"].calls == 2
    held.append(handlers.on_task("pets", other, desk, *LOOKS))
    swept = list((tmp_path / "gradio").glob("result-*/*"))
    assert swept
    for path in swept:
        path.unlink()
    assert "Cars fill" in handlers.on_task("cars", other, desk, *LOOKS).summary
    assert (fakes["cars"].calls, fakes["pets"].calls) == (3, 2)


def test_another_task_without_a_picture_invites(fakes: dict[str, FakeSegmenter]) -> None:
    shown = handlers.on_task("water", None, Desk(), *LOOKS)
    assert shown.view is None and shown.stage["value"] == words.INVITATION and "Sentinel-2" in shown.about
    assert fakes["water"].calls == 0


def test_a_forgotten_session_takes_the_picture_that_is_shown(fakes: dict[str, FakeSegmenter], picture: Path) -> None:
    assert handlers.on_task("pets", given(picture), Desk(), *LOOKS).view.source.path == str(picture)


def test_a_picture_that_was_deleted_is_said(fakes: dict[str, FakeSegmenter], picture: Path) -> None:
    picture.unlink()
    assert handlers.LOST in handlers.on_task("pets", given(picture), Desk(), *LOOKS).stage["value"]


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("later", ["task", "upload", "clear"])
def test_what_is_superseded_shows_nothing(
    monkeypatch: pytest.MonkeyPatch, fakes: dict[str, FakeSegmenter], picture: Path, later: str, fails: bool
) -> None:
    """Two events of one visitor run at once, and the earlier one ends last."""
    desk, looked, found = Desk(), handlers.look, []

    def slow(source: Given, task: str, stop: Callable[[], bool]) -> view.View:
        if task == "water":
            assert not stop()
            if later == "task":
                found.append(handlers.on_task("pets", given(picture), desk, *LOOKS))
            elif later == "upload":
                found.append(handlers.on_upload(given(picture), "cars", desk, *LOOKS))
            else:
                found.append(handlers.on_clear("water", desk))
            assert stop()
            if fails:
                raise ImageError("this is no picture.")
        return looked(source, task, stop)

    monkeypatch.setattr(handlers, "look", slow)
    assert handlers.on_upload(given(picture), "water", desk, *LOOKS) == handlers.UNCHANGED
    assert (found[0].view is None) == (later == "clear") == (desk.source is None)


def test_a_run_ends_in_the_way_of_looking_that_was_chosen_last(
    monkeypatch: pytest.MonkeyPatch, fakes: dict[str, FakeSegmenter], picture: Path
) -> None:
    """And what was drawn of the view before it no longer counts."""
    desk, looked, found = Desk(), handlers.look, []
    before = handlers.on_upload(given(picture), "cars", desk, *LOOKS)

    def slow(source: Given, task: str, stop: Callable[[], bool]) -> view.View:
        found.append(handlers.on_look(before.view, desk, "Confidence", *LOOKS[1:]))
        return looked(source, task, stop)

    monkeypatch.setattr(handlers, "look", slow)
    after = handlers.on_task("pets", given(picture), desk, *LOOKS)
    assert found[0].scale["visible"] and after.scale["visible"] and "confidence" in after.result["value"]
    # Also one that was chosen while the run waited, and so was not sent with it.
    waited = handlers.on_task("nuclei", given(picture), desk, *LOOKS)
    assert waited.scale["visible"]
    assert handlers.on_look(before.view, desk, *LOOKS) == handlers.Drawn(*[gr.skip()] * len(handlers.Drawn._fields))


def test_a_picture_that_comes_while_another_is_put_aside_is_not_taken_for_it(
    monkeypatch: pytest.MonkeyPatch, fakes: dict[str, FakeSegmenter], tmp_path: Path
) -> None:
    for name, grey in (("one.png", 90), ("two.png", 110)):
        Image.new("RGB", (60, 40), (grey,) * 3).save(tmp_path / name)
    one, two = given(tmp_path / "one.png"), given(tmp_path / "two.png")
    desk, park, held = Desk(), view.View.park, []
    held.append(handlers.on_upload(one, "pets", desk, *LOOKS))

    def slow(self: view.View) -> view.Parked:
        monkeypatch.setattr(view.View, "park", park)
        held.append(handlers.on_upload(two, "water", desk, *LOOKS))
        return park(self)

    monkeypatch.setattr(view.View, "park", slow)
    assert handlers.on_task("cars", one, desk, *LOOKS) == handlers.UNCHANGED
    assert handlers.on_task("pets", two, desk, *LOOKS).view.source.name == "two.png"
    assert fakes["pets"].calls == 2


@pytest.mark.parametrize("size", [1e200, 1e-170, 10**400, -3, float("nan")])
def test_a_size_that_no_pixel_has_is_refused_and_forgotten(
    page: Open, picture: Path, size: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(gr, "Warning", said.append)
    desk, shown = Desk(), page("nuclei")
    measured = handlers.on_pixel_size(shown.view, size, desk)
    assert said == ["Give the side of a pixel in µm, from 0.000001 to 1,000,000."]
    assert "µm²" not in measured.summary + measured.table
    assert handlers.on_upload(given(picture), "nuclei", desk, *LOOKS).pixel_size["value"] is None


def test_half_a_letter_in_a_name_is_written_nowhere(fakes: dict[str, FakeSegmenter], picture: Path) -> None:
    shown = handlers.on_upload({"path": str(picture), "orig_name": "caf\ud800.png"}, "cars", Desk(), *LOOKS)
    assert shown.view.source == Given(str(picture), "caf?.png") and shown.view.source.stem == "caf_"


def test_a_superseded_run_does_not_choose_its_task(monkeypatch: pytest.MonkeyPatch, picture: Path) -> None:
    def stopped(*arguments: Any) -> None:
        raise Stopped

    monkeypatch.setattr(handlers, "look", stopped)
    assert handlers.on_example(gr.EventData(None, {"index": "1"}), Desk(), *LOOKS) == handlers.UNCHANGED
    taken = handlers.on_take(gr.EventData(None, {"task": "water"}), given(picture), Desk(), *LOOKS)
    assert taken == handlers.UNCHANGED


def test_a_pixel_size_stays_for_the_next_picture(page: Open, picture: Path) -> None:
    desk = Desk()
    handlers.on_pixel_size(page("nuclei").view, 0.65, desk)
    assert handlers.on_upload(given(picture), "nuclei", desk, *LOOKS).pixel_size["value"] == 0.65
    assert handlers.on_upload(given(picture), "water", desk, *LOOKS).pixel_size["value"] == 10


def test_nuclei_are_counted_and_measured(page: Open) -> None:
    shown = page("nuclei")
    assert "1 nucleus of 600 px." in shown.summary and shown.per_object["visible"] and "<svg" in shown.histogram
    assert shown.objects["data"] == [[1, 600, 29.5, 4.5, 27.64, 0.99]]  # 60 x 10 pixels
    measured = handlers.on_pixel_size(shown.view, 0.5, Desk())
    assert measured.objects["headers"][1:5] == ["area (µm²)", "x (px)", "y (px)", "diameter (µm)"]
    assert measured.objects["data"] == [[1, 150, 29.5, 4.5, 13.82, 0.99]]
    assert "1 nucleus of 150 µm²." in measured.summary and ">150 µm²<" in measured.table and "µm²" in measured.histogram


def test_water_is_measured_in_hectares(page: Open) -> None:
    shown = page("water")
    assert shown.pixel_size["value"] == 10.0 and "m" in shown.pixel_size["label"]
    assert "Water covers 25% of the picture, 6 ha at 10 m a pixel; confidence 0.75." in shown.summary
    assert "6 ha" not in handlers.on_pixel_size(shown.view, None, Desk()).summary
    assert "24 ha" in handlers.on_pixel_size(shown.view, 20, Desk()).summary
    assert " ha" not in handlers.on_pixel_size(shown.view, 0, Desk()).summary


@pytest.mark.parametrize(
    ("position", "said"),
    [
        ([30, 4], '<b>nucleus</b>, confidence 0.75, object 1 of 600 px <span class="at">at 30, 4<'),
        ([30, 30], '<b>background</b>, confidence 0.50 <span class="at">at 30, 30<'),
        ([-5, 900], '<b>background</b>, confidence 0.50 <span class="at">at 0, '),
    ],
)
def test_a_click_names_what_is_there(page: Open, position: list[int], said: str) -> None:
    assert said in handlers.on_point(SimpleNamespace(index=position), page("nuclei").view, None)


def test_a_border_alone_is_not_called_nothing() -> None:
    counts = {"background": 198, "pet": 0, "border": 2}
    stats = [ClassStats(name, (0, 0, 0), count, count / 200, 0.9) for name, count in counts.items()]
    assert words.sentence(stats, TASKS["pets"]) == "Only border was found, on 1.0% of the picture."


def test_nothing_found_is_said(fakes: dict[str, FakeSegmenter], tmp_path: Path) -> None:
    Image.new("RGB", (5, 3)).save(tmp_path / "flat.png")  # a quarter of three rows is none
    for task, said in (("water", "No water was found"), ("nuclei", "No nuclei were found")):
        shown = handlers.on_upload(given(tmp_path / "flat.png"), task, Desk(), *LOOKS)
        assert said in shown.summary and not shown.per_object["visible"]


def test_a_picture_of_another_kind_is_said(page: Open) -> None:
    shown = page("water")
    assert "notice" not in shown.summary
    strange = replace(shown.view, shown=replace(shown.view.shown, familiarity=-0.1))
    assert "does not look like the pictures that the water model was trained on" in words.summary(strange)


@pytest.mark.parametrize(("name", "content", "message"), BAD_FILES)
def test_a_bad_picture_becomes_one_sentence(
    fakes: dict[str, FakeSegmenter], tmp_path: Path, name: str, content: Callable[[Path], bytes], message: str
) -> None:
    (tmp_path / name).write_bytes(content(tmp_path))
    shown = handlers.on_upload(given(tmp_path / name), "pets", Desk(), *LOOKS)
    assert message in shown.stage["value"].replace("&#x27;", "'") and 'role="alert"' in shown.stage["value"]
    assert shown.picture is None and shown.view is None


def test_missing_weights_keep_the_picture(monkeypatch: pytest.MonkeyPatch, picture: Path) -> None:
    def missing(task: str) -> None:
        raise WeightsError("the weights of pets are missing; train them.")

    monkeypatch.setattr(view, "segmenter_for", missing)
    desk = Desk()
    shown = handlers.on_upload(given(picture), "pets", desk, *LOOKS)
    assert "The weights of pets are missing; train them." in shown.stage["value"]
    assert shown.picture == gr.skip() and desk.picture(None) == Given(str(picture), "grey.png")


def test_too_little_memory_is_said(monkeypatch: pytest.MonkeyPatch, picture: Path) -> None:
    def full(task: str) -> None:
        raise MemoryError

    monkeypatch.setattr(view, "segmenter_for", full)
    assert "memory; make it smaller" in handlers.on_upload(given(picture), "pets", Desk(), *LOOKS).stage["value"]


def test_taking_the_picture_away_empties_the_page(fakes: dict[str, FakeSegmenter]) -> None:
    for shown in (handlers.on_clear("pets", Desk()), handlers.on_upload(None, "pets", Desk(), *LOOKS)):
        assert shown.view is None and shown.stage["visible"] and shown.picture == gr.skip()  # the next one may be there
        assert not shown.result["visible"] and not shown.slider["visible"] and not shown.details["visible"]


def test_a_result_no_longer_held_is_said() -> None:
    for act in (
        lambda: handlers.on_look(None, Desk(), *LOOKS),
        lambda: handlers.on_point(SimpleNamespace(index=[0, 0]), None, None),
        lambda: handlers.on_download("mask", None, None),
    ):
        with pytest.raises(gr.Error, match="choose the picture again"):
            act()


def test_a_deep_tiff_is_shown_as_a_jpeg(fakes: dict[str, FakeSegmenter], tmp_path: Path) -> None:
    Image.fromarray(np.arange(2400, dtype=np.uint16).reshape(40, 60)).save(tmp_path / "deep.tif")
    for came in (handlers.on_upload, handlers.on_file):
        shown = came(given(tmp_path / "deep.tif"), "nuclei", Desk(), *LOOKS)
        assert shown.view.source.name == "deep.tif"
        preview = Image.open(shown.picture)
        assert preview.format == "JPEG" and preview.size == (60, 40)
        assert abs(np.asarray(preview).mean() - 127) < 5  # a ramp from black to white


def test_the_file_button_fills_the_place_of_the_picture(fakes: dict[str, FakeSegmenter], picture: Path) -> None:
    assert handlers.on_upload(given(picture), "pets", Desk(), *LOOKS).picture == gr.skip()
    assert handlers.on_file(given(picture), "pets", Desk(), *LOOKS).picture == str(picture)


@pytest.mark.parametrize("shown", [None, "another.png"])
def test_a_model_that_supersedes_what_brings_a_picture_puts_it_into_its_place(
    fakes: dict[str, FakeSegmenter], picture: Path, shown: str | None
) -> None:
    """An example or a file from the button, whose own event shows nothing any more."""
    desk = Desk()
    desk.begin(Given(str(picture), picture.name))
    page = handlers.on_task("water", shown and {"path": shown}, desk, *LOOKS)
    assert page.picture == str(picture) and page.view.source.path == str(picture)


@pytest.mark.parametrize("task", ["water", "nuclei"])
def test_a_large_picture_is_shown_smaller_and_kept_whole(
    fakes: dict[str, FakeSegmenter], tmp_path: Path, task: str
) -> None:
    Image.new("RGB", (4000, 1000), "white").save(tmp_path / "wide.png")
    shown = handlers.on_upload(given(tmp_path / "wide.png"), task, Desk(), *LOOKS)
    assert Image.open(shown.result["value"]).size == (1600, 400)
    assert shown.view.stats[1].pixels == 1_000_000
    mask = Image.open(handlers.on_download("mask", shown.view, None))
    assert mask.size == (4000, 1000) and np.asarray(mask).sum() == 1_000_000
    said = handlers.on_point(SimpleNamespace(index=[1599, 99]), shown.view, None)
    assert ("object 1" in said) == (task == "nuclei") and "at 3,998, 248<" in said
    assert fakes[task].calls == 1


def test_what_is_kept_of_a_large_picture_goes_with_it(fakes: dict[str, FakeSegmenter], tmp_path: Path) -> None:
    Image.new("RGB", (2001, 10)).save(tmp_path / "long.png")
    held = view.look(Given(str(tmp_path / "long.png"), "long.png"), "cars")
    folder = Path(held.kept._folder.name)
    assert {path.name for path in folder.iterdir()} == {"class_ids.npy", "confidence.npy"}
    assert folder.parent == tmp_path / "gradio"  # where the sweep counts them
    del held
    assert not folder.exists()


def test_a_large_result_that_was_swept_away_is_said(fakes: dict[str, FakeSegmenter], tmp_path: Path) -> None:
    Image.new("RGB", (2001, 10)).save(tmp_path / "long.png")
    held = handlers.on_upload(given(tmp_path / "long.png"), "cars", Desk(), *LOOKS).view
    for path in Path(held.kept._folder.name).iterdir():
        path.unlink()
    with pytest.raises(gr.Error, match="no longer held; choose the picture again"):
        handlers.on_download("mask", held, None, *LOOKS)


def test_every_example_sets_its_task(fakes: dict[str, FakeSegmenter]) -> None:
    for index, example in enumerate(examples()):
        shown = handlers.on_example(gr.EventData(None, {"index": str(index)}), Desk(), *LOOKS)
        assert shown.task == example.task and shown.view.source.path == example.path
        assert fakes[example.task].calls and Image.open(shown.picture).format in ("JPEG", "PNG")
    assert {example.task for example in examples()} == set(TASKS)


def test_the_lakes_come_with_their_truth(tmp_path: Path) -> None:
    drawn, truth = (np.asarray(Image.open(path).convert("L"), float) for path in lakes_truth(tmp_path))
    assert set(np.unique(truth)) == {0, 255} and drawn[truth > 0].mean() < drawn[truth == 0].mean() - 40


@pytest.mark.parametrize(
    ("found", "said", "offers"),
    [
        (Suggestion("water", {"water": 2.0, "pets": -1.0}), "the water model was trained on.", True),
        (Suggestion("pets", {"water": -2.0, "pets": 1.0}), "the pets model was trained on.", False),
        (Suggestion(None, {"water": -2.0, "pets": -1.0}), "None fits.", False),
        (Suggestion(None, {}), "do not tell which pictures they know", False),
    ],
)
def test_a_suggestion_says_why(
    monkeypatch: pytest.MonkeyPatch, picture: Path, found: Suggestion, said: str, offers: bool
) -> None:
    monkeypatch.setattr(handlers, "suggest_for", lambda path: found)
    html = handlers.on_suggest("pets", given(picture), Desk())
    assert said in html and ('data-task="water"' in html) == offers
    assert "Give a picture first" in handlers.on_suggest("pets", None, Desk())


@pytest.mark.parametrize("source", [None, Given("other.png", "other.png")], ids=["none", "another"])
def test_a_suggestion_for_a_picture_that_has_gone_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, picture: Path, source: Given | None
) -> None:
    desk = Desk()

    def slow(path: str) -> Suggestion:
        desk.begin(source)
        return Suggestion("water", {"water": 2.0})

    monkeypatch.setattr(handlers, "suggest_for", slow)
    assert handlers.on_suggest("pets", given(picture), desk) == gr.skip()


def test_a_suggestion_is_taken_over(fakes: dict[str, FakeSegmenter], picture: Path) -> None:
    shown = handlers.on_take(gr.EventData(None, {"task": "water"}), given(picture), Desk(), *LOOKS)
    assert shown.task == "water" and shown.view.shown.task.name == "water" and fakes["water"].calls == 1


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (0, "0%"),
        (0.0004, "under 0.1%"),
        (0.034, "3.4%"),
        (0.0996, "10%"),
        (0.345, "34%"),
        (0.989, "99%"),
        (0.998, "99.8%"),
        (0.9996, "over 99.9%"),
        (1, "100%"),
    ],
)
def test_shares_read_as_people_write_them(fraction: float, text: str) -> None:
    assert words.percent(fraction) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.0381, "38 ms"), (0.9996, "1.0 s"), (1.24, "1.2 s"), (45, "45.0 s")])
def test_what_a_picture_took_is_never_nothing(seconds: float, text: str) -> None:
    assert words.took(seconds) == text


def test_a_model_loads_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(models.Segmenter, "load", lambda task: loaded.append(task) or FakeSegmenter(task))
    models._load.cache_clear()
    try:
        assert models.segmenter_for("cars") is models.segmenter_for("cars")
        models.warm()
        assert sorted(loaded) == sorted(TASKS)
    finally:
        models._load.cache_clear()


def test_a_geotiff_tells_the_size_of_its_pixels(tmp_path: Path, fakes: dict[str, FakeSegmenter]) -> None:
    rasterio = pytest.importorskip("rasterio")
    path = tmp_path / "lake.tif"
    transform = rasterio.transform.Affine(20, 0, 500000, 0, -20, 4600000)
    with rasterio.open(
        path, "w", driver="GTiff", width=30, height=20, count=3, dtype="uint8", crs="EPSG:32633", transform=transform
    ) as file:
        file.write(np.zeros((3, 20, 30), np.uint8))
    assert handlers.on_upload({"path": str(path)}, "water", Desk(), *LOOKS).pixel_size["value"] == 20
    assert handlers.on_upload({"path": str(path)}, "nuclei", Desk(), *LOOKS).pixel_size["value"] is None


@pytest.mark.parametrize("missing", ["map", "rasterio"])
def test_no_size_is_guessed_for_a_geotiff(
    tmp_path: Path, fakes: dict[str, FakeSegmenter], monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    rasterio = pytest.importorskip("rasterio")
    path = tmp_path / "lake.tif"
    options = {"transform": rasterio.transform.Affine(20, 0, 500000, 0, -20, 4600000)}
    options |= {"crs": "EPSG:32633"} if missing == "rasterio" else {}
    with rasterio.open(path, "w", driver="GTiff", width=30, height=20, count=3, dtype="uint8", **options) as file:
        file.write(np.zeros((3, 20, 30), np.uint8))
    if missing == "rasterio":
        monkeypatch.setitem(sys.modules, "rasterio", None)
    assert handlers.on_upload({"path": str(path)}, "water", Desk(), *LOOKS).pixel_size["value"] is None


@pytest.mark.parametrize(
    ("pixels", "side", "said"),
    [
        (3, 0.5, "under 0.001 ha"),
        (9997, 10, "100 ha"),
        (99_970, 10, "1,000 ha"),
        (123_456, 100, "123,456 ha"),
        (5, 10, "0.05 ha"),
    ],
)
def test_areas_read_as_people_write_them(pixels: float, side: float, said: str) -> None:
    assert words.extent(pixels, side, TASKS["water"]) == said
