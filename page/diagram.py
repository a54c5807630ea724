"""A network drawn from its config: encoder stages, decoder, skips and channels, as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

# Channels of the stages of the encoders, at 1/2, 1/4, 1/8, 1/16 and 1/32 of the input (segmentation-models-pytorch).
ENCODERS = {
    "mobilenet_v2": (16, 24, 32, 96, 1280),
}
STEP, BOX_WH = 58, (150, 40)  # from level to level, and of a stage
LEFT, RIGHT = 4, 270  # of the boxes of the encoder and the decoder


def architecture(config: dict[str, Any]) -> str:
    """The U of a model by its ``config.json``; a sentence where the network is no U-Net with a known encoder."""
    encoder = ENCODERS.get(str(config.get("encoder_name")))
    decoder = config.get("decoder_channels")
    if config.get("_model_class") != "Unet" or encoder is None or not decoder or len(decoder) != len(encoder):
        return f'<p class="hint">Network: {escape(str(config.get("_model_class")))}.</p>'
    known = config["_segmenter"]
    size, maps = int(known["size"]), len(known["network_classes"])
    return _draw(str(config["encoder_name"]), size, encoder, [int(width) for width in decoder], maps)


def _draw(name: str, size: int, encoder: Sequence[int], decoder: Sequence[int], maps: int) -> str:
    """Levels stand below each other, each at half the side of the one above; the picture's own is level 0."""
    depth = len(encoder)
    box_w, box_h = BOX_WH
    down, up = LEFT + box_w / 2, RIGHT + box_w / 2  # the middles of both columns
    parts = [
        _box(LEFT, STEP, "Picture", f"{size} × {size} × 3"),
        _box(RIGHT, 0, "Softmax", f"{size} × {size} × {maps}"),
    ]
    for level, width in enumerate(encoder, start=1):
        y, side = (level + 1) * STEP, size >> level
        parts.append(_box(LEFT, y, f"Encoder {level}", f"{side} × {side} × {width}", "encoder"))
        parts.append(_arrow(down, y - STEP + box_h, down, y))
    for step, width in enumerate(decoder, start=1):
        level = depth - step
        y, side = (level + 1) * STEP, size >> level
        parts.append(_box(RIGHT, y, f"Decoder {step}", f"{side} × {side} × {width}", "decoder"))
        parts.append(_arrow(up, y, up, y - STEP + box_h))
        if level:
            parts.append(_arrow(LEFT + box_w, y + box_h / 2, RIGHT, y + box_h / 2, "skip"))
    bottom = (depth + 1) * STEP + box_h / 2
    parts.append(_arrow(LEFT + box_w, bottom, up, bottom, "flow", tip=False))
    parts.append(_arrow(up, bottom, up, depth * STEP + box_h))
    down_widths, up_widths = (", ".join(map(str, widths)) for widths in (encoder, decoder))
    label = f"U-Net on a {name} encoder: channels {down_widths} down and {up_widths} up"
    width, height = RIGHT + box_w + LEFT, (depth + 1) * STEP + box_h + 4
    return (
        f'<figure class="network"><svg viewBox="0 -2 {width} {height}" role="img" '
        f'aria-label="{escape(label)}"><defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>'
        f"{''.join(parts)}</svg><figcaption>U-Net on a {escape(name)} encoder. Dashed lines are skips, "
        "the numbers height × width × channels.</figcaption></figure>"
    )


def _box(x: float, y: float, title: str, text: str, kind: str = "plain") -> str:
    width, height = BOX_WH
    middle = x + width / 2
    return (
        f'<g class="{kind}"><rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8"/>'
        f'<text class="title" x="{middle}" y="{y + 17}" text-anchor="middle">{title}</text>'
        f'<text x="{middle}" y="{y + 32}" text-anchor="middle">{text}</text></g>'
    )


def _arrow(x1: float, y1: float, x2: float, y2: float, kind: str = "flow", tip: bool = True) -> str:
    end = ' marker-end="url(#tip)"' if tip else ""
    return f'<line class="{kind}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"{end}/>'
