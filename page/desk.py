"""What a visitor's Segment tab is about, and whether anyone still waits for what is under way."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gradio.context import LocalContext

from page.given import Given, GradioFile, given
from page.pictures import Look
from page.view import Parked, View
from segmenter import ImageError


@dataclass
class Desk:
    """One for each session, which its events change as they begin: two of them may run at once, and the earlier one
    may end last.

    ``source`` is the picture, None where there is none; ``pixel_sizes`` are the sides of pixels that were typed in, by
    their units; ``looks`` is the way of looking that was chosen last. What models have found in the picture is put
    aside in files while another one's is shown.
    """

    source: Given | None = None
    pixel_sizes: dict[str, float | None] = field(default_factory=dict)
    looks: Look | None = None
    _parked: dict[str, Parked] = field(default_factory=dict)
    _shown: Callable[[], View | None] = lambda: None
    _latest: object = None

    def begin(self, source: Given | None) -> Callable[[], bool]:
        """Another picture, or another look of a model at it. What is returned tells whether it is superseded, or
        nobody waits for it."""
        if source != self.source:
            self._parked.clear()
            self._shown = lambda: None
        self.source = source
        self._latest = object()
        is_past = self.watch()
        return lambda: is_past() or is_abandoned()

    def watch(self) -> Callable[[], bool]:
        """What is returned tells whether another picture, or another look of a model at it, has begun since."""
        latest = self._latest
        return lambda: self._latest is not latest

    def show(self, view: View) -> None:
        """What is shown from now on; the session's own state holds it."""
        self._shown = weakref.ref(view)

    def is_past(self, view: View) -> bool:
        """Whether another view has come in the place of this one."""
        shown = self._shown()
        return shown is not None and shown is not view

    def again(self, source: Given, task: str) -> View | None:
        """What a model has found in a picture before, None where it has not read it. Another event may put another
        picture on the desk meanwhile."""
        shown, parked = self._shown(), self._parked.get(task)
        if shown is not None and shown.source == source:
            if shown.shown.task.name == task:
                return shown
            with suppress(OSError):  # a full disk: the network runs again
                self._parked[shown.shown.task.name] = shown.park()
        if parked is not None and parked.source == source:
            with suppress(ImageError):  # the files are gone
                return parked.view()
        return None

    def picture(self, shown: GradioFile | None) -> Given | None:
        """The picture, or the one that is ``shown`` where the session has been forgotten."""
        source = self.source or (given(shown) if shown else None)
        return source if source and Path(source.path).is_file() else None


def is_abandoned() -> bool:
    """Whether whoever asked for the event under way has gone; outside of an event nobody can."""
    blocks, event_id = LocalContext.blocks.get(None), LocalContext.event_id.get(None)
    event = blocks._queue.event_ids_to_events.get(event_id) if blocks and event_id else None
    return event is not None and not event.alive
