"""Which model fits a picture, by what each model knows of the pictures it learnt from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from segmenter.fitting import middle
from segmenter.image import MAX_PIXELS, ImageSource, read_image
from segmenter.predict import Segmenter
from segmenter.tasks import TASKS

SURE = 0.75  # log-odds: most of what a model does not know is below, little of what it knows
SMALLEST = 24  # pixels: of what is narrower too little is seen to know its kind
MIDDLE = 512  # pixels: of a picture that is read in tiles its middle is enough to know its kind


@dataclass(frozen=True)
class Suggestion:
    """``task`` is the key of the model that fits best, None where none surely does. ``familiarity`` gives for each
    model the log-odds that the picture is of its kind, below 0 where it is not."""

    task: str | None
    familiarity: dict[str, float]

    @property
    def reason(self) -> str:
        """Why, in one sentence."""
        if not self.familiarity:
            return "These weights do not tell which pictures they know."
        if self.task is None:
            best = max(self.familiarity.values())
            if best >= SURE:
                return "The picture is too narrow to tell what kind it is."
            if best >= 0:
                return "It is not clear that any model was trained on pictures like this one."
            return "None of the models was trained on pictures like this one."
        others = [_title(name) for name, score in self.familiarity.items() if score >= SURE and name != self.task]
        rest = f"; {' and '.join(others)} would fit too" if others else ""
        return f"It looks like the pictures that the {_title(self.task)} model was trained on{rest}."


def _title(name: str) -> str:
    return TASKS[name].title.lower() if name in TASKS else name


def suggest(image: ImageSource, segmenters: Mapping[str, Segmenter]) -> Suggestion:
    """Judge a picture by every model in ``segmenters`` that knows its kind and takes as many pixels; their keys are
    names of tasks, or others. ImageError as in ``Segmenter.predict`` where none could take it."""
    picture = read_image(image, max((each.max_pixels for each in segmenters.values()), default=MAX_PIXELS))
    picture.flags.writeable = False  # so that no model copies it
    familiarity = {}
    for name, segmenter in segmenters.items():
        if picture.shape[0] * picture.shape[1] > segmenter.max_pixels:
            continue
        tiled = segmenter.config.input_policy == "tile" and not segmenter.config.zoom_below  # else it takes the middle
        score = segmenter.familiarity(middle(picture, MIDDLE) if tiled else picture)
        if score is not None:
            familiarity[name] = score
    best = max(familiarity, key=lambda name: familiarity[name], default=None)
    if best is not None and (familiarity[best] < SURE or min(picture.shape[:2]) < SMALLEST):
        best = None
    return Suggestion(best, familiarity)
