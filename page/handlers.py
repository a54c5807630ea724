"""What the Segment tab does when someone acts; every handler is a plain function, callable without a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from page import charts, downloads, words
from page.desk import Desk
from page.extra import EXTRAS, all_examples, fetch
from page.given import Given, GradioFile, given
from page.log import logged, note
from page.models import suggest_for
from page.parts import unchanged
from page.pictures import STYLES, Look, draw, lowest, save
from page.view import View, look, point
from segmenter import TASKS, ImageError, Stopped, WeightsError
from segmenter.geo import is_geotiff, pixel_side
from segmenter.measure import area
from segmenter.tasks import is_side

# Formats that browsers show; a picture in another one is shown as the JPEG that was made of it.
BROWSER_FORMATS = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"}
PIXEL_SIZES = {"m": 10.0}  # Sentinel-2's best bands, where the picture cannot tell
LOST = "This result is no longer held; choose the picture again."


class Page(NamedTuple):
    """An update for every component that a prediction touches; the tab fills the same record with its components.

    ``view`` is the result (View), None where there is none.
    """

    task: Any
    about: Any
    advice: Any
    picture: Any
    view: Any
    stage: Any
    result: Any
    slider: Any
    details: Any
    summary: Any
    point: Any
    drag: Any
    classes: Any
    one: Any
    scale: Any
    pixel_size: Any
    table: Any
    per_object: Any
    histogram: Any
    objects: Any
    objects_button: Any


UNCHANGED = unchanged(Page)  # what a run says that a later one has superseded


class Drawn(NamedTuple):
    """An update for what changes with the way of looking."""

    result: Any
    slider: Any
    point: Any
    drag: Any
    style: Any
    opacity: Any
    classes: Any
    one: Any
    scale: Any


class Measured(NamedTuple):
    """An update for what changes with the size of a pixel."""

    summary: Any
    table: Any
    histogram: Any
    objects: Any


def on_upload(picture: GradioFile | None, task: str, desk: Desk, *looks: Any) -> Page:
    """A picture came by file, drop, paste or camera: ``picture`` is Gradio's record of it, with its ``path``."""
    if picture is None:
        return on_clear(task, desk)
    return _run(task, given(picture), desk, Look(*looks))


def on_file(file: GradioFile | None, task: str, desk: Desk, *looks: Any) -> Page:
    """A picture came by the file button: unlike a dropped one it is not in its place yet."""
    return _with_picture(on_upload(file, task, desk, *looks))


def on_clear(task: str, desk: Desk) -> Page:
    """The picture was taken away."""
    desk.begin(None)
    # Its place is empty already, and may hold the next picture when this arrives.
    return _without(task, words.INVITATION)._replace(picture=gr.skip())


def on_task(task: str, shown: GradioFile | None, desk: Desk, *looks: Any) -> Page:
    """Another model was chosen: it reads the picture that is there, ``shown`` in its place unless what would have put
    it there is superseded."""
    source = desk.picture(shown)
    if source is None:
        desk.begin(None)
        return _without(task, words.problem(LOST) if shown else words.INVITATION)
    page = _run(task, source, desk, Look(*looks))
    stays = shown is not None and given(shown).path == source.path and _is_shown(source)
    return page._replace(picture=gr.skip()) if stays else _with_picture(page)


@logged("example")
def on_example(event: gr.EventData, desk: Desk, *looks: Any) -> Page:
    """An example was clicked; the event carries its ``index``."""
    known = all_examples()
    example = known[int(event.index) % len(known)]
    page = _with_picture(_run(example.task, given({"path": example.path}), desk, Look(*looks)))
    return _choosing(page, example.task)


@logged("more")
def on_more() -> tuple[str, Any]:
    """More examples were asked for: they are fetched, and what offers them goes when all are there."""
    missing = fetch()
    if missing:
        gr.Warning(f"{missing} of {len(EXTRAS)} examples could not be fetched; the web may be out of reach.")
    return words.gallery(all_examples()), gr.update(visible=missing > 0)


@logged("suggest")
def on_suggest(task: str, shown: GradioFile | None, desk: Desk) -> Any:
    """The task that fits the picture, as HTML; nothing where another one has come, or another model, meanwhile."""
    source = desk.picture(shown)
    if source is None:
        return '<p class="hint" data-heard>Give a picture first; then the model that fits it can be named.</p>'
    is_past = desk.watch()
    try:
        found = words.suggestion(suggest_for(source.path), task)
        return gr.skip() if is_past() else found
    except (ImageError, WeightsError, MemoryError) as error:
        raise gr.Error(words.complaint(error), print_exception=False) from error


def on_take(event: gr.EventData, shown: GradioFile | None, desk: Desk, *looks: Any) -> Page:
    """The suggested task is taken over; the event carries its name as ``task``."""
    task = event.task if event.task in TASKS else next(iter(TASKS))
    return _choosing(on_task(task, shown, desk, *looks), task)


@logged("look")
def on_look(view: View | None, desk: Desk, *looks: Any) -> Drawn:
    """The way of looking changed; the network does not run. One that runs meanwhile is looked at in this way too."""
    desk.looks = Look(*looks)
    view = _held(view)
    drawn = _drawn(view, desk.looks)
    return unchanged(Drawn) if desk.is_past(view) else drawn


@logged("point")
def on_point(event: gr.SelectData, view: View | None, pixel_size: float | None) -> str:
    """The picture was clicked."""
    view = _held(view)
    return words.said_of(point(view, event.index), pixel_size, view.shown.task)


@logged("measure")
def on_pixel_size(view: View | None, pixel_size: float | None, desk: Desk) -> Measured:
    """Another size of a pixel was given: areas follow, and the next pictures are taken to have it too."""
    if view is None:
        return unchanged(Measured)
    if pixel_size and not is_side(pixel_size):
        gr.Warning(words.wrong_side(view.shown.task))
        pixel_size = None
    desk.pixel_sizes[view.shown.task.length_unit] = pixel_size
    return _measured(view, pixel_size)


@logged("download")
def on_download(name: str, view: View | None, pixel_size: float | None, *looks: Any) -> str:
    """One of ``downloads.BUTTONS`` was pressed: the path of its file."""
    try:
        return downloads.make(_held(view), name, Look(*looks), pixel_size)
    except (ImageError, MemoryError) as error:
        raise gr.Error(words.complaint(error), print_exception=False) from error


def _held(view: View | None) -> View:
    if view is None:
        raise gr.Error(LOST, print_exception=False)
    return view


@logged("predict")
def _run(task: str, source: Given, desk: Desk, looks: Look) -> Page:
    """Predict one picture; a bad one becomes a sentence in the place of the result."""
    is_superseded = desk.begin(source)
    desk.looks = desk.looks or looks  # a session that was forgotten has none
    try:
        view = desk.again(source, task) or look(source, task, is_superseded)
        if is_superseded():
            raise Stopped
        desk.show(view)
    except Stopped:
        note(outcome="cancelled")
        return UNCHANGED
    except (ImageError, WeightsError, MemoryError) as error:
        note(outcome="refused")
        if is_superseded():
            return UNCHANGED
        page = _without(task, words.problem(words.complaint(error)))
        if isinstance(error, ImageError):
            desk.begin(None)
            return page
        return page._replace(picture=gr.skip())
    names = TASKS[task].class_names[1:]
    while True:  # again where another way of looking was chosen while it was drawn
        chosen = desk.looks
        drawn = _drawn(view, chosen._replace(classes=names, one=names[0]))
        if desk.looks == chosen:
            break
    unit = TASKS[task].length_unit
    size = pixel_side(source.path, unit) if is_geotiff(source.path) else {**PIXEL_SIZES, **desk.pixel_sizes}.get(unit)
    measured = _measured(view, size)
    counted = bool(view.objects)
    return Page(
        task=gr.skip(),
        about=words.about(task),
        advice="",
        picture=gr.skip() if _is_shown(source) else _preview(view),
        view=view,
        stage=gr.update(visible=False),
        result=drawn.result,
        slider=drawn.slider,
        details=gr.update(visible=True),
        summary=measured.summary,
        point=gr.update(value=words.ASK, visible=drawn.point["visible"]),
        drag=drawn.drag,
        classes=gr.update(choices=list(names), value=list(names), visible=drawn.classes["visible"]),
        one=gr.update(choices=list(names), value=names[0], visible=drawn.one["visible"]),
        scale=drawn.scale,
        pixel_size=gr.update(visible=bool(unit), value=size, label=f"Side of a pixel in {unit or 'm'}"),
        table=measured.table,
        per_object=gr.update(visible=counted),
        histogram=measured.histogram,
        objects=measured.objects,
        objects_button=gr.update(visible=TASKS[task].has_objects),
    )


def _without(task: str, stage: str) -> Page:
    """The page without a result: ``stage`` is the HTML in its place."""
    empty = dict.fromkeys(Page._fields, gr.skip())
    gone = gr.update(visible=False)
    empty.update(about=words.about(task), advice="", picture=None, view=None, summary="", table="")
    empty.update(stage=gr.update(value=stage, visible=True), details=gone, per_object=gone)
    empty.update(result=gr.update(value=None, visible=False), slider=gr.update(value=None, visible=False))
    return Page(**empty)


def _drawn(view: View, looks: Look) -> Drawn:
    compare = looks.mode == "Compare"
    layered = looks.mode in ("Overlay", "Compare")
    name = f"{view.source.stem}-{view.shown.task.name}-{looks.mode.lower().replace(' ', '-')}"
    path = save(draw(view, looks), f"{name}.{looks.suffix}")
    before = save(view.shown.image, f"{view.source.stem}-before.jpg") if compare else None
    return Drawn(
        point=gr.update(visible=not compare),
        drag=gr.update(visible=compare),
        result=gr.update(value=None if compare else path, visible=not compare, alt_text=_alt_text(view, looks)),
        slider=gr.update(value=(before, path) if compare else None, visible=compare),
        style=gr.update(visible=layered),
        opacity=gr.update(visible=layered and looks.style == STYLES[0]),
        classes=gr.update(visible=looks.mode in ("Overlay", "Compare", "Mask")),
        one=gr.update(visible=looks.mode == "One class"),
        scale=gr.update(value=charts.scale(lowest(view)), visible=looks.mode == "Confidence"),
    )


def _alt_text(view: View, looks: Look) -> str:
    return f"{looks.mode}: {words.sentence_of(view)}"


def _measured(view: View, pixel_size: float | None) -> Measured:
    task = view.shown.task
    sized = bool(words.extent(1, pixel_size, task))
    factor, unit = area(1, float(pixel_size or 0), task) if sized else (1.0, "px")
    return Measured(
        summary=words.summary(view, pixel_size),
        table=words.table(view.stats, task, pixel_size),
        histogram=charts.histogram([found.area * factor for found in view.objects or ()], unit),
        objects=words.objects_table(view.objects or (), pixel_size if sized else None, task),
    )


def _choosing(page: Page, task: str) -> Page:
    """A page that chooses its task too, unless a later run has superseded it."""
    return page if page == UNCHANGED else page._replace(task=task)


def _with_picture(page: Page) -> Page:
    """A page whose picture is to be put into its place."""
    return page._replace(picture=_preview(page.view)) if isinstance(page.view, View) else page


def _preview(view: View) -> str:
    """A picture file for the input's place that every browser shows."""
    return view.source.path if _is_shown(view.source) else save(view.shown.image, f"{view.source.stem}.jpg")


def _is_shown(source: Given) -> bool:
    return Path(source.path).suffix.lower() in BROWSER_FORMATS
