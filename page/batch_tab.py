"""The Batch tab: many pictures or a zip of them, their rows as they are done, and one zip to take away."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import gradio as gr

from page import batch, words
from page.charts import STACK_ICON
from page.desk import is_abandoned
from page.given import GradioFile, uploads
from page.log import request
from page.models import segmenter_for
from page.parts import model_strip, unchanged
from page.pictures import data_uri, folder
from segmenter import TASKS, WeightsError

REFRESH_SECONDS = 0.5  # the table grows at most this often: it is sent whole
SHOWN = 100  # rows; the table in the zip has all

BROKEN = "The batch ended with an error that is not yours; try again."
INVITATION = words.stage(
    "The results line up here",
    f"Give many pictures or zips of them, up to {batch.MAX_PICTURES:,}.",
    "A broken file does not stop the others.",
    icon=STACK_ICON,
)
WAITING = words.stage("Waiting for its turn…", "It begins as soon as another batch ends.", icon=STACK_ICON)


class Progress(NamedTuple):
    """An update for every component of a batch under way."""

    stage: Any
    bar: Any
    table: Any
    start: Any
    cancel: Any
    file: Any


def on_ask() -> tuple[Any, ...]:
    """A batch waits for its turn: what the Cancel button sets and the batch looks at, and a Progress until then."""
    return Event(), *Progress(
        stage=gr.update(value=WAITING, visible=True),
        bar="",
        table="",
        start=gr.update(interactive=False),
        cancel=gr.update(visible=True),
        file=gr.update(visible=False),
    )


def on_cancel(job: Event | None) -> str:
    """Stop in the picture under way; what is done stays."""
    if job is None:
        return words.headline("There is no batch any more; start it again.")
    job.set()
    return words.headline("Stopping: a picture under way ends first, a batch that waits stops at its turn.")


def on_failure(stage: str) -> Progress:
    """A batch ended with an error; one that still waits, by its ``stage``, did not begin, as the page is busy. That
    Gradio tells."""
    return _idle(INVITATION) if stage == WAITING else unchanged(Progress)


def on_start(task: str, files: Sequence[GradioFile] | None, job: Event) -> Iterator[Progress]:
    """Segment one picture after the other and tell how far it is."""
    try:
        found = batch.entries(uploads(files))
        segmenter_for(task)
    except (batch.BatchError, WeightsError) as error:
        yield _idle(words.problem(words.complaint(error)))
        return
    with request("batch") as facts:
        facts.update(task=task, pictures=len(found))
        yield from _steps(task, found, job)


def _steps(task: str, found: Sequence[batch.Entry], job: Event) -> Iterator[Progress]:
    target = folder() / f"segmented-{task}.zip"
    rows: list[tuple[batch.Row, str]] = []
    started = shown = time.monotonic()
    yield _running(0, len(found), 0.0, "")
    try:
        for row in batch.run(found, TASKS[task], target, lambda: job.is_set() or is_abandoned()):
            rows.append((row, "" if row.thumbnail is None else data_uri(row.thumbnail.convert("RGB"), 70)))
            now = time.monotonic()
            if now - shown >= REFRESH_SECONDS or len(rows) == 1:
                shown = now
                yield _running(len(rows), len(found), now - started, table(rows))
    except Exception as error:  # a full disk, or a bug: the log has it, and the tab takes the next batch
        yield _idle(words.problem(words.complaint(error) if isinstance(error, OSError) else BROKEN))
        raise
    yield _done(rows, len(found), time.monotonic() - started, target)


def _idle(stage: str) -> Progress:
    gone = gr.update(visible=False)
    return Progress(gr.update(value=stage, visible=True), "", "", gr.update(interactive=True), gone, gone)


def _running(done: int, total: int, seconds: float, rows: str) -> Progress:
    return Progress(
        stage=gr.update(visible=False),
        bar=bar(done, total, seconds),
        table=rows,
        start=gr.update(interactive=False),
        cancel=gr.update(visible=True),
        file=gr.update(visible=False),
    )


def _done(rows: Sequence[tuple[batch.Row, str]], total: int, seconds: float, target: Path) -> Progress:
    failed = sum(row.problem is not None for row, _ in rows)
    text = f"{len(rows) - failed:,} of {total:,} pictures segmented in {duration(seconds)}"
    text += f"; {failed:,} could not be read" if failed else ""
    text += "; the rest was cancelled" if len(rows) < total else ""
    return Progress(
        stage=gr.update(visible=False),
        bar=words.headline(f"{text}."),
        table=table(rows),
        start=gr.update(interactive=True),
        cancel=gr.update(visible=False),
        file=gr.update(value=str(target), visible=True),
    )


def bar(done: int, total: int, seconds: float) -> str:
    """How many of how many, the time left as far as it can be told, and a bar."""
    left = f", about {duration(seconds / done * (total - done))} left" if done else ""
    line = f'<progress max="{total}" value="{done}" aria-label="Pictures done"></progress>'
    return f'<p class="summary">{done:,} of {total:,}{left}</p>{line}'  # not told aloud, twice a second


def duration(seconds: float) -> str:
    """Seconds as people say them: 8 s, 3 min, 2.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def table(rows: Sequence[tuple[batch.Row, str]]) -> str:
    """One row per picture, the latest first: thumbnail (a data URI), name and what was found or went wrong."""
    earlier = len(rows) - SHOWN
    note = f'<p class="facts">And {earlier:,} before these; the table in the zip has all.</p>' if earlier > 0 else ""
    return '<ul class="batch">' + "".join(_item(row, uri) for row, uri in reversed(rows[-SHOWN:])) + "</ul>" + note


def _item(row: batch.Row, uri: str) -> str:
    picture = f'<img src="{uri}" alt="">' if uri else '<span class="no-picture" aria-hidden="true">!</span>'
    said = f'<p class="failed">{escape(row.problem)}</p>' if row.problem is not None else f"<p>{escape(row.said)}</p>"
    notice = f'<p class="notice">{escape(row.notice)}</p>' if row.notice else ""
    size = f"<small>{row.size_wh[0]:,} × {row.size_wh[1]:,}</small>" if row.size_wh else ""
    return f"<li>{picture}<div><b>{escape(row.name)}</b> {size}{said}{notice}</div></li>"


def build() -> None:
    """Lay the tab out."""
    job = gr.State(None, time_to_live=24 * 3600)
    with gr.Row(elem_classes="bench"):
        with gr.Column(scale=2, min_width=300):
            task = model_strip("batch-task")
            files = gr.File(label="Pictures or zips", file_count="multiple", height=220, elem_id="batch-files")
            with gr.Row():
                start = gr.Button("Segment all", variant="primary", elem_id="start-batch")
                cancel = gr.Button("Cancel", visible=False, elem_id="cancel-batch", elem_classes="quiet")
            file = gr.DownloadButton(
                "Download everything (zip)", visible=False, elem_id="batch-file", elem_classes="quiet"
            )
        with gr.Column(scale=3, min_width=300):
            stage = gr.HTML(INVITATION, elem_id="batch-stage", elem_classes="place", apply_default_css=False)
            progress = gr.HTML(elem_id="batch-bar", apply_default_css=False)
            rows = gr.HTML(elem_id="batch-rows", apply_default_css=False)
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    shown = list(Progress(stage, progress, rows, start, cancel, file))
    asked = start.click(on_ask, None, [job, *shown], queue=False, **quiet)
    begun = asked.then(on_start, [task, files, job], shown, preprocess=False, **batch.LANE, **quiet)
    begun.failure(on_failure, stage, shown, queue=False, **quiet)
    cancel.click(on_cancel, job, progress, queue=False, **quiet)
