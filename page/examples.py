"""Example pictures for every task; nothing is downloaded.

The cat comes inside the scikit-image wheel; the others are computed at the first start and kept in the user's cache.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import PIL
import scipy
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage

from page.pictures import data_uri
from segmenter.files import keep_newest, user_cache, write_whole

THUMBNAIL_WH = (232, 168)
LAKES_SEED = 4
HASH_BYTES = 32
MOST_KEPT = 3  # sets of computed pictures, of which other versions have others


@dataclass(frozen=True)
class Example:
    """A picture to try: ``task`` is the name of the task that it suits, ``path`` its file."""

    task: str
    title: str
    path: str

    def thumbnail(self) -> str:
        """The picture, cut to one small size, as a data URI."""
        image: Image.Image = Image.open(self.path)
        if image.mode.startswith("I;16"):
            deep = np.asarray(image).astype(np.float32)
            image = Image.fromarray((deep / deep.max() * 255).astype(np.uint8))
        image = image.convert("RGB")
        side = min(image.width / THUMBNAIL_WH[0], image.height / THUMBNAIL_WH[1])
        width, height = THUMBNAIL_WH[0] * side, THUMBNAIL_WH[1] * side
        left, top = (image.width - width) / 2, (image.height - height) / 2
        return data_uri(image.resize(THUMBNAIL_WH, Image.Resampling.LANCZOS, (left, top, left + width, top + height)))


@lru_cache(maxsize=1)
def examples() -> tuple[Example, ...]:
    """All example pictures, written once into a folder that goes when the program ends."""
    from skimage.data import data_dir

    place = folder()
    pictures: tuple[tuple[str, str, str, str | Callable[[], Image.Image]], ...] = (
        ("pets", "Cat", "cat.png", "chelsea.png"),
        ("water", "Lakes", "lakes.png", lakes),
        ("water", "River", "river.png", river),
        ("nuclei", "Fluorescence", "fluorescence-16-bit.tif", fluorescence),
        ("nuclei", "Tissue", "tissue.png", tissue),
        ("cars", "Street", "street.png", street),
    )
    for _, _, name, source in pictures:
        content = drawn(name, source) if callable(source) else (Path(data_dir) / source).read_bytes()
        (place / name).write_bytes(content)
    return tuple(Example(task, title, str(place / name)) for task, title, name, _ in pictures)


def cache_folder() -> Path:
    """Where computed pictures are kept, by what they are computed with."""
    maker = Path(__file__).read_bytes() + f"{np.__version__} {scipy.__version__} {PIL.__version__}".encode()
    return user_cache() / "drawn" / hashlib.sha256(maker).hexdigest()[:16]


def drawn(name: str, draw: Callable[[], Image.Image]) -> bytes:
    """A computed picture as a file, from the cache if it is whole there, behind its hash. It is kept where that can be
    written."""
    kept = cache_folder() / name
    with suppress(OSError):
        known = kept.read_bytes()
        if _hash(known[HASH_BYTES:]) == known[:HASH_BYTES]:
            return known[HASH_BYTES:]
    file = io.BytesIO()
    draw().save(file, Path(name).suffix[1:].replace("tif", "tiff"), compress_level=1)  # nobody downloads it
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_whole(kept, _hash(file.getvalue()) + file.getvalue())
        keep_newest(kept.parent.parent, MOST_KEPT)
    return file.getvalue()


def _hash(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


@lru_cache(maxsize=1)
def _keeper() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="segmenter-examples-")


def folder() -> Path:
    """Where the files of examples are, below the folder of which Gradio may give files away."""
    return Path(_keeper().name)


def _clouds(random: np.random.Generator, side: int, scale: float, octaves: int = 5) -> np.ndarray:
    """Fractal noise (side, side) float with mean 0 and deviation 1; ``scale`` is its largest blob in pixels."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    total = np.zeros((side, side))
    for octave in range(octaves):
        blur = np.exp(-2 * (np.pi * frequency * scale / 2**octave) ** 2)  # a Gaussian's, whose edges meet
        noise = np.fft.irfft2(np.fft.rfft2(random.standard_normal((side, side))) * blur)
        total += noise / noise.std() / 2**octave
    return (total - total.mean()) / total.std()


def _satellite(water: np.ndarray, random: np.random.Generator) -> Image.Image:
    """A hazy picture as from a satellite; ``water`` float (side, side) is positive where water stands, by depth."""
    side = water.shape[0]
    seeds = random.integers(0, side, (2, 300))
    markers = np.zeros((side, side), int)
    markers[seeds[0], seeds[1]] = np.arange(1, 301)
    nearest = ndimage.distance_transform_edt(markers == 0, return_distances=False, return_indices=True)
    field = markers[tuple(nearest)]
    fields = np.array([(146, 142, 118), (158, 148, 124), (166, 150, 130), (134, 134, 104), (178, 166, 146)], float)
    farmed = fields[random.integers(0, 5, 301)][field]
    forest = np.array([106, 112, 88]) + 14 * _clouds(random, side, 2, 2)[..., None]
    wooded = (_clouds(random, side, 16) > 0.9)[..., None]
    land = np.where(wooded, forest, farmed) + 9 * _clouds(random, side, 2, 2)[..., None]
    deep = np.array([26, 58, 82]) + np.array([8, 18, 16]) * np.exp(-6 * water.clip(0))[..., None]
    shore = ndimage.gaussian_filter((water > 0).astype(float), 0.8)[..., None]
    pixels = land * (1 - shore) + deep * shore + 2 * random.standard_normal((side, side, 1))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def lakes() -> Image.Image:
    """Lakes of ragged shores among fields and woods."""
    random = np.random.default_rng(LAKES_SEED)
    return _satellite(_lake_depth(random), random)


def _lake_depth(random: np.random.Generator, side: int = 512) -> np.ndarray:
    return _clouds(random, side, 70) - 0.75


def lakes_truth(folder: Path) -> tuple[Path, Path]:
    """The picture of the lakes and its true mask, white where water was drawn, as two files in a folder."""
    picture, truth = folder / "lakes.png", folder / "lakes-true-mask.png"
    water = _lake_depth(np.random.default_rng(LAKES_SEED)) > 0
    picture.write_bytes(drawn("lakes.png", lakes))
    Image.fromarray(water.astype(np.uint8) * 255).save(truth)
    return picture, truth


def river(side: int = 512) -> Image.Image:
    """A winding river among fields and woods."""
    random = np.random.default_rng(12)
    rows, columns = np.mgrid[:side, :side] / side
    middle = 0.5 + 0.2 * np.sin(2 * np.pi * columns * 1.1) + 0.05 * np.sin(2 * np.pi * columns * 3.1 + 1)
    width = 0.055 + 0.012 * _clouds(random, side, 50, 4)
    return _satellite((width - abs(rows - middle)) * 8, random)


def _nuclei(random: np.random.Generator, side: int, count: int) -> np.ndarray:
    """Soft ellipses float (side, side) from 0 beside them to 0.45 and more, at most 1, in their middle."""
    rows, columns = np.mgrid[:side, :side].astype(float)
    light = np.zeros((side, side))
    for _ in range(count):
        y, x = random.uniform(0, side, 2)
        long, short = random.uniform(14, 22), random.uniform(10, 15)
        turn = random.uniform(0, np.pi)
        here = tuple(slice(max(0, int(middle) - 40), int(middle) + 40) for middle in (y, x))
        right, down = columns[here] - x, rows[here] - y
        across, along = right * np.cos(turn) + down * np.sin(turn), down * np.cos(turn) - right * np.sin(turn)
        edge = 1 + np.exp(14 * (np.hypot(across / long, along / short) - 1))
        light[here] = np.maximum(light[here], random.uniform(0.45, 1) / edge)
    return light


def fluorescence(side: int = 512) -> Image.Image:
    """Stained nuclei on black, 16 bits deep as a microscope's camera saves them."""
    random = np.random.default_rng(7)
    light = _nuclei(random, side, 70)
    light *= 1 + 0.12 * _clouds(random, side, 5, 3)
    light = ndimage.gaussian_filter(light, 1.2) + 0.04 + 0.012 * random.standard_normal((side, side))
    return Image.fromarray((light.clip(0, 1.4) * 9000).astype(np.uint16))


def tissue(side: int = 512) -> Image.Image:
    """Nuclei in tissue, blue with haematoxylin among fibres red with eosin; what the dyes absorb is by Ruifrok and
    Johnston (Analytical and Quantitative Cytology and Histology, 2001)."""
    from skimage.color.colorconv import rgb_from_hed

    random = np.random.default_rng(5)
    nuclei = _nuclei(random, side, 110) * (1 + 0.25 * _clouds(random, side, 4, 3))
    fibres = 0.32 + 0.1 * _clouds(random, side, 40, 6) + 0.05 * _clouds(random, side, 6, 3)
    dyes = np.stack([0.1 + nuclei, (fibres * (1 - 0.5 * nuclei)).clip(0.05)], axis=-1)
    dyes = ndimage.gaussian_filter(dyes, (0.8, 0.8, 0))
    absorbed = dyes @ rgb_from_hed[:2]
    pixels = 245 * np.exp(-absorbed) + 3 * random.standard_normal((side, side, 1))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


CAR_BODY = (
    (148, 430), (150, 398), (168, 372), (262, 352), (300, 346), (352, 298), (384, 282), (470, 274), (560, 278),
    (612, 292), (676, 344), (742, 354), (776, 372), (786, 402), (784, 434), (760, 446), (172, 446),
)  # fmt: skip
CAR_WINDOWS = (
    ((322, 346), (366, 304), (392, 293), (450, 288), (450, 346)),
    ((464, 346), (464, 287), (550, 290), (590, 300), (640, 346)),
)
WHEELS = ((272, 442), (664, 442))
WHEEL_RADIUS = 46


def street(width: int = 960, height: int = 600) -> Image.Image:
    """A parked car seen from its side before houses."""
    random = np.random.default_rng(3)
    scene = _houses(random, width, height)
    shadow = Image.new("L", scene.size)
    ImageDraw.Draw(shadow).ellipse((130, 462, 810, 506), fill=190)
    scene.paste((22, 22, 26), mask=shadow.filter(ImageFilter.GaussianBlur(9)))
    body = Image.new("L", scene.size)
    ImageDraw.Draw(body).polygon(CAR_BODY, fill=255)
    outline = body.filter(ImageFilter.GaussianBlur(7)).point(lambda value: 255 if value > 127 else 0)
    scene.paste(_paint(width, height), mask=outline.filter(ImageFilter.GaussianBlur(1)))
    drawing = ImageDraw.Draw(scene)
    for window in CAR_WINDOWS:
        drawing.polygon(window, fill=(40, 48, 56))
        drawing.line([*window, window[0]], fill=(22, 24, 28), width=4, joint="curve")
    drawing.polygon(((330, 344), (372, 304), (392, 300), (352, 344)), fill=(92, 108, 120))
    drawing.polygon(((500, 344), (520, 290), (546, 291), (526, 344)), fill=(76, 90, 102))
    for x in (457, 636):
        drawing.line(((x, 352), (x - 4, 436)), fill=(104, 18, 20), width=2)
    drawing.rounded_rectangle((474, 366, 506, 373), 3, fill=(210, 205, 205))
    drawing.polygon(((150, 396), (164, 376), (196, 372), (190, 392)), fill=(238, 236, 214))
    drawing.polygon(((784, 392), (774, 372), (752, 368), (758, 392)), fill=(120, 12, 16))
    drawing.rounded_rectangle((146, 424, 210, 440), 5, fill=(40, 40, 44))
    drawing.rounded_rectangle((726, 424, 788, 440), 5, fill=(40, 40, 44))
    for x, y in WHEELS:
        for radius, fill in ((54, 16), (WHEEL_RADIUS, 30), (31, 168), (25, 120), (9, 190)):
            drawing.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(fill, fill, fill + 4))
        for turn in np.arange(5) * 2 * np.pi / 5:
            tip = (x + 28 * np.sin(turn), y + 28 * np.cos(turn))
            drawing.line(((x, y), tip), fill=(196, 196, 200), width=8)
    grain = random.normal(0, 5, (height, width, 1))
    soft = np.asarray(scene.filter(ImageFilter.GaussianBlur(0.8)), float)
    return Image.fromarray((soft + grain).clip(0, 255).astype(np.uint8))


def _paint(width: int, height: int) -> Image.Image:
    """Red paint lit from above."""
    rows = np.arange(height)[:, None]
    light = np.interp(rows, [270, 350, 372, 410, 446], [1.15, 1.0, 1.35, 0.8, 0.45])[..., None]
    pixels = np.array([176, 30, 34]) * np.repeat(light, width, axis=1) + 18 * (light > 1.2)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _houses(random: np.random.Generator, width: int, height: int) -> Image.Image:
    """A street out of focus: sky, fronts with windows, pavement and asphalt."""
    scene = Image.new("RGB", (width, height), (176, 200, 222))
    drawing = ImageDraw.Draw(scene)
    left = 0
    while left < width:
        front = int(random.integers(150, 240))
        colour = tuple(int(value) for value in random.integers(130, 190) + random.integers(-14, 15, 3) + (8, 2, -8))
        drawing.rectangle((left, int(random.integers(10, 70)), left + front, 400), fill=colour)
        for x in range(left + 18, left + front - 44, 56):
            for y in range(90, 340, 84):
                drawing.rectangle((x, y, x + 32, y + 50), fill=(86, 98, 112))
        left += front
    drawing.rectangle((0, 396, width, 440), fill=(164, 160, 154))
    drawing.rectangle((0, 440, width, height), fill=(92, 93, 97))
    drawing.rectangle((0, 438, width, 446), fill=(136, 134, 130))
    scene = scene.filter(ImageFilter.GaussianBlur(3))
    texture = random.normal(0, 9, (height, width, 1)) * (np.arange(height) > 396)[:, None, None]
    return Image.fromarray((np.asarray(scene, float) + texture).clip(0, 255).astype(np.uint8))
