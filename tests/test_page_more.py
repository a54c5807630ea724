"""The Score and Models tabs, the drawings, and the extra examples, with fake models and a fake network."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from page_fakes import LOOKS, FakeSegmenter, given
from PIL import Image

from page import charts, diagram, extra, handlers, models_tab, pictures, score_tab
from page import examples as own_examples
from page.desk import Desk
from page.examples import examples
from segmenter import TASKS, Segmenter, WeightsError
from segmenter.predict import WEIGHTS
from segmenter.suggest import suggest

pytest_plugins = ["page_fakes"]

Fakes = dict[str, FakeSegmenter]


def svg(html: str) -> ET.Element:
    return ET.fromstring(html[html.index("<svg") : html.index("</svg>") + 6])


# Score


def test_a_comparison_is_shown(fakes: Fakes, picture: Path, tmp_path: Path) -> None:
    truth = np.zeros((40, 60), np.uint8)
    truth[:20] = 255
    Image.fromarray(truth).save(tmp_path / "truth.png")
    shown = score_tab.on_score("water", given(picture), given(tmp_path / "truth.png"))
    assert "IoU 0.500 of what is marked; 75% of the pixels are right." in shown.report
    for cell in ("0.583", "0.667", "1,200", "600", "50%"):
        assert cell in shown.report
    assert "missed" in shown.legend["value"] and not shown.stage["visible"]
    errors = np.asarray(Image.open(shown.errors["value"]).convert("RGB"), int)
    hit, missed, nothing = errors[5, 30], errors[15, 30], errors[30, 30]
    assert hit[2] > hit[0] and missed[0] > missed[2] and np.ptp(nothing) == 0


def test_what_cannot_be_compared_is_said(fakes: Fakes, picture: Path) -> None:
    shown = score_tab.on_score("water", given(picture), None)
    assert "There is no true mask" in shown.stage["value"] and shown.stage["visible"] and not shown.errors["visible"]


def test_the_example_of_score_can_be_scored(fakes: Fakes) -> None:
    task, drawn, truth = score_tab.on_example()
    shown = score_tab.on_score(task, given(Path(drawn)), given(Path(truth)))
    assert "IoU" in shown.report and not shown.stage["visible"]


# Drawings


def test_a_histogram_counts_every_value() -> None:
    root = svg(charts.histogram([1, 1, 15.9, 3], "px"))
    titles = [element.text for element in root.iter() if element.tag.endswith("title")]
    assert titles == ["2 of 1 to 2 px", "1 of 3 to 4 px", "1 of 15 to 16 px"]
    assert charts.histogram([], "px") == ""


@pytest.mark.parametrize(
    ("value", "rounded"), [(1, 1), (1.1, 2), (2.4, 2.5), (2.6, 5), (51, 100), (0.03, 0.05), (1000, 1000)]
)
def test_steps_are_round_numbers(value: float, rounded: float) -> None:
    assert charts.round_up(value) == pytest.approx(rounded)


def test_the_heat_map_runs_from_dark_to_bright() -> None:
    drawn = pictures.heat(np.array([[0.2, 0.5, 0.75, 1.0]], np.float32), 0.5)
    assert drawn[0].tolist() == [[68, 1, 84], [68, 1, 84], [33, 144, 141], [253, 231, 37]] or np.allclose(
        drawn[0], [[68, 1, 84], [68, 1, 84], [33, 144, 141], [253, 231, 37]], atol=2
    )


@pytest.mark.parametrize("task", TASKS)
def test_the_network_is_drawn_from_its_config(task: str) -> None:
    config = json.loads((WEIGHTS / task / "config.json").read_text())
    root = svg(diagram.architecture(config))
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    size, maps = config["_segmenter"]["size"], len(config["_segmenter"]["network_classes"])
    assert f"{size} × {size} × 3" in texts and f"{size} × {size} × {maps}" in texts
    assert f"{size // 32} × {size // 32} × 1280" in texts and f"{size} × {size} × 16" in texts
    skips = [element for element in root.iter() if element.get("class") == "skip"]
    assert len(skips) == 4


def test_the_encoder_has_the_channels_that_are_drawn() -> None:
    from segmentation_models_pytorch.encoders import get_encoder

    assert get_encoder("mobilenet_v2", weights=None).out_channels[1:] == list(diagram.ENCODERS["mobilenet_v2"])


def test_another_network_is_named() -> None:
    assert "Network: FPN." in diagram.architecture({"_model_class": "FPN"})


# Models


@pytest.mark.parametrize("task", TASKS)
def test_a_model_has_its_card(fakes: Fakes, task: str) -> None:
    models_tab.sheet.cache_clear()
    try:
        shown = models_tab.on_model(task)
        sheet = models_tab.sheet(task)
        assert models_tab.sheet(task) == sheet
    finally:
        models_tab.sheet.cache_clear()
    own = [example for example in examples() if example.task == task]
    assert sheet.count("<figure>") == len(own) and fakes[task].calls == len(own)
    metrics = json.loads((WEIGHTS / task / "metrics.json").read_text())
    assert f"{metrics['test']['own_size']['mean_iou']:.3f}" in shown.card
    assert all(source.licence in shown.card for source in TASKS[task].sources)
    assert f"python -m train.{task} --data DIR" in shown.card and "<svg" in shown.network
    assert len(models_tab.limits_of(task)) >= 2


def test_a_model_without_files_has_a_card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(models_tab, "WEIGHTS", tmp_path)
    assert "No scores" in models_tab.card("pets") and "train them" in models_tab.network("pets")


def test_missing_weights_are_said_in_the_place_of_the_sheet(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(task: str) -> None:
        raise WeightsError("the weights of pets are missing; train them.")

    models_tab.sheet.cache_clear()
    monkeypatch.setattr(models_tab, "segmenter_for", missing)
    assert "The weights of pets are missing; train them." in models_tab.on_sheet("pets")


def test_a_learning_curve_is_shown_where_there_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(models_tab, "WEIGHTS", tmp_path)
    assert models_tab.curves("pets") == ""
    (tmp_path / "pets").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "pets" / "curves.png")
    assert "Learning curve" in models_tab.curves("pets")


# Quick starts


def test_a_computed_example_is_kept_for_the_next_start(monkeypatch, tmp_path):
    monkeypatch.setattr(own_examples, "user_cache", lambda: tmp_path / "cache")
    first = own_examples.drawn("a.tif", lambda: Image.new("I;16", (3, 2), 700))
    assert Image.open(io.BytesIO(first)).getpixel((0, 0)) == 700
    assert own_examples.drawn("a.tif", lambda: pytest.fail("drawn again")) == first
    (own_examples.cache_folder() / "a.tif").write_bytes(first[:50])
    assert own_examples.drawn("a.tif", lambda: Image.new("I;16", (3, 2), 700)) == first  # the damaged one is replaced
    assert own_examples.drawn("a.tif", lambda: pytest.fail("drawn again")) == first
    for number in range(5):
        (tmp_path / "cache" / "drawn" / str(number)).mkdir()
        own_examples.drawn(f"{number}.png", lambda: Image.new("L", (3, 2)))
    assert len(list((tmp_path / "cache" / "drawn").iterdir())) == own_examples.MOST_KEPT
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(own_examples, "user_cache", lambda: tmp_path / "file")  # which holds no folder
    assert Image.open(io.BytesIO(own_examples.drawn("a.png", lambda: Image.new("L", (3, 2))))).size == (3, 2)


def test_gradio_writes_no_stubs():
    script = """
from page.quick_gradio import gr
from gradio import component_meta
component_meta.create_pyi = None  # which every stub begins with
class Another(gr.Button): ...
assert callable(gr.Button.click)
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parent.parent)


# Extra examples


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, picture: Path) -> Callable[[str], bytes]:
    """A network that has every extra example: for all of them it gives the grey picture."""
    data = picture.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    monkeypatch.setattr(extra, "EXTRAS", tuple(replace(each, sha256=digest) for each in extra.EXTRAS))
    monkeypatch.setattr(extra, "_fetched", [])
    monkeypatch.setattr(extra, "cache_folder", lambda: tmp_path / "cache")
    return lambda url: data


def test_extras_are_fetched_once_and_kept(web: Callable[[str], bytes]) -> None:
    asked: list[str] = []
    for _ in range(2):
        assert extra.fetch(lambda url: asked.append(url) or web(url)) == 0
    assert sorted(asked) == sorted(each.url for each in extra.EXTRAS)
    assert len(extra.all_examples()) == len(examples()) + len(extra.EXTRAS)
    for example in extra.all_examples()[len(examples()) :]:
        assert Path(example.path).parent == own_examples.folder()  # of which Gradio may give files away
        assert (extra.cache_folder() / Path(example.path).name).read_bytes() == Path(example.path).read_bytes()


def test_extras_need_no_place_to_be_kept(web: Callable[[str], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "cache_folder", lambda: Path(__file__) / "no-folder")
    assert extra.fetch(web) == 0 and len(extra.all_examples()) == len(examples()) + len(extra.EXTRAS)


def test_a_wrong_hash_is_not_taken(web: Callable[[str], bytes]) -> None:
    assert extra.fetch(lambda url: web(url) + b" ") == len(extra.EXTRAS)
    assert extra.all_examples() == examples() and not extra.cache_folder().exists()


@pytest.mark.parametrize("error", [TimeoutError("no answer"), ConnectionRefusedError(), OSError("no route")])
def test_without_a_network_extras_are_absent(
    web: Callable[[str], bytes], monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def fail(url: str) -> bytes:
        raise error

    warned: list[str] = []
    monkeypatch.setattr(extra, "_read", fail)
    monkeypatch.setattr(handlers.gr, "Warning", warned.append)
    gallery, button = handlers.on_more()
    assert extra.all_examples() == examples() and gallery.count("data-index") == len(examples())
    assert button["visible"] and warned == ["7 of 7 examples could not be fetched; the web may be out of reach."]


def test_a_spoilt_file_in_the_cache_is_fetched_again(web: Callable[[str], bytes]) -> None:
    extra.fetch(web)
    path = extra.cache_folder() / extra.EXTRAS[0].name
    path.write_bytes(b"spoilt")
    extra.fetch(web)
    assert path.read_bytes() == web("")


def test_the_page_takes_what_came(web: Callable[[str], bytes], fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "_read", web)
    gallery, button = handlers.on_more()
    assert gallery.count("data-index") == len(examples()) + len(extra.EXTRAS) and not button["visible"]
    shown = handlers.on_example(gr.EventData(None, {"index": len(examples())}), Desk(), *LOOKS)
    assert shown.task == extra.EXTRAS[0].task and shown.view is not None


def test_every_extra_is_pinned() -> None:
    for each in extra.EXTRAS:
        assert each.url.startswith("https://raw.githubusercontent.com/") and len(each.sha256) == 64
        assert len(each.url.split("/")[5]) == 40 and each.task in TASKS  # a commit
    assert len({each.name for each in extra.EXTRAS}) == len(extra.EXTRAS) == 7


def test_every_example_is_known_to_its_model() -> None:
    """The committed models suggest themselves for them, and find nothing strange about them."""
    models = {task: Segmenter.load(task) for task in TASKS}
    for example in examples():
        assert suggest(example.path, models).task == example.task, example.title
        assert models[example.task].predict(example.path).notice is None, example.title
