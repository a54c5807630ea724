"""The Segment tab: its components, and which handler each of them calls."""

from __future__ import annotations

from functools import partial
from typing import Any

import gradio as gr

from page import downloads, handlers, words
from page.desk import Desk
from page.examples import examples
from page.pictures import MODES, STYLES
from segmenter import TASKS

SESSION_SECONDS = 3600  # how long a result is held, as its files are
FIRST_TASK = next(iter(TASKS))
DOWNLOADS = 2  # made at a time, each of which may take the memory of a whole result

CLICK_EXAMPLE = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-index]");
  if (button) trigger("click", { index: button.dataset.index });
});
"""
CLICK_TAKE = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-task]");
  if (button) trigger("click", { task: button.dataset.task });
});
"""
# What a handler made is downloaded at once.
DOWNLOAD = """
(file) => {
  if (!file) return;
  const link = document.createElement("a");
  link.href = file.url;
  link.download = file.orig_name ?? "";
  link.click();
}
"""


def build(network: dict[str, Any]) -> None:
    """Lay the tab out; ``network`` are the settings of every event that runs one."""
    desk = gr.State(Desk())
    view = gr.State(None, time_to_live=SESSION_SECONDS)
    with gr.Row(elem_id="bench"):
        with gr.Column(scale=2, min_width=300, elem_id="given"):
            task, about, suggest, advice = _choice()
            picture = gr.Image(
                type="filepath",
                image_mode=None,
                sources=["upload", "webcam", "clipboard"],
                webcam_options=gr.WebcamOptions(mirror=False),
                label="Picture",
                show_label=False,
                alt_text="The picture you gave",
                placeholder="Drop or paste a picture\nor click to choose one",
                buttons=[],
                height=260,
                elem_id="picture",
            )
            file = gr.UploadButton("Open a TIFF or 16-bit file", size="sm", elem_id="file", elem_classes="quiet")
            gallery = gr.HTML(
                words.gallery(examples()), js_on_load=CLICK_EXAMPLE, elem_id="examples", apply_default_css=False
            )
            more = gr.Button("More examples from the web", size="sm", elem_id="more", elem_classes="quiet")
        with gr.Column(scale=3, min_width=300, elem_id="found"):
            stage = gr.HTML(words.INVITATION, elem_id="stage", elem_classes="place", apply_default_css=False)
            result = gr.Image(
                label="Result",
                show_label=False,
                interactive=False,
                visible=False,
                buttons=["download", "fullscreen"],
                height=480,
                elem_id="result",
            )
            slider = gr.ImageSlider(
                label="Before and after",
                show_label=False,
                interactive=False,
                visible=False,
                type="filepath",
                buttons=["fullscreen"],
                height=480,
                max_height=480,
                elem_id="slider",
            )
            with gr.Column(visible=False, elem_id="details") as details:
                mode = gr.Radio(list(MODES), value=MODES[0], label="View", elem_id="mode", elem_classes="strip")
                with gr.Row(elem_id="looks"):
                    style = gr.Radio(
                        list(STYLES), value=STYLES[0], label="Style", elem_id="style", elem_classes="strip"
                    )
                    classes = gr.CheckboxGroup(label="Legend", elem_id="classes")
                    one = gr.Radio([], label="Class", visible=False, elem_id="one", elem_classes="strip")
                    scale = gr.HTML(visible=False, elem_id="scale", apply_default_css=False)
                    opacity = gr.Slider(0, 100, value=50, step=5, label="Opacity", buttons=[], elem_id="opacity")
                point = gr.HTML(words.ASK, elem_id="point", apply_default_css=False)
                drag = gr.HTML(words.DRAG, visible=False, elem_id="drag", apply_default_css=False)
                summary = gr.HTML(elem_id="summary", apply_default_css=False)
                pixel_size = gr.Number(label="Side of a pixel", minimum=0, visible=False, elem_id="pixel-size")
                table = gr.HTML(elem_id="table", apply_default_css=False)
                with gr.Column(visible=False, elem_id="per-object") as per_object:
                    histogram = gr.HTML(elem_id="histogram", apply_default_css=False)
                    objects = gr.Dataframe(
                        headers=list(words.COLUMNS),
                        datatype="number",
                        interactive=False,
                        max_height=260,
                        label="Objects",
                        buttons=[],
                        elem_id="objects",
                    )
                buttons, made = _downloads()

    page = handlers.Page(
        task=task,
        about=about,
        advice=advice,
        picture=picture,
        view=view,
        stage=stage,
        result=result,
        slider=slider,
        details=details,
        summary=summary,
        point=point,
        drag=drag,
        classes=classes,
        one=one,
        scale=scale,
        pixel_size=pixel_size,
        table=table,
        per_object=per_object,
        histogram=histogram,
        objects=objects,
        objects_button=buttons["objects"],
    )
    looks = [mode, style, opacity, classes, one]
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    # Each is sent at once, for the desk lets the latest win; Gradio would hold a second click back until the first is
    # answered, and send it with the first one's data.
    at_once = {"trigger_mode": "multiple"}
    runs = {"outputs": list(page), "show_progress_on": [stage, result, slider], **network, **at_once}
    # Without preprocessing Gradio opens no picture itself: segmenter.image judges every file.
    raw = {**runs, "preprocess": False}
    picture.input(handlers.on_upload, [picture, task, desk, *looks], **raw)
    file.upload(handlers.on_file, [file, task, desk, *looks], **raw)
    picture.clear(handlers.on_clear, [task, desk], list(page), queue=False, **quiet)
    task.input(words.about, task, about, queue=False, **quiet)
    task.input(handlers.on_task, [task, picture, desk, *looks], **raw)
    gallery.click(handlers.on_example, [desk, *looks], **runs)
    advice.click(handlers.on_take, [picture, desk, *looks], **raw)
    suggest.click(
        handlers.on_suggest, [task, picture, desk], advice, preprocess=False, show_progress_on=about, **network
    )
    more.click(handlers.on_more, None, [gallery, more], api_visibility="private")
    gr.on(
        [control.input for control in looks],
        handlers.on_look,
        [view, desk, *looks],
        list(handlers.Drawn(result, slider, point, drag, style, opacity, classes, one, scale)),
        trigger_mode="always_last",
        **quiet,
    )
    result.select(handlers.on_point, [view, pixel_size], point, **at_once, **quiet)
    pixel_size.input(
        handlers.on_pixel_size,
        [view, pixel_size, desk],
        list(handlers.Measured(summary, table, histogram, objects)),
        trigger_mode="always_last",
        **quiet,
    )
    for name, button in buttons.items():
        button.click(
            partial(handlers.on_download, name),
            [view, pixel_size, *looks],
            made,
            show_progress_on=button,
            concurrency_id="download",
            concurrency_limit=DOWNLOADS,
            api_visibility="private",
        ).success(None, made, None, js=DOWNLOAD)


def _choice() -> tuple[gr.Radio, gr.HTML, gr.Button, gr.HTML]:
    """What to find, and what proposes it."""
    task = gr.Radio(
        [(entry.title, name) for name, entry in TASKS.items()], value=FIRST_TASK, label="Find", elem_id="task"
    )
    with gr.Row(elem_id="proposal"):
        about = gr.HTML(words.about(FIRST_TASK), elem_id="about", apply_default_css=False)
        suggest = gr.Button("Suggest", size="sm", scale=0, min_width=90, elem_id="suggest", elem_classes="quiet")
    advice = gr.HTML("", js_on_load=CLICK_TAKE, elem_id="advice", apply_default_css=False)
    return task, about, suggest, advice


def _downloads() -> tuple[dict[str, gr.Button], gr.File]:
    """A button for every file, and the place from which the browser takes what was made."""
    gr.HTML('<h2 class="part">Download</h2>', apply_default_css=False)
    with gr.Row(elem_id="downloads"):
        buttons = {
            name: gr.Button(label, size="sm", elem_classes="quiet", min_width=0)
            for name, label in downloads.BUTTONS.items()
        }
    return buttons, gr.File(visible=False)
