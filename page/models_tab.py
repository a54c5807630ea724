"""The Models tab: what each model is, how good, learnt from what, on which terms, and how to make it again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from html import escape
from typing import Any, NamedTuple

import gradio as gr
from PIL import Image, ImageOps

from page import words
from page.diagram import architecture
from page.examples import examples
from page.log import logged
from page.models import segmenter_for
from page.parts import model_strip
from page.pictures import data_uri
from segmenter import TASKS, WeightsError
from segmenter.config import CONFIG_FILE, METRICS_FILE
from segmenter.export import overlay_image
from segmenter.predict import WEIGHTS

SHEET_WH = (360, 260)  # of each picture on the sheet
SPLITS = {
    "test": "Test",
    "val": "Validation",
    "voc": "Photos from Pascal VOC",
    "stage1_test": "Other laboratories",
}
SCORES = {
    "mean_iou": "Mean IoU",
    "foreground_iou": "Foreground IoU",
    "pixel_accuracy": "Pixel accuracy",
    "ap_50": "AP at 0.5",
}


class Card(NamedTuple):
    """An update for what is known of a model without running it."""

    card: Any
    network: Any


def on_model(task: str) -> Card:
    """Another model is looked at."""
    return Card(card(task), network(task))


def card(task: str) -> str:
    """Description, classes, scores, data and licences, limits, and the command that trains the model again."""
    known = TASKS[task]
    classes = "".join(f"<li>{words.swatch(f'rgb{info.color}')}{escape(info.name)}</li>" for info in known.classes)
    sources = "".join(
        f'<li><a href="{escape(source.url)}" target="_blank" rel="noopener">{escape(source.title)}</a>, '
        f"{escape(source.licence)}. {escape(source.citation)}.</li>"
        for source in known.sources
    )
    limits = "".join(f"<li>{escape(text)}</li>" for text in limits_of(task))
    return (
        f'<h2 class="model">{escape(known.title)}</h2><p class="about">{escape(known.description)}</p>'
        f'<ul class="legend">{classes}</ul>{scores(_read(task, METRICS_FILE))}'
        f'<h3 class="part">Data and licences</h3><ul class="plain">{sources}</ul>'
        '<p class="hint">The code is MIT. The weights derive from these data; their terms apply.</p>'
        + (f'<h3 class="part">Limits</h3><ul class="plain">{limits}</ul>' if limits else "")
        + f'<h3 class="part">Train it again</h3><pre class="command">python -m train.{task} --data DIR</pre>'
    )


def network(task: str) -> str:
    """The architecture, and the learning curve where there is one."""
    config = _read(task, CONFIG_FILE)
    drawn = architecture(config) if config else '<p class="hint">These weights are missing; train them.</p>'
    return f'<h3 class="part">Network</h3>{drawn}{curves(task)}'


def scores(metrics: Mapping[str, Any] | None) -> str:
    """The scores of every split at the pictures' own size, as ``train.evaluate`` wrote them."""
    if not metrics:
        return '<p class="hint">No scores lie beside these weights.</p>'
    splits = {split: found["own_size"] for split, found in metrics.items() if "own_size" in found}
    names = [name for name in SCORES if any(name in found for found in splits.values())]
    body = [
        [escape(SPLITS.get(split, split)), f"{found['images']:,}", *(_number(found.get(name)) for name in names)]
        for split, found in sorted(splits.items(), key=lambda item: item[0] != "test")
    ]
    return words.grid("Scores of each split", ["Pictures", "Number", *(SCORES[name] for name in names)], body)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


@logged("sheet")
def on_sheet(task: str) -> str:
    """The sheet of a model, or why there is none."""
    try:
        return sheet(task)
    except WeightsError as error:
        return f'<p class="hint" data-heard>{escape(words.complaint(error))}</p>'


@lru_cache(maxsize=len(TASKS))
def sheet(task: str) -> str:
    """The page's own examples of a task beside what the model marks on them; made at the first look, then kept."""
    segmenter = segmenter_for(task)
    figures = []
    for example in (example for example in examples() if example.task == task):
        result = segmenter.predict(example.path)
        count = int(result.instances().max()) if result.task.has_objects else 0
        said = f"{count:,} nuclei." if count else words.sentence(result.stats(), result.task)
        pair = [_fitted(Image.fromarray(result.image)), _fitted(overlay_image(result))]
        pictures = "".join(
            f'<img src="{data_uri(picture)}" width="{SHEET_WH[0]}" height="{SHEET_WH[1]}" alt="{escape(text)}">'
            for picture, text in zip(pair, (example.title, f"{example.title}, marked"), strict=True)
        )
        figures.append(f"<figure>{pictures}<figcaption>{escape(example.title)}: {escape(said)}</figcaption></figure>")
    return f'<h3 class="part">On the examples of this page</h3><div class="sheet">{"".join(figures)}</div>'


def _fitted(image: Image.Image) -> Image.Image:
    return ImageOps.fit(image, SHEET_WH, Image.Resampling.LANCZOS)


def limits_of(task: str) -> list[str]:
    """The points under "Limits" in the model's card."""
    path = WEIGHTS / task / "README.md"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    part = re.search(r"^## Limits\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    points = re.findall(r"^- (.+(?:\n  .+)*)", part[1], re.MULTILINE) if part else []
    return [" ".join(point.split()) for point in points]


def curves(task: str) -> str:
    """The learning curve, where the weights have one."""
    path = WEIGHTS / task / "curves.png"
    if not path.is_file():
        return ""
    uri = data_uri(Image.open(path).convert("RGB"), 90)
    return (
        f'<h3 class="part">Learning curve</h3><img class="curves" src="{uri}" '
        f'alt="Loss and IoU of {escape(TASKS[task].title)} by epoch">'
    )


def _read(task: str, name: str) -> dict[str, Any] | None:
    path = WEIGHTS / task / name
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def build(tab: gr.Tab, settings: Mapping[str, Any]) -> None:
    """Lay the tab out; ``settings`` are those of every event that runs a network, as the sheet does."""
    first = next(iter(TASKS))
    task = model_strip("model-task")
    with gr.Row(elem_classes="bench"):
        with gr.Column(scale=3, min_width=300):
            shown_card = gr.HTML(card(first), elem_id="model-card", apply_default_css=False)
        with gr.Column(scale=3, min_width=300):
            shown_network = gr.HTML(network(first), elem_id="model-network", apply_default_css=False)
            shown_sheet = gr.HTML(elem_id="model-sheet", apply_default_css=False, min_height=300)
    cards = list(Card(shown_card, shown_network))
    task.input(on_model, task, cards, show_progress="hidden", trigger_mode="always_last", api_visibility="private")
    gr.on([tab.select, task.input], on_sheet, task, shown_sheet, **settings)
