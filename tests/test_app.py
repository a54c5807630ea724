"""The page: its handlers with a fake model, its server over the network, and a real browser."""

from __future__ import annotations

import io
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from page import handlers, models, view, words
from page.examples import examples
from segmenter import TASKS, Segmentation, WeightsError
from segmenter.image import read_image

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM_ARGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class FakeSegmenter:
    """Finds class 1 in the picture's upper quarter, sure to 0.75 there and to 0.5 elsewhere; counts its calls."""

    def __init__(self, task: str) -> None:
        self.task, self.calls = TASKS[task], 0

    def predict(self, source: Any) -> Segmentation:
        self.calls += 1
        image = read_image(source)
        class_ids = np.zeros(image.shape[:2], np.uint8)
        class_ids[: image.shape[0] // 4] = 1
        confidence = np.where(class_ids == 1, 0.75, 0.5).astype(np.float32)
        return Segmentation(image, class_ids, confidence, self.task)


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, FakeSegmenter]:
    """Fake models in the place of the real ones, and Gradio's files in the test's folder."""
    segmenters = {task: FakeSegmenter(task) for task in TASKS}
    monkeypatch.setattr(view, "segmenter_for", segmenters.__getitem__)
    monkeypatch.setattr(handlers, "segmenter_for", segmenters.__getitem__)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    return segmenters


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A grey picture of 40 rows and 60 columns."""
    path = tmp_path / "grey.png"
    Image.new("RGB", (60, 40), (100, 100, 100)).save(path)
    return path


def _given(path: Path) -> dict[str, Any]:
    return {"path": str(path), "orig_name": path.name}


def _huge_png() -> bytes:
    """A PNG of a few bytes whose header claims 81 megapixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def _cut_jpeg(folder: Path) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    path = folder / "whole.jpg"
    Image.fromarray(noise).save(path)
    return path.read_bytes()[:900]


BAD_FILES: list[tuple[str, Callable[[Path], bytes], str]] = [
    ("empty.jpg", lambda folder: b"", "'empty.jpg' is an empty file"),
    ("holiday.jpg", lambda folder: b"Dear diary", "'holiday.jpg' is not a picture"),
    ("cut.jpg", _cut_jpeg, "'cut.jpg' is damaged or incomplete"),
    ("huge.png", lambda folder: _huge_png(), "81 megapixels; the limit is 50"),
]


# The handlers, without a browser


def test_an_upload_shows_everything(fakes: dict[str, FakeSegmenter], picture: Path) -> None:
    page = handlers.on_upload(_given(picture), "cars", "Overlay", 50)
    assert page.source == str(picture) and page.view is not None
    assert words.sentence(page.view) == "Cars cover 25% of the picture; mean confidence 0.75."
    assert page.classes["value"] == ["car"]
    assert page.details["visible"] and not page.stage["visible"]
    for cell in ("600", "25.0%", "0.75", "1,800", "75.0%", "0.50"):
        assert f">{cell}<" in page.table
    mask = Image.open(page.mask_file)
    assert mask.mode == "P" and mask.size == (60, 40) and np.asarray(mask).sum() == 600
    assert Path(page.mask_file).name == "grey-cars-mask.png"


def test_looking_again_does_not_run_the_network(fakes: dict[str, FakeSegmenter], picture: Path) -> None:
    page = handlers.on_upload(_given(picture), "cars", "Overlay", 50)
    pixels = []
    for mode, opacity, classes in [
        ("Overlay", 0, ["car"]),
        ("Overlay", 100, ["car"]),
        ("Overlay", 100, []),
        ("Mask", 50, ["car"]),
        ("Mask", 50, []),
        ("Original", 50, ["car"]),
    ]:
        drawn = handlers.on_look(page.view, mode, opacity, classes)
        assert drawn.opacity["interactive"] == (mode == "Overlay")
        pixels.append(Image.open(drawn.result).getpixel((30, 4)))
    grey, car, black = (100, 100, 100), TASKS["cars"].classes[1].color, (0, 0, 0)
    for found, wanted in zip(pixels, [grey, car, grey, car, black, grey], strict=True):
        assert np.abs(np.subtract(found, wanted)).max() <= 4  # JPEG
    assert fakes["cars"].calls == 1


def test_another_task_reads_the_same_picture(fakes: dict[str, FakeSegmenter], picture: Path) -> None:
    page = handlers.on_task("pets", str(picture), "Overlay", 50)
    assert page.picture == gr.skip()
    assert page.classes["value"] == ["pet", "border"]
    assert words.sentence(page.view).startswith("The pet covers 25%")
    assert "Cats and dogs" in page.about
    assert (fakes["pets"].calls, fakes["cars"].calls) == (1, 0)


def test_another_task_without_a_picture_invites(fakes: dict[str, FakeSegmenter]) -> None:
    page = handlers.on_task("water", None, "Overlay", 50)
    assert page.view is None and page.stage["value"] == words.INVITATION and "Sentinel-2" in page.about
    assert fakes["water"].calls == 0


def test_nuclei_are_counted(fakes: dict[str, FakeSegmenter], picture: Path) -> None:
    page = handlers.on_upload(_given(picture), "nuclei", "Overlay", 50)
    assert words.sentence(page.view) == "1 nucleus covers 25% of the picture; mean confidence 0.75."


def test_nothing_found_is_said(fakes: dict[str, FakeSegmenter], tmp_path: Path) -> None:
    Image.new("RGB", (5, 3)).save(tmp_path / "flat.png")  # a quarter of three rows is none
    page = handlers.on_upload(_given(tmp_path / "flat.png"), "water", "Overlay", 50)
    assert words.sentence(page.view) == "No water was found in this picture."


def test_a_picture_of_another_kind_is_said(fakes: dict[str, FakeSegmenter], picture: Path) -> None:
    page = handlers.on_upload(_given(picture), "water", "Overlay", 50)
    assert "notice" not in page.summary
    strange = replace(page.view, shown=replace(page.view.shown, familiarity=-0.1))
    assert "does not look like the pictures that the water model was trained on" in words.summary(strange)


@pytest.mark.parametrize(("name", "content", "message"), BAD_FILES)
def test_a_bad_picture_becomes_one_sentence(
    fakes: dict[str, FakeSegmenter], tmp_path: Path, name: str, content: Callable[[Path], bytes], message: str
) -> None:
    (tmp_path / name).write_bytes(content(tmp_path))
    page = handlers.on_upload(_given(tmp_path / name), "pets", "Overlay", 50)
    assert message in page.stage["value"].replace("&#x27;", "'") and 'role="alert"' in page.stage["value"]
    assert page.picture is None and page.source is None and page.view is None
    with pytest.raises(gr.Error, match=re.escape(message)):
        handlers.segment("pets", _given(tmp_path / name))


def test_missing_weights_keep_the_picture(monkeypatch: pytest.MonkeyPatch, picture: Path) -> None:
    def missing(task: str) -> None:
        raise WeightsError("the weights of pets are missing; train them.")

    monkeypatch.setattr(view, "segmenter_for", missing)
    page = handlers.on_upload(_given(picture), "pets", "Overlay", 50)
    assert "The weights of pets are missing; train them." in page.stage["value"]
    assert page.picture == gr.skip() and page.source == str(picture)


def test_too_little_memory_is_said(monkeypatch: pytest.MonkeyPatch, picture: Path) -> None:
    def full(task: str) -> None:
        raise MemoryError

    monkeypatch.setattr(view, "segmenter_for", full)
    assert "memory; make it smaller" in handlers.on_upload(_given(picture), "pets", "Overlay", 50).stage["value"]


def test_taking_the_picture_away_empties_the_page(fakes: dict[str, FakeSegmenter]) -> None:
    for page in (handlers.on_clear("pets"), handlers.on_upload(None, "pets", "Overlay", 50)):
        assert page.view is None and page.stage["visible"] and not page.result["visible"]


def test_a_result_no_longer_held_is_said() -> None:
    with pytest.raises(gr.Error, match="choose the picture again"):
        handlers.on_look(None, "Overlay", 50, [])


def test_a_deep_tiff_is_shown_as_a_jpeg(fakes: dict[str, FakeSegmenter], tmp_path: Path) -> None:
    Image.fromarray(np.arange(2400, dtype=np.uint16).reshape(40, 60)).save(tmp_path / "deep.tif")
    page = handlers.on_upload(_given(tmp_path / "deep.tif"), "nuclei", "Overlay", 50)
    assert page.source.endswith("deep.tif")
    shown = Image.open(page.picture)
    assert shown.format == "JPEG" and shown.size == (60, 40) and shown.getextrema()[0] >= (0, 250)


def test_a_large_picture_is_shown_smaller_and_counted_whole(fakes: dict[str, FakeSegmenter], tmp_path: Path) -> None:
    Image.new("RGB", (4000, 1000), "white").save(tmp_path / "wide.png")
    page = handlers.on_upload(_given(tmp_path / "wide.png"), "water", "Overlay", 50)
    assert Image.open(page.picture_file).size == (2000, 500)
    assert Image.open(page.mask_file).size == (4000, 1000)
    assert page.view.stats[1].pixels == 1_000_000


def test_every_example_sets_its_task(fakes: dict[str, FakeSegmenter]) -> None:
    for index, example in enumerate(examples()):
        page = handlers.on_example(gr.EventData(None, {"index": str(index)}), "Overlay", 50)
        assert page.task == example.task and page.source == example.path
        assert fakes[example.task].calls and Image.open(page.picture).format in ("JPEG", "PNG")
    assert {example.task for example in examples()} == set(TASKS)


def test_the_api_gives_files_and_rows(fakes: dict[str, FakeSegmenter], picture: Path) -> None:
    overlay, mask, rows = handlers.segment("pets", _given(picture))
    assert Image.open(overlay).size == (60, 40) and Image.open(mask).mode == "P"
    assert rows == [
        {"class": "background", "color": "#000000", "pixels": 1800, "percent": 75.0, "mean_confidence": 0.5},
        {"class": "pet", "color": "#e69f00", "pixels": 600, "percent": 25.0, "mean_confidence": 0.75},
        {"class": "border", "color": "#56b4e9", "pixels": 0, "percent": 0.0, "mean_confidence": 0.0},
    ]


@pytest.mark.parametrize(
    ("task", "given", "message"),
    [("dogs", {"path": "x.png"}, "Unknown task 'dogs'; choose one of pets"), ("pets", None, "There is no picture")],
)
def test_the_api_names_what_is_wrong(task: str, given: dict[str, str] | None, message: str) -> None:
    with pytest.raises(gr.Error, match=re.escape(message)):
        handlers.segment(task, given)


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0, "0%"), (0.0004, "under 0.1%"), (0.034, "3.4%"), (0.0996, "10%"), (0.345, "34%"), (1, "100%")],
)
def test_shares_read_as_people_write_them(fraction: float, text: str) -> None:
    assert words.percent(fraction) == text


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


# The server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``python app.py`` on a free port; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    environment = {
        **os.environ,
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(folder / "gradio"),
        "TMPDIR": str(folder),
        # Anything sent beyond this machine goes to a closed port.
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9"),
        **dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost"),
    }
    log = folder / "log.txt"
    with log.open("w") as sink:
        process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=sink, stderr=sink)
    try:
        for _ in range(240):
            if process.poll() is not None:
                pytest.fail(f"app.py ended: {log.read_text()}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.25)
        yield f"http://127.0.0.1:{port}"
        assert "Traceback" not in log.read_text()
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def client(server: str, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return Client(server, verbose=False, download_files=str(tmp_path_factory.mktemp("answers")))


def _sample(task: str) -> str:
    return next(example.path for example in examples() if example.task == task)


@pytest.mark.parametrize("task", TASKS)
def test_the_endpoint_answers(client: Client, task: str) -> None:
    overlay, mask_path, rows = client.predict(task, handle_file(_sample(task)), api_name="/segment")
    size_wh = Image.open(_sample(task)).size
    mask = Image.open(mask_path)
    class_ids = np.asarray(mask)
    assert mask.mode == "P" and mask.size == size_wh and class_ids.max() < len(TASKS[task].classes)
    assert mask.getpalette()[3:6] == list(TASKS[task].classes[1].color)
    assert Image.open(overlay).size == size_wh
    assert [row["class"] for row in rows] == list(TASKS[task].class_names)
    assert [row["pixels"] for row in rows] == np.bincount(class_ids.ravel(), minlength=len(rows)).tolist()
    assert sum(row["percent"] for row in rows) == pytest.approx(100, abs=0.01)


@pytest.mark.parametrize(("name", "content", "message"), BAD_FILES)
def test_the_endpoint_names_a_bad_file(
    client: Client, tmp_path: Path, name: str, content: Callable[[Path], bytes], message: str
) -> None:
    (tmp_path / name).write_bytes(content(tmp_path))
    with pytest.raises(AppError, match=re.escape(message)):
        client.predict("pets", handle_file(tmp_path / name), api_name="/segment")


def test_only_segment_is_public(client: Client) -> None:
    assert list(client.view_api(return_format="dict")["named_endpoints"]) == ["/segment"]


# A browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = shutil.which("chromium")
    if path is None:
        reason = "chromium is not installed (apt-get install chromium)"
        if os.environ.get("SEGMENTER_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGS)
        yield chromium
        chromium.close()


class Tab:
    """The page open in a browser, and what left this machine or broke meanwhile."""

    def __init__(self, browser: Any, server: str, width: int = 1440, scheme: str = "light") -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(server)
        self.page.wait_for_selector(".example")
        self.page.wait_for_selector("#task[role=radiogroup]")

    def upload(self, path: str | Path) -> None:
        self.page.set_input_files("#picture input[type=file]", str(path))

    def close(self) -> None:
        self.context.close()
        outside = [url for url in self.requests if not re.match(r"(http://127\.0\.0\.1:|data:|blob:)", url)]
        assert outside == [] and self.errors == []

    def legible(self, selector: str) -> bool:
        """Whether the eye finds something there: text that is covered leaves a plain patch of one colour."""
        shot = Image.open(io.BytesIO(self.page.locator(selector).screenshot())).convert("L")
        darkest, brightest = shot.getextrema()
        return brightest - darkest > 100

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))


@pytest.fixture
def open_tab(browser: Any, server: str) -> Iterator[Callable[..., Tab]]:
    tabs: list[Tab] = []

    def open_one(**options: Any) -> Tab:
        tabs.append(Tab(browser, server, **options))
        return tabs[-1]

    yield open_one
    for tab in tabs:
        tab.close()


@pytest.mark.parametrize(
    ("task", "width", "scheme"),
    [("pets", 1440, "light"), ("water", 390, "dark"), ("nuclei", 1440, "dark"), ("cars", 390, "light")],
)
def test_a_picture_becomes_a_result(open_tab: Callable[..., Tab], task: str, width: int, scheme: str) -> None:
    tab = open_tab(width=width, scheme=scheme)
    assert tab.legible("#stage .stage-title") and tab.overflow() <= 0
    assert tab.page.evaluate("document.body.classList.contains('dark')") == (scheme == "dark")
    tab.page.click(f"#task label:has(input[value={task}])")
    tab.page.wait_for_function(
        "text => document.querySelector('#about').innerText === text", arg=TASKS[task].description
    )
    tab.upload(_sample(task))
    tab.page.wait_for_selector("#result img")
    assert tab.page.locator("#classes label").all_inner_texts() == list(TASKS[task].class_names[1:])
    assert tab.page.locator("#table tbody th").all_inner_texts() == list(TASKS[task].class_names)
    width_wh, height_wh = Image.open(_sample(task)).size
    counted = [int(text.replace(",", "")) for text in tab.page.locator("#table td:nth-child(2)").all_inner_texts()]
    assert sum(counted) == width_wh * height_wh
    assert tab.page.locator("#summary .summary").inner_text() == tab.page.get_attribute("#result img", "alt")
    assert tab.overflow() <= 0


def test_opacity_and_view_change_the_picture(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab()
    tab.page.click(".example >> nth=0")
    tab.page.wait_for_selector("#result img")

    def changes(act: Callable[[], Any]) -> None:
        before = tab.page.get_attribute("#result img", "src")
        act()
        tab.page.wait_for_function("old => document.querySelector('#result img').src !== old", arg=before)

    facts = tab.page.inner_text("#summary .facts")
    changes(lambda: tab.page.locator("#opacity input[type=range]").press("ArrowLeft"))
    changes(lambda: tab.page.click("#mode label:has(input[value=Mask])"))
    changes(lambda: tab.page.focus("#mode input[value=Mask]") or tab.page.keyboard.press("ArrowRight"))
    assert tab.page.is_checked("#mode input[value=Original]")
    assert tab.page.inner_text("#summary .facts") == facts


def test_a_bad_upload_shows_the_sentence_and_a_good_one_follows(
    open_tab: Callable[..., Tab], tmp_path: Path, picture: Path
) -> None:
    tab = open_tab()
    for name, content, message in BAD_FILES:
        (tmp_path / name).write_bytes(content(tmp_path))
        tab.upload(tmp_path / name)
        tab.page.wait_for_selector(f'#stage .problem:has-text("{message}")')
        tab.page.wait_for_selector("#stage > .wrap.hide", state="attached")
        assert tab.legible("#stage .stage-title")
    tab.upload(picture)
    tab.page.wait_for_selector("#result img")
    assert not tab.page.is_visible("#stage")


def test_a_picture_can_be_pasted_and_taken_away(open_tab: Callable[..., Tab], picture: Path) -> None:
    tab = open_tab()
    tab.page.evaluate(
        """bytes => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "pasted.png", { type: "image/png" }));
            document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
        }""",
        list(picture.read_bytes()),
    )
    tab.page.wait_for_selector("#summary .facts:has-text('60 × 40')")
    tab.page.click("#picture button[aria-label='Remove Image']")
    tab.page.wait_for_selector("#stage .stage")
    assert not tab.page.is_visible("#details")


def test_the_downloads_are_the_files(open_tab: Callable[..., Tab], picture: Path) -> None:
    tab = open_tab()
    tab.upload(picture)
    tab.page.wait_for_selector("#downloads button")
    with tab.page.expect_download() as download:
        tab.page.click("#downloads button:has-text('mask')")
    mask = Image.open(download.value.path())
    assert download.value.suggested_filename == "grey-pets-mask.png" and mask.mode == "P" and mask.size == (60, 40)


def test_the_keyboard_reaches_every_control(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab()
    reached = []
    for _ in range(14):
        tab.page.keyboard.press("Tab")
        reached.append(
            tab.page.evaluate("document.activeElement.closest('#task, #picture, #examples')?.id ?? 'another'")
        )
    assert [name for i, name in enumerate(reached) if name not in reached[:i]][:3] == ["task", "picture", "examples"]
    assert reached.count("examples") == len(examples())
