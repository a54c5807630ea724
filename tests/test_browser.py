"""The page in a real browser, with the real models: every tab, wide and narrow, light and dark."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_browser import Tab
from page_fakes import BAD_FILES
from page_server import sample
from PIL import Image

from page import downloads
from page.examples import examples
from segmenter import TASKS

LOADED = "document.querySelector('#result img')?.naturalWidth > 0"

pytest_plugins = ["page_fakes", "page_server", "page_browser"]

every_look = pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (1440, "light"),
        (390, "dark"),
        pytest.param(1440, "dark", marks=pytest.mark.slow),
        pytest.param(390, "light", marks=pytest.mark.slow),
    ],
)


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
    tab.upload(sample(task))
    tab.page.wait_for_selector("#result img")
    assert tab.page.locator("#classes label").all_inner_texts() == list(TASKS[task].class_names[1:])
    assert tab.page.locator("#table tbody th").all_inner_texts() == list(TASKS[task].class_names)
    width_wh, height_wh = Image.open(sample(task)).size
    counted = [int(text.replace(",", "")) for text in tab.page.locator("#table td:nth-child(2)").all_inner_texts()]
    assert sum(counted) == width_wh * height_wh
    said = tab.page.locator("#summary .summary").inner_text()
    without_area = re.sub(
        r", [\d,.]+ ha at 10 m a pixel", "", said
    )  # the pixel size may change after the picture was drawn
    assert tab.page.get_attribute("#result img", "alt") == f"Overlay: {without_area}"
    assert tab.page.is_visible("#objects") == (task == "nuclei")
    assert tab.overflow() <= 0


def test_another_model_is_chosen_while_one_reads(open_tab: Callable[..., Tab], tmp_path: Path) -> None:
    """The picture stays, the later choice is shown, and the earlier run does not come after it."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), np.uint8)).save(tmp_path / "large.jpg")
    tab = open_tab()
    tab.page.click("#task label:has(input[value=water])")
    tab.upload(tmp_path / "large.jpg")
    tab.page.wait_for_selector("#picture img")
    tab.page.wait_for_timeout(500)
    tab.page.click("#task label:has(input[value=cars])")
    tab.page.wait_for_selector("#summary .summary:has-text('car')")
    tab.page.wait_for_timeout(3000)
    assert "car" in tab.page.inner_text("#summary .summary").lower() and tab.page.is_visible("#picture img")


def test_looking_changes_the_picture(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab()
    tab.page.click(".example >> nth=0")
    tab.page.wait_for_selector("#result img")

    def changes(act: Callable[[], Any]) -> None:
        before = tab.page.get_attribute("#result img", "src")
        act()
        tab.page.wait_for_function("old => document.querySelector('#result img').src !== old", arg=before)

    facts = tab.page.inner_text("#summary .facts")
    changes(lambda: tab.page.locator("#opacity input[type=range]").press("ArrowLeft"))
    changes(lambda: tab.page.click("#style label:has(input[value=Outline])"))
    assert not tab.page.is_visible("#opacity")
    changes(lambda: tab.page.click("#mode label:has(input[value=Confidence])"))
    assert tab.page.is_visible("#scale .ramp")
    changes(lambda: tab.page.focus("#mode input[value=Confidence]") or tab.page.keyboard.press("ArrowRight"))
    assert tab.page.is_checked("#mode input[value=Mask]")
    changes(lambda: tab.page.click("#mode label:has(input[value='One class'])"))
    changes(lambda: tab.page.click("#one label:has(input[value=border])"))
    tab.page.click("#mode label:has(input[value=Compare])")
    tab.page.wait_for_selector("#slider img[alt^='Before: ']")
    said = tab.page.locator("#slider img[alt^='After: ']").get_attribute("alt")
    assert said == f"After: {tab.page.inner_text('#summary .summary')}"
    assert tab.page.locator("#slider img").count() == 2 and not tab.page.is_visible("#result")
    assert tab.page.inner_text("#summary .facts") == facts


def pixels_asked(tab: Tab) -> list[list[int]]:
    """The pixels (x, y) of the result that the page asks about from now on."""
    asked: list[list[int]] = []

    def heard(request: Any) -> None:
        index = ((request.post_data_json or {}).get("event_data") or {}).get("index") if request.post_data else None
        if index:
            asked.append(index)

    tab.page.on("request", heard)
    return asked


def plain_result(
    open_tab: Callable[..., Tab], tmp_path: Path, size: tuple[int, int]
) -> tuple[Tab, list[list[int]], int, int]:
    """A tab that shows the result of a picture of one colour, the pixels that it asks about from now on, and the width
    and height of the picture that it shows."""
    Image.new("RGB", size, (90, 120, 60)).save(tmp_path / "plain.png")
    tab = open_tab()
    asked = pixels_asked(tab)
    tab.upload(tmp_path / "plain.png")
    tab.page.wait_for_selector("#result img")
    tab.page.wait_for_function(LOADED)
    width, height = tab.page.locator("#result img").evaluate("image => [image.naturalWidth, image.naturalHeight]")
    return tab, asked, width, height


def test_a_click_on_the_picture_asks_what_is_there(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab()
    tab.page.click(".example >> nth=0")
    tab.page.wait_for_selector("#result img")
    tab.page.wait_for_function(LOADED)
    tab.page.click("#result img")  # its middle is the cat's face
    tab.page.wait_for_selector("#point .point:has-text('pet, confidence')")


@pytest.mark.parametrize(
    "size", [(120, 80), pytest.param((81, 160), marks=pytest.mark.slow), (2400, 900)], ids=["small", "tall", "large"]
)
def test_a_click_is_for_the_pixel_that_it_hits(
    open_tab: Callable[..., Tab], tmp_path: Path, size: tuple[int, int]
) -> None:
    """In a picture that is shown enlarged too, and beside it a click is for none."""
    tab, asked, width, height = plain_result(open_tab, tmp_path, size)
    box = tab.page.locator("#result img").bounding_box()
    scale = min(box["width"] / width, box["height"] / height)
    left, top = box["x"] + (box["width"] - width * scale) / 2, box["y"] + (box["height"] - height * scale) / 2

    pixels = [(3, 5), (width - 4, 4), (width // 3, height - 3), (width // 2, height // 2)]
    for x, y in pixels:
        tab.page.mouse.click(left + (x + 0.5) * scale, top + (y + 0.5) * scale)
        tab.page.wait_for_timeout(400)
    assert len(asked) == len(pixels)
    error = 0 if scale > 1 else 2 / scale  # a browser's clicks are on whole pixels of the screen
    for (x, y), (found_x, found_y) in zip(pixels, asked, strict=True):
        assert abs(found_x - x) <= error and abs(found_y - y) <= error
    beside = (left - 6, top + 9) if left - box["x"] > 8 else (left + 9, top - 6)
    tab.page.mouse.click(*beside)
    tab.page.wait_for_timeout(400)
    assert len(asked) == len(pixels)


@pytest.mark.parametrize("size", [(120, 80), pytest.param((2400, 900), marks=pytest.mark.slow)], ids=["small", "large"])
def test_the_keyboard_asks_for_a_pixel_too(open_tab: Callable[..., Tab], tmp_path: Path, size: tuple[int, int]) -> None:
    """Arrow keys go a fortieth of the longer side, with Shift a pixel, and not beyond the picture."""
    tab, asked, width, height = plain_result(open_tab, tmp_path, size)
    assert not tab.page.is_visible("#point .keys")
    tab.page.focus("#result button:has(img)")
    for key in ("Enter", "ArrowRight", "Shift+ArrowDown", "Shift+ArrowLeft", *["ArrowUp"] * 30):
        tab.page.keyboard.press(key)
    tab.page.wait_for_selector("#point .point:has-text('background, confidence')")
    step = width // 40
    right, middle = width // 2 + step, height // 2
    assert asked[:4] == [[width // 2, middle], [right, middle], [right, middle + 1], [right - 1, middle + 1]]
    assert asked[-1] == [right - 1, 0]


def test_the_keyboard_moves_the_line_of_the_comparison(open_tab: Callable[..., Tab], tmp_path: Path) -> None:
    """By parts of the picture, which fills its place from top to bottom only."""
    Image.new("RGB", (300, 400), (90, 120, 60)).save(tmp_path / "tall.png")
    tab = open_tab()
    tab.upload(tmp_path / "tall.png")
    tab.page.wait_for_selector("#result img")
    tab.page.click("#mode label:has(input[value=Compare])")
    line = tab.page.locator("#slider [role=slider]")
    line.focus()
    width = tab.page.locator("#slider img >> nth=0").bounding_box()["height"] * 300 / 400
    before = line.bounding_box()["x"]
    for key in ("ArrowRight", "ArrowUp", "Shift+ArrowRight"):
        line.press(key)
    tab.page.wait_for_function("document.querySelector('#slider [role=slider]').ariaValueNow == 54")
    assert line.bounding_box()["x"] - before == pytest.approx(0.042 * width, abs=0.5)
    for key, value in (("Home", 0), ("ArrowLeft", 0), ("End", 100)):
        line.press(key)
        tab.page.wait_for_function(
            "value => document.querySelector('#slider [role=slider]').ariaValueNow == value", arg=value
        )


def test_who_hears_the_page_is_told_what_changes(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab()
    assert tab.page.inner_text("#heard") == ""
    tab.page.click(".example >> nth=0")
    tab.page.wait_for_function("document.querySelector('#heard').textContent.includes('The pet fills')")
    tab.page.wait_for_function(LOADED)
    tab.page.click("#result img")
    tab.page.wait_for_function("document.querySelector('#heard').textContent.startsWith('pet, confidence')")


def test_a_suggestion_is_given(open_tab: Callable[..., Tab], picture: Path) -> None:
    tab = open_tab()
    tab.page.click("#suggest")
    tab.page.wait_for_selector("#advice .hint:has-text('Give a picture first')")
    tab.upload(picture)
    tab.page.wait_for_selector("#result img")
    tab.page.click("#suggest")
    tab.page.wait_for_selector("#advice .hint:not(:has-text('Give a picture first'))")


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
    """On the tab that is open."""
    tab = open_tab()

    def paste() -> None:
        tab.page.evaluate(
            """bytes => {
                const data = new DataTransfer();
                data.items.add(new File([new Uint8Array(bytes)], "pasted.png", { type: "image/png" }));
                document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
            }""",
            list(picture.read_bytes()),
        )

    tab.open("Score")
    paste()
    tab.page.wait_for_selector("#score-picture :text('pasted')")
    tab.open("Segment")
    assert tab.page.is_visible("#stage") and not tab.page.is_visible("#details")
    paste()
    tab.page.wait_for_selector("#summary .facts:has-text('60 × 40')")
    tab.page.click("#picture button[aria-label='Remove Image']")
    tab.page.wait_for_selector("#stage .stage")
    assert not tab.page.is_visible("#details")


def test_a_tiff_comes_by_its_button(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab()
    tab.page.click("#task label:has(input[value=nuclei])")
    tab.page.set_input_files("#given input[type=file]:not(#picture input)", sample("nuclei"))
    tab.page.wait_for_selector("#result img")
    tab.page.wait_for_selector("#picture img")


def test_a_download_takes_one_click(open_tab: Callable[..., Tab], picture: Path) -> None:
    tab = open_tab()
    tab.upload(picture)
    tab.page.wait_for_selector("#downloads button")

    def download(label: str) -> tuple[str, Path]:
        with tab.page.expect_download() as found:
            tab.page.click(f"#downloads button:has-text('{label}')")
        return found.value.suggested_filename, found.value.path()

    name, path = download("Mask")
    mask = Image.open(path)
    assert name == "grey-pets-mask.png" and mask.mode == "P" and mask.size == (60, 40)
    name, path = download("COCO")
    assert name == "grey-pets-coco.json" and json.loads(path.read_text())["images"][0]["width"] == 60
    name, path = download("Everything")
    with zipfile.ZipFile(path) as archive:
        assert name == "grey-pets.zip" and "grey-pets-cvat.zip" in archive.namelist()
    assert not tab.page.is_visible("#downloads button:has-text('Objects')")


def test_every_download(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab()
    tab.page.click(f".example:has-text('{next(each.title for each in examples() if each.task == 'nuclei')}')")
    tab.page.wait_for_selector("#objects")
    names = {}
    for label in downloads.BUTTONS.values():
        with tab.page.expect_download() as found:
            tab.page.click(f"#downloads button:has-text('{label}')")
        names[label] = found.value.suggested_filename
        assert found.value.path().stat().st_size > 100
    assert len(set(names.values())) == len(downloads.BUTTONS)
    assert all("-nuclei" in name for name in names.values())


def test_the_keyboard_reaches_every_control(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab()
    reached = []
    for _ in range(20):
        tab.page.keyboard.press("Tab")
        reached.append(
            tab.page.evaluate(
                "document.activeElement.closest('#task, #suggest, #picture, #file, #examples, #more')?.id ?? 'another'"
            )
        )
    order = [name for i, name in enumerate(reached) if name not in ("another", *reached[:i])]
    assert order == ["task", "suggest", "picture", "file", "examples", "more"]
    assert reached.count("examples") == len(examples())


@every_look
def test_a_batch_runs(
    open_tab: Callable[..., Tab],
    tmp_path: Path,
    picture: Path,
    width: int,
    scheme: str,
) -> None:
    (tmp_path / "bad.png").write_text("Dear diary")
    tab = open_tab(width=width, scheme=scheme)
    tab.open("Batch")
    assert tab.legible("#batch-stage .stage-title") and tab.overflow() <= 0
    tab.page.set_input_files("#batch-files input[type=file]", [str(picture), str(tmp_path / "bad.png")])
    tab.page.wait_for_selector("#batch-files :text('bad')")
    tab.page.click("#start-batch")
    tab.page.wait_for_selector("#batch-bar :text('1 of 2 pictures segmented')")
    assert tab.page.locator("#batch-rows li").count() == 2 and tab.page.locator("#batch-rows .failed").count() == 1
    with tab.page.expect_download() as found:
        tab.page.click("#batch-file")
    with zipfile.ZipFile(found.value.path()) as archive:
        assert sorted(archive.namelist()) == ["grey-pets-mask.png", "grey-pets-overlay.png", "stats.csv"]
    assert tab.overflow() <= 0


def test_a_batch_is_cancelled(open_tab: Callable[..., Tab], tmp_path: Path) -> None:
    """What is done by then is there to take, and the next batch can begin."""
    noise = np.random.default_rng(0).integers(0, 255, (900, 1200, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.jpg")
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for number in range(60):
            archive.write(tmp_path / "noise.jpg", f"{number}.jpg")
    tab = open_tab()
    tab.open("Batch")
    tab.page.click("#batch-task label:has(input[value=water])")
    tab.page.set_input_files("#batch-files input[type=file]", str(tmp_path / "many.zip"))
    tab.page.wait_for_selector("#batch-files :text('many')")
    tab.page.click("#start-batch")
    tab.page.wait_for_selector("#batch-rows li")
    tab.page.click("#cancel-batch")
    tab.page.wait_for_selector("#batch-bar :text('the rest was cancelled')")
    with tab.page.expect_download() as found:
        tab.page.click("#batch-file")
    with zipfile.ZipFile(found.value.path()) as archive:
        done = (len(archive.namelist()) - 1) // 2
        assert archive.testzip() is None and 1 <= done < 60
    assert tab.page.locator("#batch-rows li").count() == done
    assert tab.page.is_enabled("#start-batch") and not tab.page.is_visible("#cancel-batch")


@every_look
def test_a_picture_is_scored(open_tab: Callable[..., Tab], width: int, scheme: str) -> None:
    tab = open_tab(width=width, scheme=scheme)
    tab.open("Score")
    assert tab.legible("#score-stage .stage-title")
    tab.page.click("#run-score")
    tab.page.wait_for_selector("#score-stage .problem:has-text('There is no picture')")
    tab.page.click("#score-example")
    tab.page.wait_for_selector("#errors img")
    cells = tab.page.locator("#report .confusion .share").all_inner_texts()
    counted = [int(re.split(r"\s", text)[0].replace(",", "")) for text in cells]
    assert np.sum(counted) == 512 * 512 and tab.overflow() <= 0


@every_look
def test_every_model_has_its_card(open_tab: Callable[..., Tab], width: int, scheme: str) -> None:
    tab = open_tab(width=width, scheme=scheme)
    tab.open("Models")
    for task in TASKS.values():
        tab.page.click(f"#model-task label:has(input[value={task.name}])")
        tab.page.wait_for_selector(f"#model-card h2:text-is('{task.title}')")
        tab.page.wait_for_selector(f"#model-card .command:has-text('train.{task.name}')")
        tab.page.wait_for_selector("#model-sheet img")
        assert tab.page.is_visible("#model-network svg")
        assert tab.overflow() <= 0
