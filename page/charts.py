"""Small drawings as inline SVG: a histogram, the scale of a heat map, a network, icons."""

from __future__ import annotations

import math
from collections.abc import Sequence

from page.pictures import VIRIDIS

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
TARGET_ICON = """
<svg viewBox="0 0 64 64" width="56" height="56" fill="none" stroke="currentColor" stroke-width="2.5"
 stroke-linecap="round" aria-hidden="true"><circle cx="32" cy="32" r="25"/><circle cx="32" cy="32" r="13"/>
<path d="M32 2v12M32 50v12M2 32h12M50 32h12"/></svg>
"""
STACK_ICON = """
<svg viewBox="0 0 64 64" width="56" height="56" fill="none" stroke="currentColor" stroke-width="2.5"
 stroke-linejoin="round" aria-hidden="true"><rect x="6" y="18" width="42" height="36" rx="5"/>
<path d="M14 18v-5a4 4 0 0 1 4-4h36a4 4 0 0 1 4 4v28a4 4 0 0 1-4 4h-6M6 46l12-11 9 8 8-10 13 14"/></svg>
"""

BINS = 16
CHART_WH = (360, 120)  # of the bars; the axis is below


def histogram(values: Sequence[float], unit: str) -> str:
    """How often which value: bars of one width from 0 to a round number above the largest, as SVG."""
    if not values:
        return ""
    step = round_up(max(values) / BINS)
    counts = [0] * BINS
    for value in values:
        counts[min(int(value / step), BINS - 1)] += 1
    width, height = CHART_WH
    bar, tallest = width / BINS, max(counts)
    bars = "".join(
        f'<rect x="{i * bar + 1:.1f}" y="{height - height * count / tallest:.1f}" width="{bar - 2:.1f}" '
        f'height="{height * count / tallest:.1f}" rx="1.5"><title>{count} of {i * step:g} to {(i + 1) * step:g} {unit}'
        "</title></rect>"
        for i, count in enumerate(counts)
        if count
    )
    ticks = "".join(
        f'<text x="{i * bar:.1f}" y="{height + 16}" text-anchor="{anchor}">{i * step:,g}</text>'
        for i, anchor in ((0, "start"), (BINS // 2, "middle"), (BINS, "end"))
    )
    label = f"Histogram of {len(values):,} areas from {min(values):,.4g} to {max(values):,.4g} {unit}"
    return (
        f'<figure class="chart"><svg viewBox="0 0 {width} {height + 20}" role="img" aria-label="{label}">'
        f'{bars}<line x1="0" y1="{height}" x2="{width}" y2="{height}"/>{ticks}</svg>'
        f"<figcaption>Objects by area in {unit}; the tallest bar is {tallest:,}</figcaption></figure>"
    )


def round_up(value: float) -> float:
    """The least of 1, 2, 2.5, 5 and 10 times a power of ten that is not below a positive value."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= value * (1 - 1e-12))


def scale(low: float) -> str:
    """The legend of the confidence heat map."""
    colours = ", ".join(f"rgb{colour}" for colour in VIRIDIS)
    return (
        f'<div class="scale" role="img" aria-label="Colours of the confidence, from dark at {low:.2f} to bright at 1">'
        f'<span>{low:.2f}</span><span class="ramp" style="background:linear-gradient(90deg, {colours})"></span>'
        "<span>1.00</span><span>confidence</span></div>"
    )
