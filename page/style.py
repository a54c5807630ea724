"""How the page looks: one accent, system fonts, light and dark. Nothing is fetched from elsewhere."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from page.examples import examples
from segmenter import TASKS

PLUM = gr.themes.Color(
    name="plum",
    c50="#f7f4fb", c100="#efe8f7", c200="#ddd0ee", c300="#c5aee0", c400="#a98ccf", c500="#6b479c",
    c600="#5f3e8d", c700="#54377e", c800="#4a316c", c900="#3b2957", c950="#251939",
)  # fmt: skip


def theme() -> gr.themes.Base:
    sans = [gr.themes.Font(name) for name in ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")]
    mono = [gr.themes.Font(name) for name in ("ui-monospace", "Consolas", "monospace")]
    base = gr.themes.Base(
        primary_hue=PLUM,
        secondary_hue=PLUM,
        neutral_hue=gr.themes.colors.zinc,
        radius_size=gr.themes.sizes.radius_lg,
        font=sans,
        font_mono=mono,
    )
    return base.set(
        body_background_fill="#fbfafc",
        body_background_fill_dark="#141318",
        background_fill_primary_dark="#1c1b21",
        block_background_fill="white",
        block_background_fill_dark="#1c1b21",
        block_border_width="1px",
        block_shadow="none",
        block_label_background_fill="*block_background_fill",
        border_color_primary="#e6e3ea",
        border_color_primary_dark="#35333d",
        link_text_color="#6b479c",
        link_text_color_dark="#b79bdb",
        body_text_color="#1d1b22",
        body_text_color_dark="#eeedf1",
        body_text_color_subdued="#5f5b69",
        body_text_color_subdued_dark="#aaa6b4",
    )


def css() -> str:
    """The sheet beside this file, and what it cannot know: each class's colour for its switch, which is the legend,
    and a picture for each task."""
    swatches = "".join(
        f'#classes label:has(input[name="{info.name}"]) {{ --swatch: rgb{info.color}; }}\n'
        for task in TASKS.values()
        for info in task.classes[1:]
    )
    thumbnails = {example.task: example.thumbnail() for example in reversed(examples())}
    cards = "".join(
        f'#task label:has(input[value="{task}"])::before {{ background-image: url("{uri}"); }}\n'
        for task, uri in thumbnails.items()
    )
    return (Path(__file__).parent / "style.css").read_text() + swatches + cards


def script() -> str:
    return (Path(__file__).parent / "page.js").read_text()
