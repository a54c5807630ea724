"""The sentences and the small pieces of HTML on the page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TypedDict

from page.examples import Example
from page.view import View
from segmenter import TASKS, ClassStats

HEADER = """
<h1>Segmenter</h1>
<p>Marks pets, water, cell nuclei and cars in your picture, pixel by pixel.</p>
"""

PICTURE_ICON = """
<svg viewBox="0 0 64 64" width="56" height="56" fill="none" stroke="currentColor" stroke-width="2.5"
 stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><rect x="6" y="10" width="52" height="44" rx="6"/>
<circle cx="21" cy="25" r="5"/><path d="M6 46l15-13 11 9 11-14 15 17" /></svg>
"""
WARNING_ICON = """
<svg viewBox="0 0 64 64" width="56" height="56" fill="none" stroke="currentColor" stroke-width="2.5"
 stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><circle cx="32" cy="32" r="26"/>
<path d="M32 18v18M32 45v.5"/></svg>
"""
INVITATION = (
    f'<div class="stage">{PICTURE_ICON}<p class="stage-title">The result appears here</p>'
    "<p>Drop a picture, paste one, or click an example.</p></div>"
)

# What the sentence under a result begins with, and what it says where nothing was found.
SUBJECTS = {
    "pets": ("The pet covers", "No pet was found in this picture."),
    "water": ("Water covers", "No water was found in this picture."),
    "cars": ("Cars cover", "No car was found in this picture."),
    "nuclei": ("", "No nuclei were found in this picture."),
}


# One class of a result as the API gives it: "color" is "#rrggbb", "percent" of all pixels.
Row = TypedDict("Row", {"class": str, "color": str, "pixels": int, "percent": float, "mean_confidence": float})


def rows(stats: Sequence[ClassStats]) -> list[Row]:
    """The statistics as plain records in class id order."""
    return [
        {
            "class": found.name,
            "color": "#{:02x}{:02x}{:02x}".format(*found.color),
            "pixels": found.pixels,
            "percent": round(100 * found.fraction, 4),
            "mean_confidence": round(found.confidence, 4),
        }
        for found in stats
    ]


def percent(fraction: float) -> str:
    """A share in [0, 1] as people write it: 34%, 3.4%, under 0.1%."""
    share = 100 * fraction
    if 0 < share < 0.1:
        return "under 0.1%"
    return f"{share:.1f}%" if share < 9.95 and share else f"{share:.0f}%"


def sentence(view: View) -> str:
    """What was found, in one sentence about the task's first class."""
    main = view.stats[1]
    subject, nothing = SUBJECTS[view.shown.task.name]
    if not main.pixels:
        return nothing
    if view.objects is not None:
        subject = "1 nucleus covers" if view.objects == 1 else f"{view.objects:,} nuclei cover"
    return f"{subject} {percent(main.fraction)} of the picture; mean confidence {main.confidence:.2f}."


def summary(view: View) -> str:
    height, width = view.size
    notice = view.shown.notice
    return (
        f'<p class="summary" role="status">{escape(sentence(view))}</p>'
        + (f'<p class="notice">{escape(notice)}</p>' if notice else "")
        + f'<p class="facts">{width:,} × {height:,} pixels, {view.seconds:.1f} s</p>'
    )


def table(stats: Sequence[ClassStats]) -> str:
    """One row per class: colour and name, pixels, percent, mean confidence."""
    body = "".join(
        f'<tr><th scope="row"><span class="swatch" style="background:{row["color"]}"></span>{escape(row["class"])}</th>'
        f"<td>{row['pixels']:,}</td><td>{row['percent']:.1f}%</td>"
        f"<td>{format(row['mean_confidence'], '.2f') if row['pixels'] else '–'}</td></tr>"
        for row in rows(stats)
    )
    return (
        '<table class="stats"><caption>Pixels, share and confidence of each class</caption>'
        '<thead><tr><th scope="col">Class</th><th scope="col">Pixels</th><th scope="col">Percent</th>'
        f'<th scope="col">Mean confidence</th></tr></thead><tbody>{body}</tbody></table>'
    )


def about(task: str) -> str:
    return f'<p class="about">{escape(TASKS[task].description)}</p>'


def problem(message: str) -> str:
    """The place of the result when there is none, with the reason as a sentence."""
    return (
        f'<div class="stage problem" role="alert">{WARNING_ICON}'
        f'<p class="stage-title">That did not work</p><p>{escape(message)}</p></div>'
    )


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
