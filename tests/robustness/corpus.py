"""Strange pictures by kind, and what must come of each: a mask of its size, or one sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image, PngImagePlugin

from .files import (
    HEIGHT,
    WIDTH,
    black_png,
    bmp_header,
    cmyk_of_adobe,
    encode,
    endless_deflate,
    gif_header,
    jpeg_header,
    many_scans,
    packed,
    photo,
    png,
    same_bytes,
    strip_that_grows,
    tags_of_jpeg,
    tiff,
    tiff_claim,
    tiff_tags,
    webp_header,
)

GOOD = (WIDTH, HEIGHT)
ANY = (-1, -1)  # either is right: decoders differ in how much of a damaged file they make out


@dataclass(frozen=True)
class Kind:
    """One kind of file: its ``name``, how to ``make`` its bytes, and the size (width, height) of its mask; None where
    it is refused in a sentence that ``says`` these words, ANY where both will do. ``heavy`` ones take seconds."""

    name: str
    make: Callable[[], bytes]
    size_wh: tuple[int, int] | None = GOOD
    says: str = ""
    heavy: bool = False


def _float(value: float) -> np.ndarray:
    values = np.linspace(0, 1, WIDTH * HEIGHT, dtype=np.float32).reshape(HEIGHT, WIDTH).copy()
    values[:4] = value
    return values


def _noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(1).integers(0, np.iinfo(dtype).max, shape, dtype)


def _packed_bands(dtype: type, **options: Any) -> bytes:
    """Four bands as programs for maps write them."""
    bands = (_noise(HEIGHT, WIDTH, 4, dtype=np.uint16) >> 2).astype(dtype)
    return tiff(bands, photometric="minisblack", planarconfig="contig", **options)


def _oriented(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(photo(), "JPEG", exif=exif)


def _animated(kind: str) -> bytes:
    frames = [photo("P" if kind == "GIF" else "RGB"), Image.new("RGB", GOOD, "red")]
    return encode(frames[0], kind, save_all=True, append_images=frames[1:] * 3)


def _text(letters: int) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "A" * letters, zip=True)
    return info


def _half_transparent() -> Image.Image:
    image = photo("P")
    image.info["transparency"] = bytes(range(256))
    return image


def _turned(data: bytes, at: int) -> bytes:
    """The file with a stretch of its bytes inverted."""
    return data[:at] + bytes(255 - byte for byte in data[at : at + 16]) + data[at + 16 :]


def _cut(kind: str, tenth: int) -> bytes:
    data = encode(photo(), kind)
    return data[: len(data) * tenth // 10]


HTML = b"<!doctype html><script>alert(1)</script>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://127.0.0.1/secret"/></svg>'
ENTITIES = b'<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg>&a;</svg>'
PROFILE = b"\xff\xe2" + (18).to_bytes(2, "big") + b"ICC_PROFILE\0\1\1ab"

NO_PICTURE = "is not a picture"
MEGAPIXELS = "megapixels"

KINDS: tuple[Kind, ...] = (
    # Not pictures at all
    Kind("empty.jpg", lambda: b"", None, "is an empty file"),
    Kind("one-byte.png", lambda: b"\x89", None, NO_PICTURE),
    Kind("zeros.png", lambda: bytes(10_000), None, NO_PICTURE),
    Kind("noise.jpg", lambda: _noise(10_000).tobytes(), None, NO_PICTURE),
    Kind("html.jpg", lambda: HTML, None, NO_PICTURE),
    Kind("svg.jpg", lambda: SVG, None, NO_PICTURE),
    Kind("entities.png", lambda: ENTITIES, None, NO_PICTURE),
    Kind("postscript.jpg", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", None, NO_PICTURE),
    Kind("document.jpg", lambda: b"%PDF-1.7\n%%EOF", None, NO_PICTURE),
    Kind("icon.png", lambda: encode(photo(), "ICO"), None, NO_PICTURE),
    Kind("netpbm.png", lambda: encode(photo(), "PPM"), None, NO_PICTURE),
    Kind("jpeg-2000.jpg", lambda: encode(photo(), "JPEG2000"), None, NO_PICTURE),
    Kind("targa.jpg", lambda: encode(photo(), "TGA"), None, NO_PICTURE),
    Kind("archive.jpg", lambda: packed({"a.png": b"x"}), None, NO_PICTURE),
    Kind("pickle.png", lambda: b"\x80\x04cos\nsystem\n(S'true'\ntR.", None, NO_PICTURE),
    # Another ending than the content has
    Kind("png-inside.jpg", lambda: encode(photo(), "PNG")),
    Kind("jpeg-inside.tif", lambda: encode(photo(), "JPEG")),
    Kind("tail.jpg", lambda: encode(photo(), "JPEG") + packed({"a.txt": b"x"})),
    # Headers that claim what is not there
    Kind("huge.png", lambda: png(100_000, 100_000, (b"IDAT", b"")), None, MEGAPIXELS),
    Kind("huge.bmp", lambda: bmp_header(100_000, 100_000), None, MEGAPIXELS),
    Kind("huge.gif", lambda: gif_header(65_000, 65_000), None, MEGAPIXELS),
    Kind("huge.webp", lambda: webp_header(16_000, 16_000), None),
    Kind("huge.jpg", lambda: jpeg_header(65_000, 65_000), None, MEGAPIXELS),
    Kind("huge.tif", lambda: tiff_claim(100_000, 100_000), None, MEGAPIXELS),
    Kind("just-too-large.png", lambda: black_png(7200), None, "the limit is 50"),
    Kind("wide-claim.png", lambda: png(2**31 - 1, 1, (b"IDAT", b"")), None, MEGAPIXELS),
    Kind("no-pixel.png", lambda: png(0, 10, (b"IDAT", b"")), None),
    Kind("negative.bmp", lambda: bmp_header(-5, 10), None),
    Kind("header-only.png", lambda: png(WIDTH, HEIGHT), None),
    Kind("header-only.tif", lambda: tiff_claim(200, 200), ANY),
    # Little that unpacks to much
    Kind("bomb.png", lambda: black_png(7000), (7000, 7000), heavy=True),
    Kind("text-bomb.png", lambda: encode(photo(), "PNG", pnginfo=_text(100_000_000)), ANY),
    Kind("profile-bomb.png", lambda: encode(photo(), "PNG", icc_profile=bytes(50_000_000)), ANY),
    Kind("bomb.tif", lambda: tiff(np.zeros((6000, 8000), np.uint16), compression="zlib"), (8000, 6000), heavy=True),
    Kind(
        "bands-bomb.tif",
        lambda: tiff(
            np.zeros((1500, 1500, 100), np.uint16), compression="zlib", photometric="minisblack", planarconfig="contig"
        ),
        None,
        "save three of its bands",
        heavy=True,
    ),
    Kind("tags.tif", lambda: same_bytes(2_000, 1_000_000), None, "the same bytes again and again"),
    Kind("tags.png", lambda: encode(photo(), "PNG", exif=same_bytes(2_000, 1_000_000))),
    Kind("tags.webp", lambda: encode(photo(), "WEBP", exif=same_bytes(2_000, 1_000_000))),
    Kind("tags.jpg", lambda: tags_of_jpeg(same_bytes(2_500, 30_000))),
    Kind("strip-bomb.tif", lambda: strip_that_grows(8, endless_deflate(1_500)), None, "cannot be decoded", heavy=True),
    Kind("lzw-bomb.tif", lambda: strip_that_grows(5, imagecodecs.lzw_encode(bytes(50_000_000))), (16, 16), heavy=True),
    Kind("zstd-bomb.tif", lambda: strip_that_grows(50_000, imagecodecs.zstd_encode(bytes(50_000_000))), None),
    Kind("tile-bomb.tif", lambda: tiff_claim(200, 200, (322, 4, 1, 60_000), (323, 4, 1, 60_000)), None),
    Kind("scans.jpg", lambda: many_scans(4_000, 3_000), None, "more than 100 scans"),
    # Damaged
    *(
        Kind(f"cut-{tenth}0.{kind.lower()}", lambda kind=kind, tenth=tenth: _cut(kind, tenth), None)
        for kind in ("JPEG", "PNG", "WEBP")
        for tenth in range(1, 10)
    ),
    *(Kind(f"cut-{tenth}0.tif", lambda tenth=tenth: _cut("TIFF", tenth), ANY) for tenth in range(1, 10)),
    *(Kind(f"cut-{tenth}0.gif", lambda tenth=tenth: _cut("GIF", tenth), ANY) for tenth in range(1, 10)),
    Kind("turned.png", lambda: _turned(encode(photo(), "PNG"), 200), ANY),
    Kind("turned.jpg", lambda: _turned(encode(photo(), "JPEG"), 700), ANY),
    Kind("endless-directories.tif", lambda: tiff_claim(8, 8, following=8), ANY),
    Kind("many-values.tif", lambda: tiff_claim(8, 8, (320, 3, 2**31, 8)), ANY),
    Kind("no-entries.tif", lambda: tiff_tags(), None),
    Kind("strips-outside.tif", lambda: tiff_claim(8, 8, (273, 4, 1, 2**31)), ANY),
    Kind("unknown-compression.tif", lambda: tiff_claim(8, 8, (259, 3, 1, 34_999)), None),
    # Metadata
    Kind("exif-garbage.jpg", lambda: encode(photo(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")),
    Kind("exif-noise.png", lambda: encode(photo(), "PNG", exif=_noise(500).tobytes())),
    Kind("profile-garbage.jpg", lambda: encode(photo(), "JPEG")[:2] + PROFILE + encode(photo(), "JPEG")[2:]),
    Kind("profile-garbage.png", lambda: encode(photo(), "PNG", icc_profile=b"no profile at all")),
    *(
        Kind(f"turned-{n}.jpg", lambda n=n: _oriented(n), GOOD if n < 5 else (HEIGHT, WIDTH))  # EXIF 2.32, tag 0x0112
        for n in range(1, 9)
    ),
    Kind("turned-99.jpg", lambda: _oriented(99)),
    # Colours and depths
    Kind("cmyk.jpg", lambda: cmyk_of_adobe(0)),
    Kind("ycck.jpg", lambda: cmyk_of_adobe(2)),
    Kind("cmyk.tif", lambda: encode(photo("CMYK"), "TIFF")),
    Kind("lab.tif", lambda: encode(photo("LAB"), "TIFF")),
    Kind("palette.png", lambda: encode(photo("P"), "PNG")),
    Kind("palette-transparent.png", lambda: encode(_half_transparent(), "PNG")),
    Kind("transparent.webp", lambda: encode(photo("RGBA"), "WEBP", lossless=True)),
    Kind("grey-alpha.png", lambda: encode(photo("LA"), "PNG")),
    Kind("one-bit.png", lambda: encode(photo("1"), "PNG")),
    Kind("one-bit.tif", lambda: encode(photo("1"), "TIFF", compression="group4")),
    Kind("16-bit.png", lambda: encode(_noise(HEIGHT, WIDTH, dtype=np.uint16), "PNG")),
    Kind("16-bit.tif", lambda: tiff(_noise(HEIGHT, WIDTH, 3, dtype=np.uint16), photometric="rgb")),
    Kind("lzw.tif", lambda: tiff(_noise(HEIGHT, WIDTH, 3, dtype=np.uint16), photometric="rgb", compression="lzw")),
    Kind("predicted.tif", lambda: _packed_bands(np.uint16, compression="lzw", predictor=True)),
    Kind("predicted-decimals.tif", lambda: _packed_bands(np.float32, compression="zlib", predictor=True)),
    Kind("zstd.tif", lambda: _packed_bands(np.uint16, compression="zstd", tile=(16, 32))),
    Kind("packbits.tif", lambda: _packed_bands(np.int16, compression="packbits")),
    Kind("32-bit.tif", lambda: tiff(_noise(HEIGHT, WIDTH, dtype=np.uint32))),
    Kind("64-bit.tif", lambda: tiff(_noise(HEIGHT, WIDTH, dtype=np.uint64))),
    Kind("nan.tif", lambda: tiff(_float(np.nan))),
    Kind("infinite.tif", lambda: tiff(_float(np.inf))),
    Kind("minus-infinite.tif", lambda: tiff(_float(-np.inf))),
    Kind("all-nan.tif", lambda: tiff(np.full((HEIGHT, WIDTH), np.nan, np.float32))),
    Kind("enormous.tif", lambda: tiff(_float(3e38) * np.sign(_float(-1.0)))),
    Kind("double.tif", lambda: tiff(_float(0.5).astype(np.float64) * 1e300)),
    Kind("half.tif", lambda: tiff(_float(0.5).astype(np.float16))),
    Kind("complex.tif", lambda: tiff(_float(0.5).astype(np.complex64)), None, "complex64"),
    # Shapes of files
    Kind("two-bands.tif", lambda: tiff(_noise(HEIGHT, WIDTH, 2), photometric="minisblack", planarconfig="contig")),
    Kind("many-bands.tif", lambda: tiff(_noise(12, HEIGHT, WIDTH), photometric="minisblack", planarconfig="separate")),
    Kind("pages.tif", lambda: tiff(_noise(5, HEIGHT, WIDTH), photometric="minisblack")),
    Kind("big.tif", lambda: tiff(_noise(HEIGHT, WIDTH, 3), photometric="rgb", bigtiff=True)),
    Kind("tiles.tif", lambda: tiff(_noise(HEIGHT, WIDTH, 3), photometric="rgb", tile=(16, 16))),
    Kind("animated.gif", lambda: _animated("GIF")),
    Kind("animated.webp", lambda: _animated("WEBP")),
    Kind("animated.png", lambda: _animated("PNG")),
    Kind("progressive.jpg", lambda: encode(photo(), "JPEG", progressive=True)),
    Kind("many-frames.gif", lambda: encode(photo("P"), "GIF", save_all=True, append_images=[photo("P")] * 300)),
    # Sizes and contents
    Kind("dot.png", lambda: encode(Image.new("RGB", (1, 1)), "PNG"), (1, 1)),
    Kind("upright-line.png", lambda: encode(Image.new("RGB", (1, 20_000)), "PNG"), (1, 20_000)),
    Kind("line.png", lambda: encode(Image.new("RGB", (20_000, 1), "white"), "PNG"), (20_000, 1)),
    Kind("upright-hair.png", lambda: encode(Image.new("RGB", (1, 70_000)), "PNG"), (1, 70_000)),
    Kind("hair.png", lambda: encode(Image.new("RGB", (70_000, 1)), "PNG"), (70_000, 1)),
    Kind("black.png", lambda: encode(Image.new("RGB", GOOD), "PNG")),
    Kind("white.png", lambda: encode(Image.new("RGB", GOOD, "white"), "PNG")),
)

# Names that a good picture may come with.
NAMES = (
    "new\nline.png",
    "tab\there.png",
    "\"quotes' `and` ticks.png",
    "emoji 🐈.png",
    "<script>alert(1)</script>.png",
    "<img src=x onerror=alert(1)>.png",
    "=1+1.png",
    "+1.png",
    "-1.png",
    "@SUM(A1).png",
    "..png",
    "a..b.png",
    "spaces  .png",
    "right-to-left\u202egnp.png",
    "%2e%2e%2fetc.png",
    "C:\\windows\\system32.png",
    "$(touch x).png",
    "ünïcödé 漢字.png",
    "x" * 200 + ".png",
)


@cache
def content(kind: Kind) -> bytes:
    return kind.make()


def judge(kind: Kind, size_wh: tuple[int, int] | None, message: str = "") -> None:
    """Assert that what came of a kind is right: a mask's size, or a ``message`` where there is no mask."""
    if size_wh is None:
        assert kind.size_wh in (None, ANY), f"{kind.name} was refused: {message}"
        assert kind.says in message, message
        assert_sentence(message)
    else:
        assert kind.size_wh in (size_wh, ANY), f"{kind.name} gave a mask of {size_wh}"


def assert_sentence(message: str) -> None:
    """One sentence, in one line, without the inside of the program in it."""
    assert message.endswith(".") and "\n" not in message and len(message) < 400, message
    assert not any(word in message for word in ("Traceback", "Error(", "site-packages", "/tmp", "0x")), message
