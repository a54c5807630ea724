"""Any picture, safely, to one form: an RGB uint8 array of shape (H, W, 3)."""

from __future__ import annotations

import contextlib
import io
import os
import stat
from pathlib import Path
from typing import Union

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from segmenter.bombs import BOUNDED, BombError, check_scans, check_segments, check_tiles
from segmenter.deep import (
    EXTRA_SAMPLES,
    MULTIPLIED,
    ORIENTATION,
    PHOTOMETRIC,
    PRINTED,
    TAGS,
    WHITE_IS_ZERO,
    is_opacity,
    no_data_of,
    over_white,
    page_as_shown,
    stretch,
)

ImageSource = Union[str, "os.PathLike[str]", bytes, Image.Image, np.ndarray]

MAX_PIXELS = 50_000_000
# Importing a plugin registers it; the formats of no other plugin are ever opened.
# MPO, the JPEG of some phones, comes with JPEG's.
PLUGINS = (
    JpegImagePlugin.JpegImageFile,
    PngImagePlugin.PngImageFile,
    WebPImagePlugin.WebPImageFile,
    BmpImagePlugin.BmpImageFile,
    GifImagePlugin.GifImageFile,
    TiffImagePlugin.TiffImageFile,
)
FORMATS = tuple(plugin.format for plugin in PLUGINS)
SUFFIXES = (".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
FORMAT_NAMES = "JPEG, PNG, WebP, BMP, GIF or TIFF"
NARROWEST = 32  # pixels: what is narrower takes as much time and memory as what is so wide
PIXEL_BYTES = 24  # a TIFF's pixel may take three values of 64 bits; more bands than that fill the memory
MAX_BYTES = 400_000_000  # of a file, and of a TIFF when decoded; 50 megapixels of three values of 16 bits are 300 MB

LEAST_HIGH_BYTE = 64  # below it, too few of the 16 bits are left of a PNG in colour


class ImageError(ValueError):
    """The input is not a picture that can be read; its message is one sentence for people."""


def read_image(source: ImageSource, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a picture from a path, bytes, a PIL image or an array.

    Returns a contiguous RGB uint8 array (H, W, 3), a copy unless it came as one that is read-only: EXIF rotation
    applied, the first frame of a sequence, transparency over white, 16-bit and float values stretched between
    percentiles (see ``segmenter.deep``), in which NaN and what a TIFF names as its no-data value become black.

    Raises ImageError, with one sentence, for everything that is not such a picture, that has
    more than ``max_pixels`` pixels by its header, or that is a file of more than MAX_BYTES. Of files Pillow refuses
    what has more than twice its own MAX_IMAGE_PIXELS, by default 179 million; arrays may be larger.
    """
    if isinstance(source, np.ndarray):
        return _check_array(source, max_pixels)
    if isinstance(source, Image.Image):
        _check_size(source.size, max_pixels)
        return _decode(source, "the picture")
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _read_bytes(bytes(source), "the upload", max_pixels)
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        try:
            data = read_file(path)
        except ImageError:
            raise
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ImageError(f"{_shown(path)} cannot be read ({reason}); give the path of a picture.") from error
        return _read_bytes(data, _shown(path), max_pixels)
    raise ImageError(
        f"a {type(source).__name__} is not a picture; give a path, bytes, a PIL image or an (H, W, 3) uint8 array."
    )


def read_file(path: Path) -> bytes:
    """The bytes of a file; OSError as in ``Path.read_bytes``. What has no end, or ends too late, is not begun."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise ImageError(f"{_shown(path)} is a device or a pipe and no file; give the path of a picture.")
    _check_bytes(found.st_size, _shown(path))
    return path.read_bytes()


def _check_bytes(count: int, name: str) -> None:
    if count > MAX_BYTES:
        raise ImageError(f"{name} has {count / 1e6:.0f} MB, the limit is {MAX_BYTES / 1e6:g}; make it smaller.")


def _shown(path: Path) -> str:
    """The file's name in quotes, cut in its middle where it would fill a message."""
    name = path.name
    return repr(name if len(name) <= 80 else f"{name[:50]}...{name[-20:]}")


def _check_array(array: np.ndarray, max_pixels: int) -> np.ndarray:
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or 0 in array.shape:
        raise ImageError(
            f"the array has shape {array.shape} and type {array.dtype}; give (H, W, 3) and uint8, "
            "with at least one pixel."
        )
    _check_size((array.shape[1], array.shape[0]), max_pixels)
    return np.array(array, order="C") if array.flags.writeable else np.ascontiguousarray(array)


def _check_size(size_wh: tuple[int, int], max_pixels: int) -> None:
    width, height = size_wh
    if width * height > max_pixels:
        raise ImageError(
            f"the picture is {width} x {height}, {width * height / 1e6:.0f} megapixels; "
            f"the limit is {max_pixels / 1e6:g}: make it smaller or cut it into parts."
        )
    if max(width, NARROWEST) * max(height, NARROWEST) > max(max_pixels, MAX_PIXELS):
        raise ImageError(
            f"the picture is {width} x {height}, a strip far too long for its {min(width, height)} pixels; cut it into "
            "parts."
        )
    if width * height == 0:
        raise ImageError(f"the picture is {width} x {height} and holds no pixel; choose another one.")


def _read_bytes(data: bytes, name: str, max_pixels: int) -> np.ndarray:
    _check_bytes(len(data), name)
    if not data:
        raise ImageError(f"{name} is an empty file; choose a {FORMAT_NAMES} picture.")
    try:
        image = open_image(data)
    except BombError as error:
        raise _refused(name, error) from error
    except UnidentifiedImageError:
        if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _read_deep_tiff(data, name, max_pixels)
        raise ImageError(f"{name} is not a picture that can be read; choose a {FORMAT_NAMES} file.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        limit = min(max_pixels, 2 * (Image.MAX_IMAGE_PIXELS or max_pixels))
        raise ImageError(
            f"{name} claims more than {limit / 1e6:.0f} megapixels, the limit; make it smaller or give an array."
        ) from None
    except Exception as error:  # a damaged header raises whatever its decoder meets first
        raise _damaged(name) from error
    with image:
        _check_size(image.size, max_pixels)
        if image.format == "TIFF" and _is_for_tifffile(image):
            return _read_deep_tiff(data, name, max_pixels)
        # The bits of a PNG's values, and what they are: 0 is grey, which is read deep.
        deep = image.format == "PNG" and data[24] == 16 and data[25] != 0
        return _decode(image, name, high_bytes=deep)


def open_image(data: bytes) -> Image.Image:
    """Pillow's image of a file of one of FORMATS, its pixels not read yet; raises as ``Image.open`` does, and BombError
    for a small file that would take much memory or time."""
    check_scans(data)
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    if image.format == "TIFF":
        check_tiles(image)
    return image


def _damaged(name: str) -> ImageError:
    return ImageError(f"{name} is damaged or incomplete; save or download it again.")


def _refused(name: str, error: BombError) -> ImageError:
    return ImageError(f"{name} {error}; {error.way_out}.")


def _is_for_tifffile(image: Image.Image) -> bool:
    """Pillow would cut several bands of 16 bits down to their high bytes, and divide colours that are multiplied by
    their opacity by a band that may be none."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    bits = tags.get(258, (1,))  # BitsPerSample
    multiplied = MULTIPLIED in np.ravel(tags.get(EXTRA_SAMPLES, ())) and tags.get(259, 1) in BOUNDED  # Compression
    return len(bits) > 1 and (max(bits) > 8 or multiplied)


def _read_deep_tiff(data: bytes, name: str, max_pixels: int) -> np.ndarray:
    """Many-band, deep or BigTIFF pictures, which Pillow does not open: the first page's first bands."""
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            page = tiff.pages[0]
            _check_size((page.imagewidth, page.imagelength), max_pixels)
            limit = min(max_pixels * PIXEL_BYTES, MAX_BYTES)
            if page.nbytes > limit:
                raise ImageError(
                    f"{name} takes {page.nbytes / 1e6:.0f} MB when decoded, the limit is {limit / 1e6:g}; "
                    "save three of its bands or make it smaller."
                )
            check_segments(page, limit)
            tags = {code: tag.value for code in TAGS if (tag := page.tags.get(code)) is not None}
            if tags.get(PHOTOMETRIC) == PRINTED:
                raise ImageError(f"{name} is a deep TIFF in the colours of a printer (CMYK); save it in RGB.")
            array = page.asarray()
            planar = page.axes.startswith("S")
            orientation = int(tags.get(ORIENTATION, 1))
    except (ImageError, MemoryError):
        raise
    except BombError as error:
        raise _refused(name, error) from error
    except Exception as error:
        raise ImageError(f"{name} is a TIFF that cannot be decoded; save it uncompressed or as PNG.") from error
    if array.dtype.kind not in "buif":
        raise ImageError(f"{name} is a TIFF of {array.dtype} values; save it with whole or decimal numbers.")
    if array.ndim == 3 and planar:
        array = np.moveaxis(array, 0, -1)
    if array.ndim not in (2, 3):
        raise ImageError(f"{name} is a TIFF of {array.ndim} axes; save one plane of it.")
    try:
        shown = page_as_shown(array[..., None] if array.ndim == 2 else array, tags)
    except (TypeError, ValueError) as error:  # a tag of another type than it should have
        raise _damaged(name) from error
    return _turned(shown, orientation)


def _decode(image: Image.Image, name: str, high_bytes: bool = False) -> np.ndarray:
    try:
        image.load()
        tiff = image.format == "TIFF"
        tags = getattr(image, "tag_v2", {})
        with contextlib.suppress(Exception):  # broken EXIF: the pixels are still good
            image = upright(image)
        if high_bytes:
            return _stretch_high_bytes(np.asarray(image.convert("RGBA")), name)
        if image.mode in ("F", "I") or image.mode.startswith("I;16"):
            inverted = tags.get(PHOTOMETRIC) == WHITE_IS_ZERO
            return stretch(np.asarray(image)[..., None], no_data_of(tags), inverted=inverted)
        if tiff and image.mode in ("RGBA", "LA") and not is_opacity(np.asarray(image.getchannel("A")), 255):
            image = image.convert(image.mode[:-1])
        if image.has_transparency_data:
            image = image.convert("RGBA")
            white = Image.new("RGB", image.size, "white")
            white.paste(image, mask=image.getchannel("A"))
            image = white
        return np.array(image if image.mode == "RGB" else image.convert("RGB"))
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise _damaged(name) from error


def upright(image: Image.Image) -> Image.Image:
    """An image as its EXIF turns it; itself where that turns nothing, of which Pillow would make a copy."""
    image.load()
    turned = image.getexif().get(ORIENTATION, 1) != 1
    return ImageOps.exif_transpose(image) if turned else image


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels (H, W, 3) as a TIFF's tag of orientation turns them, which is EXIF's."""
    if orientation == 1:
        return pixels
    image = Image.fromarray(pixels)
    image.getexif()[ORIENTATION] = orientation
    return np.array(ImageOps.exif_transpose(image))


def _stretch_high_bytes(values: np.ndarray, name: str) -> np.ndarray:
    """A PNG of 16 bits in colour or with opacity, which Pillow cuts down to the high bytes (H, W, 4), stretched as
    others are."""
    colours, opacity = values[..., :3], values[..., 3]
    if 0 < colours.max(where=opacity[..., None] > 0, initial=0) < LEAST_HIGH_BYTE:
        raise ImageError(f"{name} is a 16-bit PNG that uses only its lowest values; save it as an uncompressed TIFF.")
    return over_white(stretch(colours, hidden=opacity == 0), opacity.astype(np.float32) / 255)
