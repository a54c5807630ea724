"""Pictures of no task, drawn: what people upload besides photographs, and what looks most like a task without being it.

All are uint8 (H, W, 3), the same in every run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

PAPER, INK = (235, 230, 220), (30, 28, 35)


def drawn() -> Iterator[np.ndarray]:
    """All of them."""
    written = list(pages())
    yield from [*surfaces(), *written, *photographed(written), *stars(), *moons()]


def surfaces() -> Iterator[np.ndarray]:
    """Flat colours, gradients, stripes, boards, noise and shaded balls."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:256, :256] / 255
    for size in (4, 6, 9, 12, 16, 24, 33):
        low, high = rng.integers(0, 256, (2, 3))
        balls = np.zeros((256, 256))
        for row, column, radius in rng.uniform((0, 0, 0.1), (1, 1, 0.5), (max(1, 40 // size), 3)):
            height = 1 - ((y - row) ** 2 + (x - column) ** 2) / radius**2
            balls = np.maximum(balls, height.clip(0) ** 0.5 * rng.uniform(0.7, 1, (256, 256)))
        for share in (
            np.full_like(x, 0.5),
            x * rng.random() + y * rng.random(),
            (x * 256 // size) % 2,
            (x * 256 // size + y * 256 // size) % 2,
            rng.random((256, 256)),
            np.kron(rng.random((256 // size + 1,) * 2), np.ones((size, size)))[:256, :256],
            balls,
        ):
            yield (low + share.clip(0, 1)[..., None] * (high - low)).astype(np.uint8)
        yield shades(balls)


def pages() -> Iterator[np.ndarray]:
    """Pages of text, letters of 10 to 39 pixels."""
    rng = np.random.default_rng(1)
    for size in (4, 6, 9, 12, 16, 24, 33):
        colours = [tuple(colour) for colour in rng.integers(0, 256, (2, 3)).tolist()]
        for paper, ink in ((colours[0], colours[1]), (PAPER, INK), (INK, PAPER), ((255,) * 3, (0,) * 3)):
            page = Image.new("RGB", (512, 512), paper)
            for line in range(6, 508, size + 8):
                letters = np.where(rng.random(90) < 0.17, " ", [chr(code) for code in rng.integers(97, 123, 90)])
                ImageDraw.Draw(page).text((8, line), "".join(letters), ink, font_size=size + 6)
            yield np.asarray(page)


def photographed(written: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Parts of pages, not quite sharp, noisy and lit from one side."""
    rng = np.random.default_rng(2)
    for page in written:
        top, left = rng.integers(0, 200, 2)
        height, width = rng.integers(150, 312, 2)
        y, x = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)
        across, down = rng.uniform(-1, 1, 2)
        light = 0.35 + 0.65 * (0.5 + 0.5 * (x * across + y * down))
        part = gaussian_filter(
            page[top : top + height, left : left + width].astype(float), (rng.uniform(0.4, 1.6),) * 2 + (0,)
        )
        yield (part * light[..., None] + rng.normal(0, 3, part.shape)).clip(0, 255).astype(np.uint8)


def stars() -> Iterator[np.ndarray]:
    """Stars and galaxies of many sizes and colours on a black sky: no nuclei, though they glow like some."""
    rng = np.random.default_rng(3)
    for size in (256, 512) * 7:
        sky = rng.normal(0, 0.02, (size, size, 3))
        y, x = np.mgrid[:size, :size]
        for row, column in rng.uniform(0, size, (rng.integers(40, 260), 2)):
            width, flatness, angle = 0.5 + rng.exponential(1.2), rng.uniform(0.4, 1), rng.uniform(0, np.pi)
            reach = int(6 * width) + 2
            here = tuple(slice(max(0, int(at) - reach), int(at) + reach) for at in (row, column))
            down, across = y[here] - row, x[here] - column
            along = across * np.cos(angle) + down * np.sin(angle)
            aside = (down * np.cos(angle) - across * np.sin(angle)) / flatness
            glow = np.exp(-(along**2 + aside**2) / (2 * width**2))
            sky[here] += glow[..., None] * rng.uniform(0.5, 1, 3) * rng.exponential(0.35)
        yield (sky.clip(0, 1) * 255).astype(np.uint8)


def moons() -> Iterator[np.ndarray]:
    """Ground full of craters, lit from one side, half of it cut to a disc."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:512, :512]
    for number in range(10):
        ground = sum(gaussian_filter(rng.normal(size=(512, 512)), grain) * grain for grain in (1, 2, 4, 8, 16))
        for row, column, more in zip(*rng.uniform(0, 512, (2, 60)), rng.exponential(10, 60), strict=True):
            radius = 3 + more
            here = tuple(slice(max(0, int(at - 1.3 * radius)), int(at + 1.3 * radius) + 2) for at in (row, column))
            far = np.hypot(y[here] - row, x[here] - column) / radius
            ground[here] += np.where(far < 1.3, (far**2 - 1).clip(-1, 0.4) * radius / 4, 0)
        down, across = np.gradient(ground)
        lit = across * rng.uniform(-1, 1) + down * rng.uniform(-1, 1)
        disc = np.hypot(y - 256, x - 256) < (rng.uniform(180, 250) if number % 2 else 512)
        yield shades((0.5 + 0.1 * lit / lit.std()) * disc)


def shades(values: np.ndarray) -> np.ndarray:
    """Values (H, W) in [0, 1] as grey."""
    return (values.clip(0, 1) * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
