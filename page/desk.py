"""What a visitor's Segment tab is about, and whether anyone still waits for what is under way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gradio.context import LocalContext

from page.given import Given, GradioFile, given


@dataclass
class Desk:
    """One for each session, which its events change as they begin: two of them may run at once, and the earlier one
    may end last.

    ``source`` is the picture, None where there is none; ``pixel_sizes`` are the sides of pixels that were typed in, by
    their units.
    """

    source: Given | None = None
    pixel_sizes: dict[str, float | None] = field(default_factory=dict)
    _latest: object = None

    def begin(self, source: Given | None) -> Callable[[], bool]:
        """Another picture, or another look of a model at it. What is returned tells whether it is superseded, or
        nobody waits for it."""
        self.source = source
        self._latest = mine = object()
        return lambda: self._latest is not mine or is_abandoned()

    def picture(self, shown: GradioFile | None) -> Given | None:
        """The picture, or the one that is ``shown`` where the session has been forgotten."""
        source = self.source or (given(shown) if shown else None)
        return source if source and Path(source.path).is_file() else None


def is_abandoned() -> bool:
    """Whether whoever asked for the event under way has gone; outside of an event nobody can."""
    blocks, event_id = LocalContext.blocks.get(None), LocalContext.event_id.get(None)
    event = blocks._queue.event_ids_to_events.get(event_id) if blocks and event_id else None
    return event is not None and not event.alive
