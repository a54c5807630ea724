"""The sentences and the small pieces of HTML on the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from statistics import median
from typing import Any, TypedDict

from page.charts import PICTURE_ICON, WARNING_ICON
from page.examples import Example
from page.view import Point, View
from segmenter import TASKS, ClassStats, Segmentation
from segmenter.measure import ObjectStats, area, objects
from segmenter.suggest import Suggestion
from segmenter.tasks import LONGEST_SIDE, SHORTEST_SIDE, Task, is_side

KEYS = "The arrow keys move the cross, with Shift in the smallest steps, and tell what is under it."
HEADER = f"""
<h1>Segmenter</h1>
<p>Marks pets, water, cell nuclei and cars in your picture, pixel by pixel.</p>
<p id="heard" role="status"></p>
<p id="keys" hidden>{KEYS}</p>
"""
ASK = f'<p class="hint">Click on the picture to ask what is there.<span class="keys"> {KEYS}</span></p>'
DRAG = '<p class="hint">Drag the line, or move it with the arrow keys, to compare the picture with what was found.</p>'

# Of the table of objects, without a size of a pixel.
COLUMNS = ("id", "area (px)", "x (px)", "y (px)", "diameter (px)", "eccentricity")

# What the sentence under a result begins with, and what it says where nothing was found.
SUBJECTS = {
    "pets": ("The pet fills", "No pet was found in this picture."),
    "water": ("Water covers", "No water was found in this picture."),
    "cars": ("Cars fill", "No car was found in this picture."),
    "nuclei": ("Nuclei cover", "No nuclei were found in this picture."),
}


# One class of a result as the API gives it: "color" is "#rrggbb", "percent" of all pixels.
Row = TypedDict("Row", {"class": str, "color": str, "pixels": int, "percent": float, "mean_confidence": float})


def rows(stats: Sequence[ClassStats]) -> list[Row]:
    """The statistics as plain records in class id order."""
    return [
        {
            "class": found.name,
            "color": found.hex_color,
            "pixels": found.pixels,
            "percent": round(100 * found.fraction, 4),
            "mean_confidence": round(found.confidence, 4),
        }
        for found in stats
    ]


def percent(fraction: float) -> str:
    """A share in [0, 1] as people write it: 34%, 3.4%, 99.8%, under 0.1%, over 99.9%."""
    share = 100 * fraction
    if 0 < share < 0.1:
        return "under 0.1%"
    if 99.9 < share < 100:
        return "over 99.9%"
    return f"{share:.1f}%" if 0 < share < 9.95 or 99 < share < 100 else f"{share:.0f}%"


def wrong_side(task: Task) -> str:
    """What is said of a size of a pixel that none has."""
    return f"Give the side of a pixel in {task.length_unit}, from {SHORTEST_SIDE:f} to {LONGEST_SIDE:,.0f}."


def extent(pixels: float, pixel_size: float | None, task: Task) -> str:
    """The area of pixels in the task's unit, such as "1.2 ha"; empty where pixels have no known size."""
    if not task.length_unit or not is_side(pixel_size):
        return ""
    value, unit = area(pixels, pixel_size, task)
    if 0 < value < 0.001:
        return f"under 0.001 {unit}"
    return f"{value:,.0f} {unit}" if value >= 999.5 else f"{value:.3g} {unit}"


def sentence(
    stats: Sequence[ClassStats], task: Task, objects: Sequence[float] | None = None, pixel_size: float | None = None
) -> str:
    """What was found, as a person would say it; ``objects`` are the areas of objects in pixels where they count."""
    main = stats[1]
    subject, nothing = SUBJECTS[task.name]
    if not main.pixels:
        further = next((found for found in stats[2:] if found.pixels), None)
        return f"Only {further.name} was found, on {percent(further.fraction)} of the picture." if further else nothing
    if objects:
        middle = median(objects)
        size = extent(middle, pixel_size, task) or f"{middle:,.0f} px"
        return f"1 nucleus of {size}." if len(objects) == 1 else f"{len(objects):,} nuclei, median area {size}."
    size = extent(main.pixels, pixel_size, task)
    area = f", {size} at {pixel_size:g} {task.length_unit} a pixel" if size else ""
    return f"{subject} {percent(main.fraction)} of the picture{area}; confidence {main.confidence:.2f}."


def areas(result: Segmentation) -> list[int] | None:
    """Those of all objects in pixels, None where none are counted."""
    return [found.area for found in objects(result)] if result.task.has_objects else None


def sentence_of(view: View, pixel_size: float | None = None) -> str:
    areas = None if view.objects is None else [found.area for found in view.objects]
    return sentence(view.stats, view.shown.task, areas, pixel_size)


def headline(text: str) -> str:
    """The line that says what came of something, in HTML, told to those who hear the page: ``data-heard`` names what
    page.js repeats in the one place they listen to."""
    return f'<p class="summary" data-heard>{text}</p>'


def took(seconds: float) -> str:
    """How long one picture took: 40 ms, 1.2 s."""
    return f"{1000 * seconds:.0f} ms" if seconds < 0.9995 else f"{seconds:.1f} s"


def summary(view: View, pixel_size: float | None = None) -> str:
    height, width = view.size
    notice = view.shown.notice
    return (
        headline(escape(sentence_of(view, pixel_size)))
        + (f'<p class="notice">{escape(notice)}</p>' if notice else "")
        + f'<p class="facts">{width:,} × {height:,} pixels, {took(view.seconds)}</p>'
    )


def swatch(color: str) -> str:
    return f'<span class="swatch" style="background:{color}"></span>'


def grid(caption: str, head: Sequence[str], body: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table of HTML cells; the first cell of each row is its header, the caption is for those who hear the page.

    It scrolls sideways where the screen is too narrow for it.
    """
    columns = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    lines = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>' for first, *rest in body
    )
    return (
        f'<div class="wide"><table class="stats {kind}"><caption>{caption}</caption><thead><tr>{columns}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def table(stats: Sequence[ClassStats], task: Task, pixel_size: float | None = None) -> str:
    """One row per class: colour and name, pixels, area where a pixel has a size, percent, mean confidence."""
    sized = bool(extent(1, pixel_size, task))
    head = ["Class", "Pixels", *(["Area"] if sized else []), "Percent", "Confidence"]
    body = [
        [
            f"{swatch(row['color'])}{escape(row['class'])}",
            f"{row['pixels']:,}",
            *([extent(row["pixels"], pixel_size, task)] if sized else []),
            f"{row['percent']:.1f}%" if 0.1 <= row["percent"] <= 99.9 else percent(row["percent"] / 100),
            format(row["mean_confidence"], ".2f") if row["pixels"] else "–",
        ]
        for row in rows(stats)
    ]
    return grid("Pixels, share and mean confidence of each class", head, body)


def objects_table(objects: Iterable[ObjectStats], pixel_size: float | None, task: Task) -> dict[str, list[Any]]:
    """The table of objects by their ids; area and diameter in the task's units where a pixel has a size, places
    in pixels always."""
    factor, unit = area(1, pixel_size, task) if pixel_size else (1, "px")
    length = task.length_unit if pixel_size else "px"
    units = {"area (px)": f"area ({unit})", "diameter (px)": f"diameter ({length})"}
    rows = [
        [
            found.id,
            float(f"{found.area * factor:.4g}") if pixel_size else found.area,
            round(found.centroid_x, 1),
            round(found.centroid_y, 1),
            float(f"{found.equivalent_diameter * (pixel_size or 1):.4g}"),
            round(found.eccentricity, 2),
        ]
        for found in objects
    ]
    return {"headers": [units.get(name, name) for name in COLUMNS], "data": rows}


def said_of(point: Point, pixel_size: float | None, task: Task) -> str:
    """What is under the pointer, in one line."""
    color = f"rgb{task.classes[task.class_id(point.name)].color}"
    text = f"<b>{escape(point.name)}</b>, confidence {point.confidence:.2f}"
    if point.object is not None:
        size = extent(point.object.area, pixel_size, task) or f"{point.object.area:,} px"
        text += f", object {point.object.id} of {size}"
    x, y = point.position
    return f'<p class="point" data-heard>{swatch(color)}{text} <span class="at">at {x:,}, {y:,}</span></p>'


def about(task: str) -> str:
    return f'<p class="about">{escape(TASKS[task].description)}</p>'


def suggestion(found: Suggestion, task: str) -> str:
    """Which task fits, why, and a button that takes it over unless it is chosen already."""
    if found.task is None:
        none = "<b>None fits.</b> " if found.familiarity and max(found.familiarity.values()) < 0 else ""
        return f'<p class="hint" data-heard>{none}{escape(found.reason)}</p>'
    title = escape(TASKS[found.task].title)
    text = f'<p class="hint" data-heard><b>{title}.</b> {escape(found.reason)}</p>'
    if found.task == task:
        return text
    return f'{text}<button type="button" class="take" data-task="{found.task}">Use {title}</button>'


def stage(title: str, *lines: str, icon: str = PICTURE_ICON) -> str:
    """The place of a result while there is none."""
    said = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return f'<div class="stage">{icon}<p class="stage-title">{escape(title)}</p>{said}</div>'


INVITATION = stage("The result appears here", "Drop a picture, paste one, or click an example.")


def problem(message: str) -> str:
    """The place of the result when there is none, with the reason as a sentence."""
    return (
        f'<div class="stage problem" role="alert">{WARNING_ICON}'
        f'<p class="stage-title">That did not work</p><p>{escape(message)}</p></div>'
    )


def complaint(error: Exception) -> str:
    """What an error says, as a sentence of its own."""
    message = str(error)
    if isinstance(error, MemoryError):
        message = "the picture is too large for this machine's memory; make it smaller."
    elif isinstance(error, OSError):  # its own text names the server's folders
        message = f"a file cannot be read or written ({error.strerror}); try again."
    elif isinstance(error, RuntimeError):  # of an engine: long, and not for visitors
        message = "the model failed on this picture; try again, or make it smaller."
    return message[:1].upper() + message[1:]


def gallery(examples: Sequence[Example]) -> str:
    """The example pictures as buttons; ``data-index`` is the position in ``examples``."""
    buttons = "".join(
        f'<button type="button" class="example" data-index="{index}">'
        f'<img src="{example.thumbnail()}" alt="" width="116" height="84">'
        f"<span>{escape(example.title)}</span></button>"
        for index, example in enumerate(examples)
    )
    return (
        '<p class="examples-title" id="examples-title">Or try an example</p>'
        f'<div class="examples" role="group" aria-labelledby="examples-title">{buttons}</div>'
    )
