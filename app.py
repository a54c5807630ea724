"""The page: choose a model, give a picture, see what it found.

Run it with ``python app.py``; it listens on 127.0.0.1:7860 unless GRADIO_SERVER_NAME and GRADIO_SERVER_PORT
say otherwise. Hugging Face Spaces starts it as it is.
"""

from __future__ import annotations

from importlib.util import find_spec
from threading import Thread
from typing import Any

import gradio as gr

from page import api, batch_tab, models_tab, score_tab, segment_tab, words
from page.models import warm
from page.segment_tab import SESSION_SECONDS
from page.style import css, script, theme

SESSIONS = 50  # results held at once, each up to about 70 MB
MAX_FILE_SIZE = "512mb"  # 50 megapixels of 16-bit RGB are 300 MB

# One network at a time, in the order of asking: each uses all cores. A picture that comes while
# another is read waits for it rather than being dropped.
ENDPOINT: dict[str, Any] = {"concurrency_id": "network"}
NETWORK: dict[str, Any] = {**ENDPOINT, "trigger_mode": "always_last", "api_visibility": "private"}


def build() -> gr.Blocks:
    """Lay the tabs out and connect them to their handlers."""
    with gr.Blocks(
        title="Segmenter", analytics_enabled=False, delete_cache=(SESSION_SECONDS, 2 * SESSION_SECONDS)
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
    return blocks


demo = build()


def main() -> None:
    """Serve the page; the models load while it opens."""
    Thread(target=warm, daemon=True).start()
    demo.launch(
        theme=theme(),
        css=css(),
        js=script(),
        footer_links=["api"],
        max_file_size=MAX_FILE_SIZE,
        state_session_capacity=SESSIONS,
        ssr_mode=False,
        mcp_server=find_spec("mcp") is not None,
    )


if __name__ == "__main__":
    main()
