"""Components that several tabs have alike."""

from __future__ import annotations

import gradio as gr

from segmenter import TASKS


def model_strip(elem_id: str) -> gr.Radio:
    """The choice of a model, as one strip."""
    return gr.Radio(
        [(entry.title, name) for name, entry in TASKS.items()],
        value=next(iter(TASKS)),
        label="Model",
        elem_id=elem_id,
        elem_classes="strip",
    )
