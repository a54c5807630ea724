"""What a session keeps of one result; everything the page shows of it is made from this, without the network."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from gradio.utils import get_upload_folder

from page.given import Given
from page.log import note
from page.models import segmenter_for
from segmenter import ClassStats, ImageError, Segmentation
from segmenter.draw import shrink
from segmenter.image import read_image
from segmenter.measure import ObjectStats, objects

DISPLAY_SIDE = 1600  # pixels: sharp on dense screens, and it bounds what a session holds to about 35 MB


class Kept:
    """The arrays of a result too large to hold, in files that go when this object does, or in their time with the
    uploads, among which they count."""

    def __init__(self, result: Segmentation) -> None:
        cache = Path(get_upload_folder())
        cache.mkdir(parents=True, exist_ok=True)
        self._folder = tempfile.TemporaryDirectory(dir=cache, prefix="result-", ignore_cleanup_errors=True)
        self._arrays = ["class_ids", "confidence"] + ([] if result.seeds is None else ["seeds"])
        self._min_object = result.min_object
        for name in self._arrays:
            np.save(Path(self._folder.name) / name, getattr(result, name))

    def restore(self, shown: Segmentation, path: str) -> Segmentation:
        """The result at the picture's own size; the picture is read again. ImageError where either is gone."""
        try:
            arrays = {name: np.load(Path(self._folder.name) / f"{name}.npy") for name in self._arrays}
        except OSError as error:
            raise ImageError("this result is no longer held; choose the picture again.") from error
        return replace(shown, image=read_image(path), min_object=self._min_object, **arrays)


@dataclass(frozen=True, eq=False)
class View:
    """One result as the page shows it.

    ``shown`` is at most DISPLAY_SIDE pixels long. ``stats``, ``objects``, None where the task counts none, and ``size``
    (height, width) belong to the picture at its own size. ``source`` is the picture's file.
    """

    shown: Segmentation
    stats: list[ClassStats]
    objects: list[ObjectStats] | None
    size: tuple[int, int]
    seconds: float
    source: Given
    kept: Kept | None = field(default=None, repr=False)

    @property
    def labels(self) -> np.ndarray | None:
        """The ids of objects int32 (H, W) as ``shown``, None where the task counts none."""
        return self.shown.instances() if self.shown.task.has_objects else None

    def result(self) -> Segmentation:
        """The result at the picture's own size."""
        return self.shown if self.kept is None else self.kept.restore(self.shown, self.source.path)

    def park(self) -> Parked:
        """Put it aside in files, for when its model is chosen again."""
        nothing = np.empty((0, 0), np.uint8)
        facts = replace(self.shown, image=nothing, class_ids=nothing, confidence=nothing, seeds=None)
        return Parked(facts, self.kept or Kept(self.shown), self.source, self.seconds)


@dataclass(frozen=True, eq=False)
class Parked:
    """A view whose arrays are in files; ``facts`` is its result without them."""

    facts: Segmentation
    kept: Kept
    source: Given
    seconds: float

    def view(self) -> View:
        """The view again, without the network. ImageError where the picture or the files are gone."""
        note(task=self.facts.task.name)
        return _view(self.kept.restore(self.facts, self.source.path), self.source, self.seconds, self.kept)


def look(source: Given, task: str, stop: Callable[[], bool] | None = None) -> View:
    """Run a task's model on a picture file. Raises ImageError, WeightsError, ValueError for an unknown task, or Stopped
    as ``Segmenter.predict`` does."""
    segmenter = segmenter_for(task)
    note(task=task)
    started = time.perf_counter()
    result = segmenter.predict(source.path, stop)
    return _view(result, source, time.perf_counter() - started)


def _view(result: Segmentation, source: Given, seconds: float, kept: Kept | None = None) -> View:
    note(size=result.class_ids.shape)
    shown = shrink(result, DISPLAY_SIDE)
    return View(
        shown=shown,
        stats=result.stats(),
        objects=objects(result) if result.task.has_objects else None,
        size=result.class_ids.shape,
        seconds=seconds,
        source=source,
        kept=None if shown is result else kept or Kept(result),
    )


@dataclass(frozen=True)
class Point:
    """What is under the pointer: the ``position`` (x, y) in pixels of the picture at its own size, the class, its
    confidence and, where objects are counted, the object."""

    position: tuple[int, int]
    name: str
    confidence: float
    object: ObjectStats | None


def point(view: View, position: Sequence[float]) -> Point:
    """What a view shows at a ``position`` (x, y) in pixels of the picture as shown; beyond the border the nearest."""
    height, width = view.shown.class_ids.shape
    x, y = (min(max(int(value), 0), length - 1) for value, length in zip(position, (width, height), strict=True))
    number = 0 if view.labels is None else int(view.labels[y, x])
    full_height, full_width = view.size
    return Point(
        ((2 * x + 1) * full_width // (2 * width), (2 * y + 1) * full_height // (2 * height)),
        view.shown.task.class_names[view.shown.class_ids[y, x]],
        float(view.shown.confidence[y, x]),
        view.objects[number - 1] if view.objects and number else None,
    )
