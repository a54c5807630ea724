"""The page: choose a model, give a picture, see what it found.

Run it with ``python app.py``; it listens on 127.0.0.1:7860 unless GRADIO_SERVER_NAME and GRADIO_SERVER_PORT
say otherwise. Hugging Face Spaces starts it as it is.
"""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

from page.quick_gradio import gr  # isort: skip  before all that imports Gradio
from starlette.middleware import Middleware
from starlette.routing import Route

from page import api, batch_tab, log, models_tab, score_tab, segment_tab, words, workspace
from page.given import paths
from page.guard import Guard
from page.health import health
from page.models import warm
from page.style import css, script, theme

SESSIONS = 50  # results held at once, each up to about 35 MB
QUEUE = 100  # events that wait; who comes later is told that the page is busy
M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -8, -3, -1  # of malloc.h
MAX_FILE_SIZE = "400mb"  # what segmenter.image reads at most; 50 megapixels of 16-bit RGB are 300 MB

# Two pictures at once, in the order of asking: each uses all cores, and two take turns at their windows, so that a
# large one keeps no small one waiting. A picture that comes while others are read waits rather than being dropped.
ENDPOINT: dict[str, Any] = {"concurrency_id": "network", "concurrency_limit": 2}
NETWORK: dict[str, Any] = {**ENDPOINT, "trigger_mode": "always_last", "api_visibility": "private"}


def build() -> gr.Blocks:
    """Lay the tabs out and connect them to their handlers."""
    with gr.Blocks(
        title="Segmenter",
        analytics_enabled=False,
        delete_cache=(workspace.SWEEP_SECONDS, workspace.KEEP_SECONDS),
    ) as blocks:
        gr.HTML(words.HEADER, elem_id="header", apply_default_css=False)
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Segment", id="segment"):
                segment_tab.build(NETWORK)
            with gr.Tab("Batch", id="batch"):
                batch_tab.build()
            with gr.Tab("Score", id="score"):
                score_tab.build(NETWORK)
            with gr.Tab("Models", id="models") as models:
                models_tab.build(models, NETWORK)
        api.add_endpoints(ENDPOINT)
    return blocks.queue(max_size=QUEUE, api_open=False)


os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "100")  # which Gradio's queue tabulates at every event
workspace.begin()  # before the first temporary file
demo = build()


def server_name() -> str:
    """Where to listen: on this machine only, unless the operator or Spaces wants otherwise."""
    return os.environ.get("GRADIO_SERVER_NAME") or ("0.0.0.0" if "SPACE_ID" in os.environ else "127.0.0.1")


def queued() -> list[Any]:
    """The events that wait in the queue."""
    return [event for queue in demo._queue.event_queue_per_concurrency_id.values() for event in queue.queue]


def waiting() -> list[Any]:
    """The requests (ASGI scopes) of the events that wait in the queue."""
    return [event.request.scope for event in queued()]


def needed() -> list[Path]:
    """The files that the events in the queue name."""
    return [path for event in queued() if event.data for path in paths(event.data.data)]


def share_heap() -> None:
    """Let all threads share one heap where the system has glibc: with one for each, what 40 threads once needed is
    held for ever. What is free is given back but for 16 MB at its top, which the next picture would ask for again: the
    system clears memory more slowly than a picture is scaled."""
    with suppress(AttributeError, OSError, TypeError):  # another system
        libc = ctypes.CDLL(None)
        libc.mallopt(M_ARENA_MAX, 1)
        libc.mallopt(M_MMAP_THRESHOLD, 4 << 20)
        libc.mallopt(M_TRIM_THRESHOLD, 16 << 20)


def main() -> None:
    """Serve the page; the models load when it is open, so that nothing delays that."""
    log.start()
    share_heap()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: tidy up, then end
    Thread(target=workspace.keep_clean, args=(needed,), daemon=True).start()
    demo.launch(
        server_name=server_name(),
        theme=theme(),
        css=css(),
        js=script(),
        footer_links=["api"],
        max_file_size=MAX_FILE_SIZE,
        state_session_capacity=SESSIONS,
        ssr_mode=False,
        show_error=False,
        run_history=False,
        enable_monitoring=False,
        mcp_server=find_spec("mcp") is not None,
        app_kwargs={"middleware": [Middleware(Guard, waiting=waiting)], "routes": [Route("/health", health)]},
        prevent_thread_lock=True,
        _frontend=False,  # or Gradio looks at the page itself, and ends the program where that takes 3 s
    )
    Thread(target=warm, daemon=True).start()
    with suppress(KeyboardInterrupt):  # a second one, while it closes
        demo.block_thread()


if __name__ == "__main__":
    main()
