"""The Score tab: a picture and its true mask, and how well a model does on it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any, NamedTuple

import gradio as gr

from page import words
from page.api import score as compare
from page.charts import TARGET_ICON
from page.examples import lakes_truth
from page.given import GradioFile
from page.log import logged
from page.parts import model_strip
from page.pictures import folder
from segmenter import TASKS
from segmenter.scoring import ERRORS
from segmenter.tasks import Task

INVITATION = words.stage(
    "The scores appear here",
    "Give a picture and its true mask: class ids or black and white in a PNG, or COCO JSON.",
    "Or look at the example.",
    icon=TARGET_ICON,
)
MEANINGS = {
    "hit": "found, and it is there",
    "missed": "there, but not found",
    "false": "found, but not there",
}


class Scored(NamedTuple):
    """An update for every component that a comparison touches."""

    stage: Any
    errors: Any
    legend: Any
    report: Any


def on_score(task: str, picture: GradioFile | None, true_mask: GradioFile | None) -> Scored:
    """Compare; what cannot be compared becomes a sentence in the place of the scores."""
    try:
        report, errors = compare(task, picture, true_mask)
    except gr.Error as error:
        gone = gr.update(visible=False)
        return Scored(gr.update(value=words.problem(str(error.message)), visible=True), gone, gone, "")
    text = _headline(report)
    return Scored(
        stage=gr.update(visible=False),
        errors=gr.update(value=errors, visible=True, alt_text=f"Map of the errors: {text}"),
        legend=gr.update(value=legend(), visible=True),
        report=report_html(report, TASKS[task]),
    )


@logged("example")
def on_example() -> tuple[str, str, str]:
    """The lakes of the examples, whose truth is known because they are drawn."""
    picture, truth = lakes_truth(folder())
    return "water", str(picture), str(truth)


def legend() -> str:
    """The colours of the map of errors, by name."""
    items = "".join(
        f"<li>{words.swatch(f'rgb{colour}')}<b>{name}</b> {MEANINGS[name]}</li>" for name, (_, colour) in ERRORS.items()
    )
    return f'<ul class="legend">{items}</ul>'


def _headline(report: Mapping[str, Any]) -> str:
    return (
        f"IoU {report['foreground_iou']:.3f} of what is marked; "
        f"{words.percent(report['pixel_accuracy'])} of the pixels are right."
    )


def report_html(report: Mapping[str, Any], task: Task) -> str:
    """The sentence, the scores, those of each class, and the confusion matrix."""
    figures = (
        ("Mean IoU", report["mean_iou"]),
        ("Pixel accuracy", report["pixel_accuracy"]),
        ("Boundary F-score", report["boundary_f"]),
    )
    tiles = "".join(f"<div><dt>{name}</dt><dd>{value:.3f}</dd></div>" for name, value in figures)
    per_class = words.grid(
        "IoU and Dice of each class",
        ["Class", "IoU", "Dice"],
        [
            [
                f"{words.swatch(f'rgb{info.color}')}{escape(info.name)}",
                f"{report['iou'][info.name]:.3f}",
                f"{report['dice'][info.name]:.3f}",
            ]
            for info in task.classes
        ],
    )
    ignored = f'<p class="facts">{report["ignored"]:,} pixels without a truth do not count.</p>'
    return (
        f"{words.headline(_headline(report))}{ignored if report['ignored'] else ''}"
        f'<dl class="figures">{tiles}</dl>{per_class}'
        f'<h2 class="part">Confusion matrix</h2>{confusion(report["confusion"], task.class_names)}'
    )


def confusion(counts: list[list[int]], names: tuple[str, ...]) -> str:
    """Pixels by true class (rows) and found class (columns); the deeper the ground the larger the share of its row."""
    body = []
    for name, row in zip(names, counts, strict=True):
        total = max(1, sum(row))
        cells = [
            f'<span class="share" style="--share:{count / total:.3f}">{count:,}<small>{words.percent(count / total)}'
            "</small></span>"
            for count in row
        ]
        body.append([f"truly {escape(name)}", *cells])
    head = ["", *(f"found as {escape(name)}" for name in names)]
    return words.grid("Pixels by true class, in rows, and found class, in columns", head, body, "confusion")


def build(network: Mapping[str, Any]) -> None:
    """Lay the tab out; ``network`` are the settings of every event that runs one."""
    with gr.Row(elem_classes="bench"):
        with gr.Column(scale=2, min_width=300):
            task = model_strip("score-task")
            picture = gr.File(label="Picture", height=130, elem_id="score-picture")
            truth = gr.File(label="True mask: PNG or COCO JSON", height=130)
            run = gr.Button("Score", variant="primary", elem_id="run-score")
            example = gr.Button("Look at an example", size="sm", elem_id="score-example", elem_classes="quiet")
        with gr.Column(scale=3, min_width=300):
            stage = gr.HTML(INVITATION, elem_id="score-stage", elem_classes="place", apply_default_css=False)
            errors = gr.Image(
                show_label=False,
                label="Map of the errors",
                interactive=False,
                visible=False,
                buttons=["download", "fullscreen"],
                height=480,
                elem_id="errors",
            )
            key = gr.HTML(visible=False, apply_default_css=False)
            report = gr.HTML(elem_id="report", apply_default_css=False)
    scored = {
        "fn": on_score,
        "inputs": [task, picture, truth],
        "outputs": list(Scored(stage, errors, key, report)),
        "preprocess": False,
        "show_progress_on": [stage, errors],
        **network,
    }
    run.click(**scored)
    example.click(on_example, None, [task, picture, truth], show_progress="hidden", api_visibility="private").then(
        **scored
    )
