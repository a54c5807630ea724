"""What several tabs have alike."""

from __future__ import annotations

from typing import TypeVar

import gradio as gr

from segmenter import TASKS

Updates = TypeVar("Updates", bound=tuple)  # a NamedTuple of one update for each of some components


def unchanged(kind: type[Updates]) -> Updates:
    """Updates that leave every component as it is."""
    return kind(*[gr.skip()] * len(kind._fields))  # type: ignore[attr-defined]


def model_strip(elem_id: str) -> gr.Radio:
    """The choice of a model, as one strip."""
    return gr.Radio(
        [(entry.title, name) for name, entry in TASKS.items()],
        value=next(iter(TASKS)),
        label="Model",
        elem_id=elem_id,
        elem_classes="strip",
    )
