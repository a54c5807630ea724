"""Any picture, safely, to one form: an RGB uint8 array of shape (H, W, 3).

Also the normalisation and the fitting that training and prediction share.
"""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import Union

import numpy as np
import torch
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
PIXEL_BYTES = 24  # a TIFF's pixel may take three values of 64 bits; more bands than that fill the memory
PAD_VALUE = 128  # zero after normalisation with mean 0.5

# Percentiles that stretch deep pictures to 8 bits, as microscopy tools do (Weigert et al.,
# Nature Methods 2018, CSBDeep's default).
DEEP_PERCENTILES = (1.0, 99.8)


class ImageError(ValueError):
    """The input is not a picture that can be read; its message is one sentence for people."""


def read_image(source: ImageSource, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a picture from a path, bytes, a PIL image or an array.

    Returns a contiguous RGB uint8 array (H, W, 3): EXIF rotation applied, the first frame of a
    sequence, transparency over white, 16-bit and float values stretched between percentiles.
    Raises ImageError, with one sentence, for everything that is not such a picture or that has
    more than ``max_pixels`` pixels by its header.
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
            data = path.read_bytes()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ImageError(f"{_shown(path)} cannot be read ({reason}); give the path of a picture.") from error
        return _read_bytes(data, _shown(path), max_pixels)
    raise ImageError(
        f"a {type(source).__name__} is not a picture; give a path, bytes, a PIL image or an (H, W, 3) uint8 array."
    )


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
    return np.ascontiguousarray(array)


def _check_size(size_wh: tuple[int, int], max_pixels: int) -> None:
    width, height = size_wh
    if width * height > max_pixels:
        raise ImageError(
            f"the picture is {width} x {height}, {width * height / 1e6:.0f} megapixels; "
            f"the limit is {max_pixels / 1e6:g}: make it smaller or cut it into parts."
        )
    if width * height == 0:
        raise ImageError(f"the picture is {width} x {height} and holds no pixel; choose another one.")


def _read_bytes(data: bytes, name: str, max_pixels: int) -> np.ndarray:
    if not data:
        raise ImageError(f"{name} is an empty file; choose a {FORMAT_NAMES} picture.")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _read_deep_tiff(data, name, max_pixels)
        raise ImageError(f"{name} is not a picture that can be read; choose a {FORMAT_NAMES} file.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(
            f"{name} claims far more than {max_pixels / 1e6:g} megapixels, the limit; make it smaller."
        ) from None
    except Exception as error:  # a damaged header raises whatever its decoder meets first
        raise _damaged(name) from error
    with image:
        _check_size(image.size, max_pixels)
        if image.format == "TIFF" and _is_deep_colour(image):
            return _read_deep_tiff(data, name, max_pixels)
        return _decode(image, name)


def _damaged(name: str) -> ImageError:
    return ImageError(f"{name} is damaged or incomplete; save or download it again.")


def _is_deep_colour(image: Image.Image) -> bool:
    """Pillow would cut several bands of 16 bits down to their high bytes."""
    bits = image.tag_v2.get(258, (1,))  # type: ignore[attr-defined]  # BitsPerSample
    return len(bits) > 1 and max(bits) > 8


def _read_deep_tiff(data: bytes, name: str, max_pixels: int) -> np.ndarray:
    """Many-band, deep or BigTIFF pictures, which Pillow does not open: the first page's first bands."""
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            page = tiff.pages[0]
            _check_size((page.imagewidth, page.imagelength), max_pixels)
            if page.nbytes > max_pixels * PIXEL_BYTES:
                raise ImageError(
                    f"{name} takes {page.nbytes / 1e6:.0f} MB when decoded, the limit is "
                    f"{max_pixels * PIXEL_BYTES / 1e6:g}; save three of its bands or make it smaller."
                )
            array = page.asarray()
            planar = page.axes.startswith("S")
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(f"{name} is a TIFF that cannot be decoded; save it uncompressed or as PNG.") from error
    if array.ndim == 3 and planar:
        array = np.moveaxis(array, 0, -1)
    if array.ndim not in (2, 3):
        raise ImageError(f"{name} is a TIFF of {array.ndim} axes; save one plane of it.")
    if array.ndim == 2:
        array = array[..., None]
    bands = array[..., :3] if array.shape[2] >= 3 else array[..., :1].repeat(3, axis=2)
    return np.ascontiguousarray(bands) if bands.dtype == np.uint8 else _stretch(bands)


def _decode(image: Image.Image, name: str) -> np.ndarray:
    try:
        image.load()
        with contextlib.suppress(Exception):  # broken EXIF: the pixels are still good
            image = ImageOps.exif_transpose(image)
        if image.mode in ("F", "I") or image.mode.startswith("I;16"):
            return _stretch(np.asarray(image)[..., None].repeat(3, axis=2))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
        return np.array(image.convert("RGB"))
    except MemoryError:
        raise
    except Exception as error:
        raise _damaged(name) from error


def _stretch(values: np.ndarray) -> np.ndarray:
    """Deep values (H, W, 3) to uint8 between two percentiles over all bands; NaN becomes black."""
    values = values.astype(np.float32)
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, DEEP_PERCENTILES) if finite.size else (0.0, 0.0)
    if high <= low and finite.size:
        low, high = float(finite.min()), float(finite.max())
    if not high > low:
        return np.zeros(values.shape, np.uint8)
    scaled = np.nan_to_num((values - low) * (255.0 / (high - low)), nan=0.0, posinf=255.0, neginf=0.0)
    return np.ascontiguousarray(scaled.clip(0, 255).round().astype(np.uint8))


MOST_GAIN = 10  # beyond it the noise of an empty picture would look like something


def auto_contrast(image: np.ndarray) -> np.ndarray:
    """An image (H, W, 3) uint8 with its values stretched to [0, 255], all channels alike so that hues stay.

    The darkest 0.1% become 0 and the brightest 0.05% become 255, much as microscopy has it (Schmidt et al., MICCAI
    2018), but no contrast grows more than tenfold.
    """
    counts = np.bincount(image.ravel(), minlength=256).cumsum()
    low, high = (int(np.searchsorted(counts, share * counts[-1])) for share in (0.001, 0.9995))
    gain = min(255 / max(high - low, 1), MOST_GAIN)
    table = ((np.arange(256) - low) * gain).clip(0, 255).round().astype(np.uint8)
    stretched: np.ndarray = table[image]
    return stretched


def fitted_size(height: int, width: int, size: int) -> tuple[int, int]:
    """(height, width) of a picture scaled so that its longer side is ``size``, each at least 1."""
    scale = size / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def fit(image: np.ndarray, size: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Scale an RGB uint8 image to ``size`` on its longer side and pad it to a square.

    Returns the (size, size, 3) uint8 square, the picture in its top left corner, and the
    (height, width) that the picture takes there.
    """
    height, width = fitted_size(image.shape[0], image.shape[1], size)
    square = np.full((size, size, 3), PAD_VALUE, np.uint8)
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
    square[:height, :width] = np.asarray(resized)
    return square, (height, width)


def pick_nearest(array: np.ndarray, height: int, width: int) -> np.ndarray:
    """An array (H, W, ...) at (height, width) by nearest neighbour, pixel centres aligned; no value is mixed."""
    rows = ((np.arange(height) + 0.5) * array.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * array.shape[1] / width).astype(int)
    return array[np.ix_(rows, columns)]


def normalise(images: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """uint8 images (B, H, W, 3) in [0, 255] -> float32 pixels (B, 3, H, W), channels last in memory.

    ``mean`` and ``std`` are of the values in [0, 1], one per channel.
    """
    scale = torch.tensor(std, device=images.device) * 255.0
    shift = torch.tensor(mean, device=images.device) * 255.0
    return ((images.to(torch.float32) - shift) / scale).permute(0, 3, 1, 2)
