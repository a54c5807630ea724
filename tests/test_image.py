import contextlib
import io
import itertools
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from robustness.files import bmp_header, gif_header, png

from segmenter.fitting import auto_contrast, fit, fitted_size
from segmenter.image import ImageError, read_image

INDEX_COLOURS = [(10, 20, 30), (200, 100, 0), (0, 0, 255)]


def encode(image, format_name, **options):
    """A PIL image or an array as the bytes of a file."""
    buffer = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def encode_tiff(array, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def picture(mode, rows):
    """A PIL image of ``mode`` from rows of pixels (numbers or tuples)."""
    image = Image.new(mode, (len(rows[0]), len(rows)))
    image.putdata([pixel for row in rows for pixel in row])
    return image


def indexed(rows):
    image = picture("P", rows)
    image.putpalette([value for colour in INDEX_COLOURS for value in colour])
    return image


def ramp():
    """The numbers 0...1000, (7, 143): percentile 1 is 10, percentile 99.8 is 998."""
    return np.arange(1001).reshape(7, 143)


# value of the ramp -> (value - 10) * 255 / 988, worked out by hand
RAMP_VALUES = {0: 0, 10: 0, 257: 64, 751: 191, 998: 255, 1000: 255}


def assert_ramp(channel, backwards=False):
    for value, expected in RAMP_VALUES.items():
        position = 1000 - value if backwards else value
        assert channel.flat[position] == expected, value


# ---------------------------------------------------------------- formats


@pytest.mark.parametrize(
    ("format_name", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 95}, 12),
        ("JPEG", {"quality": 95, "subsampling": 0}, 3),
        ("JPEG", {"quality": 95, "subsampling": 0, "progressive": True}, 3),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("TIFF", {"compression": "tiff_adobe_deflate"}, 0),
        ("TIFF", {"compression": "packbits"}, 0),
        ("TIFF", {"big_tiff": True}, 0),
    ],
)
def test_colour_files(quarters, format_name, options, tolerance):
    image = quarters(32, 48, [(200, 30, 40), (10, 220, 90), (60, 70, 240), (250, 250, 5)])
    read = read_image(encode(image, format_name, **options))
    assert read.dtype == np.uint8 and read.shape == (32, 48, 3) and read.flags.c_contiguous
    # The middles of the four quarters, away from the edges that lossy formats smear.
    for rows in (slice(4, 12), slice(20, 28)):
        for columns in (slice(4, 20), slice(28, 44)):
            difference = read[rows, columns].astype(int) - image[rows, columns]
            assert np.abs(difference).max() <= tolerance
    if tolerance == 0:
        assert (read == image).all()


# mode and pixels of a 1 x 3 picture, what is saved, and the RGB that must come back
WHITE, RED, CLEAR = [255] * 3, [255, 0, 0], (9, 9, 9, 0)
MODES = [
    ("L", [[0, 128, 255]], ["PNG", "BMP", "TIFF", "GIF"], {}, [[0] * 3, [128] * 3, WHITE]),
    ("1", [[0, 255, 0]], ["PNG", "BMP", "TIFF", "GIF"], {}, [[0] * 3, WHITE, [0] * 3]),
    ("P", [[0, 1, 2]], ["PNG", "BMP", "TIFF", "GIF"], {}, INDEX_COLOURS),
    ("P", [[0, 1, 2]], ["PNG", "GIF"], {"transparency": 1}, [INDEX_COLOURS[0], WHITE, INDEX_COLOURS[2]]),
    # alpha 128 over white: 100 * 128 / 255 + 127 = 177.2
    ("LA", [[(100, 255), (100, 0), (100, 128)]], ["PNG", "TIFF"], {}, [[100] * 3, WHITE, [177] * 3]),
    # alpha 51 is a fifth: 255 * 0.8 = 204
    ("RGBA", [[(*RED, 255), CLEAR, (0, 255, 0, 51)]], ["PNG", "TIFF"], {}, [RED, WHITE, [204, 255, 204]]),
    ("RGB", [[(1, 2, 3), (9, 8, 7), (255, 0, 0)]], ["PNG"], {"transparency": (9, 8, 7)}, [[1, 2, 3], WHITE, RED]),
    ("L", [[7, 0, 9]], ["PNG"], {"transparency": 0}, [[7] * 3, WHITE, [9] * 3]),
    ("CMYK", [[(0,) * 4, (0, 255, 255, 0), (0, 0, 0, 255)]], ["TIFF"], {}, [WHITE, RED, [0] * 3]),
]


@pytest.mark.parametrize(
    ("mode", "rows", "format_name", "options", "expected"),
    [(mode, rows, name, options, expected) for mode, rows, names, options, expected in MODES for name in names],
)
def test_every_mode_becomes_rgb(mode, rows, format_name, options, expected):
    image = indexed(rows) if mode == "P" else picture(mode, rows)
    data = encode(image, format_name, **options)
    assert read_image(data).tolist() == [[list(pixel) for pixel in expected]]


def test_palette_with_an_alpha_for_every_entry():
    # PNG's tRNS of an indexed picture: alpha 255, 0 and 51 of (0, 0, 255): 0 * 0.2 + 204 and 255
    data = encode(indexed([[0, 1, 2]]), "PNG", transparency=bytes([255, 0, 51]))
    assert read_image(data).tolist() == [[[10, 20, 30], WHITE, [204, 204, 255]]]


def test_lossless_webp_with_alpha():
    data = encode(picture("RGBA", [[(*RED, 255), (0, 0, 0, 0)]]), "WEBP", lossless=True, exact=True)
    assert read_image(data).tolist() == [[RED, WHITE]]


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [("L", 77, (77, 77, 77)), ("CMYK", (0, 255, 255, 0), (255, 0, 0)), ("CMYK", (0, 0, 0, 51), (204, 204, 204))],
)
def test_other_jpegs(mode, colour, expected):
    data = encode(Image.new(mode, (16, 16), colour), "JPEG", quality=95)
    assert np.abs(read_image(data).astype(int) - expected).max() <= 3


@pytest.mark.parametrize("format_name", ["GIF", "WEBP", "TIFF", "PNG", "MPO"])
def test_first_frame_of_several(format_name):
    frames = [Image.new("RGB", (16, 8), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if format_name == "WEBP" else {}
    read = read_image(encode(frames[0], format_name, save_all=True, append_images=frames[1:], **options))
    assert read.shape == (8, 16, 3)
    assert np.abs(read.astype(int) - RED).max() <= 2  # MPO is a JPEG


def test_a_pil_image_keeps_the_frame_it_shows():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime")]
    image = Image.open(io.BytesIO(encode(frames[0], "GIF", save_all=True, append_images=frames[1:])))
    image.seek(1)
    assert (read_image(image) == (0, 255, 0)).all()


# ---------------------------------------------------------------- deep pictures


@pytest.mark.parametrize("format_name", ["PNG", "TIFF"])
def test_16_bit_grey_is_stretched(format_name):
    read = read_image(encode((ramp() * 60).astype(np.uint16), format_name))
    assert read.shape == (7, 143, 3) and read.dtype == np.uint8
    for band in range(3):
        assert_ramp(read[..., band])


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.uint32, np.int32, np.float32, np.float64])
def test_deep_grey_tiffs(dtype):
    read = read_image(encode_tiff((ramp() * 30).astype(dtype)))
    assert read.shape == (7, 143, 3)
    assert_ramp(read[..., 0])


@pytest.mark.parametrize("planar", [False, True], ids=["interleaved", "planar"])
@pytest.mark.parametrize("bigtiff", [False, True], ids=["classic", "big"])
@pytest.mark.parametrize("bands", [3, 5])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_deep_colour_tiffs(dtype, bands, bigtiff, planar):
    """Three bands are stretched alike, over all of them; further bands do not count."""
    deep = np.full((7, 143, bands), 60_000, dtype)
    deep[..., 0] = deep[..., 2] = ramp() * 60
    deep[..., 1] = ramp()[::-1, ::-1] * 60
    stored = np.moveaxis(deep, -1, 0) if planar else deep
    options = {"planarconfig": "separate" if planar else "contig", "photometric": "rgb", "bigtiff": bigtiff}
    read = read_image(encode_tiff(np.ascontiguousarray(stored), **options))
    assert read.shape == (7, 143, 3)
    assert_ramp(read[..., 0])
    assert_ramp(read[..., 1], backwards=True)
    assert_ramp(read[..., 2])


@pytest.mark.parametrize(
    ("compression", "predictor"),
    [*itertools.product(["lzw", "zlib", "zstd"], [False, True]), ("packbits", False)],
)
@pytest.mark.parametrize("bands", [1, 6])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_packed_deep_tiffs(dtype, bands, predictor, compression):
    """As programs for maps and microscopes write them."""
    deep = np.random.default_rng(3).integers(0, 9999, (37, 50, bands)).astype(dtype).squeeze()
    options = {"photometric": "minisblack", "planarconfig": "contig"} if bands > 1 else {}
    packed = encode_tiff(deep, compression=compression, predictor=predictor, tile=(16, 32), **options)
    assert (read_image(packed) == read_image(encode_tiff(deep, **options))).all()


def test_a_compression_that_may_grow_is_refused(refusal):
    data = encode_tiff(np.zeros((8, 9, 3), np.uint16), photometric="rgb", compression="lzma")
    with refusal(ImageError, "the upload is a TIFF of deep values", "not read here", "LZW or Deflate"):
        read_image(data)


def test_not_a_number_and_infinity():
    values = np.concatenate([ramp().ravel(), [np.nan, np.inf, -np.inf]]).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = read_image(encode_tiff(values[None]))
    assert_ramp(read[..., 0])
    assert read[0, 1001:, 0].tolist() == [0, 255, 0]


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1234.5, -3.0])
def test_a_flat_float_picture_is_black(value):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = read_image(encode_tiff(np.full((5, 6), value, np.float32)))
    assert read.shape == (5, 6, 3) and not read.any()


def test_two_values_apart_only_in_the_last_percent():
    # 999 zeros and a single 40: both percentiles are 0, so the extremes are used instead
    values = np.zeros((10, 100), np.uint16)
    values[3, 4] = 40
    read = read_image(encode_tiff(values))
    assert read[3, 4].tolist() == [255] * 3
    assert read.astype(int).sum() == 3 * 255


@pytest.mark.parametrize("bands", [3, 4, 5, 12])
@pytest.mark.parametrize("planar", [False, True], ids=["interleaved", "planar"])
def test_many_bands_of_8_bits_keep_their_values(noise, bands, planar):
    image = noise(9, 11)
    stack = np.concatenate([image, np.zeros((9, 11, bands - 3), np.uint8)], axis=2)
    stored = np.ascontiguousarray(np.moveaxis(stack, -1, 0)) if planar else stack
    options = {"planarconfig": "separate" if planar else "contig", "photometric": "minisblack"}
    read = read_image(encode_tiff(stored, **options))
    assert (read == image).all() and read.flags.c_contiguous


def test_two_bands_show_the_first():
    stack = np.stack([np.full((4, 5), 70), np.full((4, 5), 200)], axis=-1).astype(np.uint8)
    read = read_image(encode_tiff(stack, planarconfig="contig", photometric="minisblack"))
    assert read.shape == (4, 5, 3) and (read == 70).all()


def test_first_page_of_a_deep_stack():
    pages = np.stack([ramp() * 60, np.zeros((7, 143))]).astype(np.uint16)
    assert_ramp(read_image(encode_tiff(pages, photometric="minisblack"))[..., 0])


def tag(code, value):
    """An extra tag of tifffile: text, or a short number."""
    return (code, 2, len(value), value, True) if isinstance(value, str) else (code, 3, 1, value, True)


@pytest.mark.parametrize("no_data", [-9999, 65_535])
@pytest.mark.parametrize("bands", [1, 3])
def test_what_was_not_measured_is_black_and_moves_no_percentile(no_data, bands):
    values = np.repeat((ramp() * 60)[..., None], bands, 2).astype(np.uint16 if no_data > 0 else np.float32)
    values[:, ::5] = no_data
    options = {"photometric": "rgb"} if bands == 3 else {}
    read = read_image(encode_tiff(values.squeeze(), extratags=[tag(42113, str(no_data))], **options))
    assert not read[:, ::5].any()
    known = np.delete(values, np.s_[::5], axis=1)
    assert (np.delete(read, np.s_[::5], axis=1) == read_image(encode_tiff(known.squeeze(), **options))).all()
    assert (read_image(encode_tiff(values.squeeze(), **options)) != read).mean() > 0.5


@pytest.mark.parametrize("said", ["", "none", "nan"])
def test_a_value_of_no_data_that_is_no_number_is_nothing(said):
    deep = (ramp() * 60).astype(np.uint16)
    assert (read_image(encode_tiff(deep, extratags=[tag(42113, said)])) == read_image(encode_tiff(deep))).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("bigtiff", [False, True], ids=["classic", "big"])
def test_deep_grey_whose_zero_is_white(dtype, bigtiff):
    read = read_image(encode_tiff((ramp() * 60).astype(dtype), photometric="miniswhite", bigtiff=bigtiff))
    assert_ramp(255 - read[..., 0])


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
def test_transparency_of_deep_colours_is_over_white(kind):
    """What is hidden moves no percentile, however bright it is."""
    colours = np.repeat((ramp() * 60)[..., None], 3, 2)
    opaque = read_image(encode_tiff(colours.astype(np.uint16), photometric="rgb")).astype(int)
    deep = np.concatenate([colours, np.full((7, 143, 1), 65_535)], 2)
    hidden = np.concatenate([deep, np.full((7, 50, 4), 65_535)], 1)
    hidden[:, 143:, 3] = 0
    read = read_image(encode_tiff(hidden.astype(np.uint16), photometric="rgb", extrasamples=[kind]))
    assert (read[:, :143] == opaque).all() and (read[:, 143:] == 255).all()
    fifth = hidden.copy()
    fifth[:3, :143, 3] = 13_107
    if kind == "assocalpha":
        fifth[:3, :143, :3] //= 5
    read = read_image(encode_tiff(fifth.astype(np.uint16), photometric="rgb", extrasamples=[kind]))
    assert np.abs(read[:3, :143] - (opaque[:3] * 0.2 + 204)).max() <= 1
    assert np.abs(read[3:, :143] - opaque[3:]).max() <= 1 and (read[:, 143:] == 255).all()
    further = read_image(encode_tiff(deep.astype(np.uint16), photometric="rgb", extrasamples=["unspecified"]))
    assert (further == opaque).all()


@pytest.mark.parametrize("fourth", [0, 0.1, 1])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_fourth_channel_that_is_called_opacity_is_looked_at(dtype, fourth):
    """So tifffile and GDAL call every fourth band of whole numbers, of microscopes and of satellites too."""
    rng, largest = np.random.default_rng(0), np.iinfo(dtype).max
    channels = rng.integers(largest // 100, largest // 2, (40, 50, 4)).astype(dtype)
    channels[:5, :5, 3] = fourth * largest
    expected = read_image(encode_tiff(np.ascontiguousarray(channels[..., :3]), photometric="rgb"))
    assert (read_image(encode_tiff(channels)) == expected).all()
    channels[..., 3] = 0
    assert (read_image(encode_tiff(channels)) == expected).all()
    multiplied = encode_tiff(channels, photometric="rgb", extrasamples="assocalpha")
    assert (read_image(multiplied) == expected).all()
    grey = np.ascontiguousarray(channels[..., :2])
    alone = read_image(encode_tiff(np.ascontiguousarray(grey[..., 0])))
    assert (read_image(encode_tiff(grey, photometric="minisblack", extrasamples="unassalpha")) == alone).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_with_opacity_in_a_tiff_is_over_white(dtype):
    largest = np.iinfo(dtype).max
    pages = np.stack([(ramp() * (60 if dtype == np.uint16 else 0.25)).round(), np.full((7, 143), largest)], -1)
    pages[:2, :, 1] = 0
    read = read_image(encode_tiff(pages.astype(dtype), photometric="minisblack", extrasamples=["unassalpha"]))
    assert (read[:2] == 255).all()
    grey = pages[2:, :, 0]
    assert (read[2:] == read_image(encode_tiff(grey.astype(dtype)))).all()


def test_the_first_band_of_two_whose_zero_is_white():
    pages = np.stack([np.full((4, 5), 10), np.full((4, 5), 200)], -1).astype(np.uint8)
    read = read_image(encode_tiff(pages, photometric="miniswhite", planarconfig="contig"))
    assert (read == 245).all()


def test_no_data_in_one_band_only_is_a_value():
    values = np.random.default_rng(0).integers(0, 60_000, (20, 30, 3)).astype(np.uint16)
    values[3, 4] = 65_535, 60_000, 30_000
    values[5, 6] = 65_535
    read = read_image(encode_tiff(values, photometric="rgb", extratags=[tag(42113, "65535")]))
    assert read[3, 4, 0] == 255 and not read[5, 6].any()


def test_tags_of_another_type_are_a_damage(refusal):
    values = np.zeros((8, 9, 4), np.uint16)
    values[::2] = 900
    data = bytearray(encode_tiff(values, photometric="rgb", extrasamples=["unassalpha"]))
    entry = data.index((338).to_bytes(2, "little") + (3).to_bytes(2, "little"))
    empty = data.copy()
    empty[entry + 4 : entry + 8] = bytes(4)  # it holds no value
    assert read_image(bytes(empty)).shape == (8, 9, 3)
    data[entry + 2 : entry + 4] = (2).to_bytes(2, "little")  # text
    with contextlib.suppress(ImageError):
        assert read_image(bytes(data)).shape == (8, 9, 3)


def test_printed_deep_colours_are_refused(refusal):
    with refusal(ImageError, "the colours of a printer (CMYK); save it in RGB"):
        read_image(encode_tiff(np.zeros((8, 9, 4), np.uint16), photometric="separated"))


def deep_png(values, colour):
    """A PNG of 16 bits from values (H, W, C), which Pillow cannot write."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(*values.shape[1::-1], (b"IDAT", zlib.compress(rows)), bits=16, colour=colour)


@pytest.mark.parametrize(("colour", "bands"), [(2, 3), (4, 2), (6, 4)])
def test_deep_colour_pngs_are_stretched_as_tiffs_are(refusal, colour, bands):
    rng = np.random.default_rng(0)
    values = rng.integers(20_000, 30_000, (40, 50, bands))
    colours = 1 if bands == 2 else 3
    values[..., colours:] = 65_535  # opaque
    seen = np.broadcast_to(values[..., :colours], (40, 50, 3))
    expected = read_image(encode_tiff(seen.astype(np.uint16), photometric="rgb"))
    found = read_image(deep_png(values, colour))
    assert np.abs(found.astype(int) - expected).max() <= 8  # 39 of the high bytes' values
    if bands > colours:  # what is hidden moves no percentile, and is white
        hidden = np.concatenate([values, np.zeros_like(values)])
        seen_part, white = np.split(read_image(deep_png(hidden, colour)), 2)
        assert (seen_part == found).all() and (white == 255).all()
    values[..., :colours] //= 16
    with refusal(ImageError, "uses only its lowest values; save it as an uncompressed TIFF"):
        read_image(deep_png(values, colour))
    values[..., :colours] = 0
    assert not read_image(deep_png(values, colour)).any()


def test_a_pil_image_of_16_bits():
    assert_ramp(read_image(Image.fromarray((ramp() * 60).astype(np.uint16)))[..., 1])


# ---------------------------------------------------------------- EXIF

# How the stored cells [[1, 2, 3], [4, 5, 6]] are to be shown (EXIF 2.32, tag 0x0112).
ORIENTATIONS = {
    1: [[1, 2, 3], [4, 5, 6]],
    2: [[3, 2, 1], [6, 5, 4]],
    3: [[6, 5, 4], [3, 2, 1]],
    4: [[4, 5, 6], [1, 2, 3]],
    5: [[1, 4], [2, 5], [3, 6]],
    6: [[4, 1], [5, 2], [6, 3]],
    7: [[6, 3], [5, 2], [4, 1]],
    8: [[3, 6], [2, 5], [1, 4]],
}


def cells():
    """Six plain cells of 8 x 8 pixels; cell n has the grey value 40 n."""
    return (np.array(ORIENTATIONS[1]) * 40).repeat(8, 0).repeat(8, 1).astype(np.uint8)


@pytest.mark.parametrize("as_pil", [False, True], ids=["bytes", "pil"])
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(("orientation", "expected"), ORIENTATIONS.items())
def test_exif_orientation(orientation, expected, format_name, as_pil):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(Image.fromarray(cells()).convert("RGB"), format_name, exif=exif)
    read = read_image(Image.open(io.BytesIO(data)) if as_pil else data)
    assert read.shape == (8 * len(expected), 8 * len(expected[0]), 3)
    assert np.round(read[4::8, 4::8, 0] / 40).astype(int).tolist() == expected


@pytest.mark.parametrize(("orientation", "expected"), ORIENTATIONS.items())
def test_orientation_of_deep_tiffs(orientation, expected):
    deep = np.repeat(cells()[..., None], 3, 2).astype(np.uint16) * 256
    read = read_image(encode_tiff(deep, photometric="rgb", extratags=[tag(274, orientation)]))
    assert read.shape == (8 * len(expected), 8 * len(expected[0]), 3)
    order = np.unique(read[4::8, 4::8, 0], return_inverse=True)[1].reshape(np.shape(expected)) + 1
    assert order.tolist() == expected


def test_broken_exif_keeps_the_pixels():
    data = encode(cells(), "JPEG", exif=b"Exif\0\0not a directory of tags")
    assert np.round(read_image(data)[4::8, 4::8, 0] / 40).astype(int).tolist() == ORIENTATIONS[1]


# ---------------------------------------------------------------- sources


def test_every_source_gives_the_same(tmp_path, noise):
    image = noise(5, 7)
    data = encode(image, "PNG")
    path = tmp_path / "a picture ü.png"
    path.write_bytes(data)
    for source in (path, str(path), data, bytearray(data), memoryview(data), Image.fromarray(image), image):
        read = read_image(source)
        assert read.dtype == np.uint8 and (read == image).all()


def test_the_content_decides_not_the_name(tmp_path, noise):
    path = tmp_path / "picture.jpg"
    path.write_bytes(encode(noise(5, 7), "PNG"))
    assert (read_image(path) == noise(5, 7)).all()


def test_an_array_view_becomes_contiguous(noise):
    mirrored = noise(5, 7)[:, ::-1]
    read = read_image(mirrored)
    assert read.flags.c_contiguous and (read == mirrored).all()


def test_a_pil_image_stays_as_it_was(noise):
    image = Image.fromarray(noise(4, 4)).convert("RGBA")
    read_image(image)
    assert image.mode == "RGBA" and image.size == (4, 4)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"", ["the upload is an empty file", "choose a JPEG, PNG, WebP, BMP, GIF or TIFF picture"]),
        (b"hello, I am a text", ["the upload is not a picture", "choose a JPEG"]),
        (b"\x89PNG\r\n\x1a\n", ["the upload is not a picture", "choose a JPEG"]),
        (b"\xff\xd8\xff", ["the upload", "choose a JPEG"]),
        (b"II*\0", ["the upload is a TIFF that cannot be decoded", "PNG"]),
        (b"%PDF-1.7\n", ["not a picture", "choose a JPEG"]),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", ["not a picture", "choose a JPEG"]),
        (None, ["a NoneType is not a picture", "give a path"]),
        (7, ["a int is not a picture", "give a path"]),
        ([[1, 2], [3, 4]], ["a list is not a picture", "(H, W, 3) uint8"]),
        (torch.zeros(3, 4, 4), ["a Tensor is not a picture", "give a path"]),
    ],
    ids=lambda value: repr(value)[:20] if not isinstance(value, list) else "",
)
def test_what_is_no_picture(refusal, source, words):
    with refusal(ImageError, *words):
        read_image(source)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((4, 5), np.uint8),
        ((4, 5, 1), np.uint8),
        ((4, 5, 4), np.uint8),
        ((3, 4, 5), np.uint8),
        ((1, 4, 5, 3), np.uint8),
        ((4, 5, 3), np.float32),
        ((4, 5, 3), np.int64),
        ((4, 5, 3), bool),
        ((0, 5, 3), np.uint8),
        ((4, 0, 3), np.uint8),
        ((), np.uint8),
    ],
)
def test_arrays_of_another_form(refusal, shape, dtype):
    with refusal(ImageError, str(shape), str(np.dtype(dtype)), "give (H, W, 3) and uint8"):
        read_image(np.zeros(shape, dtype))


def test_an_empty_pil_image(refusal):
    with refusal(ImageError, "0 x 5", "choose another"):
        read_image(Image.new("RGB", (0, 5)))


def test_paths_that_cannot_be_read(refusal, tmp_path):
    with refusal(ImageError, "'absent.png' cannot be read", "No such file", "give the path of a picture"):
        read_image(tmp_path / "absent.png")
    with refusal(ImageError, f"{tmp_path.name!r} cannot be read", "directory"):
        read_image(str(tmp_path))
    with refusal(ImageError, "cannot be read", "null", "give the path"):
        read_image("a\0b.png")
    with refusal(ImageError, f"'{'x' * 50}...{'x' * 20}' cannot be read", "too long", "give the path"):
        read_image("x" * 5000)


def test_files_that_are_no_picture_are_named(refusal, tmp_path):
    for name, content, word in (
        ("text.jpg", b"no picture at all", "not a picture"),
        ("empty.png", b"", "an empty file"),
        ("half.gif", encode(np.zeros((50, 50, 3), np.uint8), "PNG")[:60], "damaged"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with refusal(ImageError, repr(name), word):
            read_image(path)


@pytest.mark.parametrize("format_name", ["PPM", "TGA", "ICO", "EPS", "PDF", "PCX", "SGI", "JPEG2000"])
def test_formats_that_are_not_opened(refusal, format_name):
    """Formats beyond the six stay closed: each decoder is a door."""
    with refusal(ImageError, "is not a picture that can be read", "choose a JPEG, PNG"):
        read_image(encode(np.zeros((16, 16, 3), np.uint8), format_name))


@pytest.mark.parametrize("part", [0.02, 0.1, 0.35, 0.6, 0.9])
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_truncated_files(refusal, noise, format_name, part):
    data = encode(noise(64, 96), format_name)
    assert read_image(data).shape == (64, 96, 3)
    with refusal(ImageError, "the upload", "again" if part > 0.1 else ""):
        read_image(data[: int(len(data) * part)])


@pytest.mark.filterwarnings("ignore:Truncated File Read")
@pytest.mark.parametrize("part", [0.01, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("bands", [3, 6])
@pytest.mark.parametrize("compression", [None, "lzw"])
def test_truncated_deep_tiffs(refusal, compression, bands, part):
    values = np.random.default_rng(0).integers(0, 9999, (32, 32, bands), np.uint16)
    data = encode_tiff(values, photometric="rgb", compression=compression)
    with refusal(ImageError, "the upload is a TIFF that cannot be decoded", "save it"):
        read_image(data[: int(len(data) * part)])


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_damaged_files_raise_nothing_but_image_errors(noise, format_name):
    """A hundred pictures with bytes overwritten at random: an array or an ImageError comes of each."""
    good = np.frombuffer(encode(noise(24, 24), format_name), np.uint8)
    generator = np.random.default_rng(1)
    refused = 0
    for _ in range(100):
        data = good.copy()
        spots = generator.integers(0, min(len(data), 400), 6)
        data[spots] = generator.integers(0, 256, 6)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read = read_image(data.tobytes(), max_pixels=100_000)
            except ImageError:
                refused += 1
            else:
                assert read.dtype == np.uint8 and read.ndim == 3 and read.shape[2] == 3
    assert refused > 0


# ---------------------------------------------------------------- size


def png_header(width, height):
    """A PNG that claims a size and holds no pixels."""
    return png(width, height, (b"IDAT", b""))


def tiff_header(width, height):
    return overwritten_tiff(width, height, np.zeros((8, 8, 3), np.uint8))


def deep_tiff_header(width, height):
    return overwritten_tiff(width, height, np.zeros((8, 8, 5), np.uint16))


def overwritten_tiff(width, height, array):
    buffer = io.BytesIO(encode_tiff(array, photometric="rgb", planarconfig="contig", bigtiff=True))
    with tifffile.TiffFile(buffer, mode="r+") as tiff:
        tiff.pages[0].tags["ImageWidth"].overwrite(width, dtype="I")
        tiff.pages[0].tags["ImageLength"].overwrite(height, dtype="I")
        return buffer.getvalue()


@pytest.mark.parametrize("strict", [False, True], ids=["", "warnings are errors"])
@pytest.mark.parametrize("header", [png_header, bmp_header, gif_header, tiff_header, deep_tiff_header])
@pytest.mark.parametrize("size_wh", [(8000, 7000), (10_000, 10_000), (60_000, 60_000)])
def test_too_large_by_the_header(refusal, monkeypatch, header, size_wh, strict):
    """56, 100 and 3,600 megapixels are refused before a pixel is decoded."""
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda image: pytest.fail("decoded"))
    monkeypatch.setattr("tifffile.TiffPage.asarray", lambda page: pytest.fail("decoded"))
    data = header(*size_wh)
    with warnings.catch_warnings():
        warnings.simplefilter("error" if strict else "ignore")
        with refusal(ImageError, "megapixels", "50", "make it smaller"):
            read_image(data)


@pytest.mark.parametrize("size_wh", [(2_000_000, 1), (1, 2_000_000), (1_600_000, 31)])
def test_a_strip_far_too_long(refusal, size_wh):
    """Of few pixels, but each takes the network 32."""
    with refusal(ImageError, f"{size_wh[0]} x {size_wh[1]}, a strip far too long", "cut it into parts"):
        read_image(png_header(*size_wh))
    assert read_image(np.zeros((1, 1_500_000, 3), np.uint8)).shape == (1, 1_500_000, 3)


def test_a_tiny_file_that_claims_ten_gigapixels(refusal):
    data = png_header(100_000, 100_000)
    assert len(data) < 100
    with refusal(ImageError, "the upload claims", "50 megapixels", "make it smaller"):
        read_image(data)


def test_the_limit_itself_is_allowed(refusal, tmp_path, noise):
    image = noise(2, 3)
    path = tmp_path / "six.png"
    path.write_bytes(encode(image, "PNG"))
    deep = encode_tiff(np.zeros((2, 3, 3), np.uint16), photometric="rgb", planarconfig="contig")
    for source in (image, Image.fromarray(image), path, path.read_bytes(), deep):
        assert read_image(source, max_pixels=6).shape == (2, 3, 3)
        with refusal(ImageError, "3 x 2", "megapixels"):
            read_image(source, max_pixels=5)


@pytest.mark.parametrize(("bands", "allowed"), [(12, True), (13, False)])
def test_many_bands_count_for_the_memory(refusal, bands, allowed):
    """Twelve bands of 16 bits take 24 bytes a pixel, as much as three of 64 bits."""
    data = encode_tiff(np.zeros((10, 10, bands), np.uint16), photometric="minisblack", planarconfig="contig")
    if allowed:
        assert read_image(data, max_pixels=100).shape == (10, 10, 3)
    else:
        with refusal(ImageError, "the upload takes 0 MB", "save three of its bands"):
            read_image(data, max_pixels=100)


def test_a_gif_frame_larger_than_its_screen(refusal):
    """The frame decides how much is decoded, whatever the header claims for the screen."""
    data = bytearray(encode(Image.new("P", (40, 30)), "GIF"))
    data[6:10] = struct.pack("<HH", 1, 1)
    with refusal(ImageError, "megapixels"):
        read_image(bytes(data), max_pixels=1000)


# ---------------------------------------------------------------- fitting and normalising


@pytest.mark.parametrize(
    ("height", "width", "size", "expected"),
    [
        (100, 200, 64, (32, 64)),
        (200, 100, 64, (64, 32)),
        (64, 64, 64, (64, 64)),
        (1, 1, 64, (64, 64)),
        (1, 1000, 64, (1, 64)),
        (1000, 1, 64, (64, 1)),
        (300, 451, 256, (170, 256)),  # 300 * 256 / 451 = 170.29
        (3, 7, 256, (110, 256)),  # 109.71
        (4999, 5000, 384, (384, 384)),  # 383.92
    ],
)
def test_fitted_size(height, width, size, expected):
    assert fitted_size(height, width, size) == expected


def test_fit_pads_right_and_below_to_multiples_of_32():
    window, inside = fit(np.full((20, 10, 3), 200, np.uint8), 80)
    assert inside == (80, 40)
    assert window.shape == (96, 64, 3) and window.dtype == np.uint8
    assert (window[:80, :40] == 200).all()
    assert (window[80:] == 128).all() and (window[:, 40:] == 128).all()


def test_fit_of_the_size_itself_changes_nothing(noise):
    image = noise(64, 64)
    square, inside = fit(image, 64)
    assert inside == (64, 64) and (square == image).all()


def test_fit_scales_bilinearly():
    # 1 x 2 to 2 x 4: column centres at -0.25, 0.25, 0.75, 1.25 of the source: 0, 25, 75, 100 per cent
    square, inside = fit(np.array([[[0] * 3, [200] * 3]], np.uint8), 4, multiple=1)
    assert inside == (2, 4)
    assert square[0, :, 0].tolist() == square[1, :, 0].tolist() == [0, 50, 150, 200]


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (513, 511)])
def test_fit_of_any_shape(noise, shape):
    square, (height, width) = fit(noise(*shape), 32)
    assert square.shape == (32, 32, 3)  # no side is shorter, however thin the picture
    assert max(height, width) == 32 and min(height, width) >= 1


def test_a_path_object_of_another_kind(noise, tmp_path):
    class Location:
        def __fspath__(self):
            return str(tmp_path / "picture.bmp")

    Path(Location()).write_bytes(encode(noise(3, 2), "BMP"))
    assert (read_image(Location()) == noise(3, 2)).all()


# ---------------------------------------------------------------- contrast


def test_auto_contrast_by_hand():
    """1,000 pixels from 50 to 149: the lowest and the highest come to the ends, all else in between in proportion."""
    values = np.repeat(np.arange(50, 150, dtype=np.uint8), 30)
    image = np.random.default_rng(0).permutation(values).reshape(50, 20, 3)
    stretched = auto_contrast(image)
    assert stretched.dtype == np.uint8 and stretched.shape == image.shape
    assert (stretched == ((image - 50.0) * 255 / 99).round()).all()


def test_auto_contrast_keeps_hues_and_forgets_a_few_bright_pixels():
    image = np.full((50, 50, 3), (10, 20, 30), np.uint8)
    image[:25] = (20, 40, 60)
    image[0, 0] = 255  # 3 of 7,500 values
    stretched = auto_contrast(image)
    assert stretched[1, 1].tolist() == [51, 153, 255] and stretched[30, 0].tolist() == [0, 51, 102]
    assert (stretched[0, 0] == 255).all()


def test_auto_contrast_leaves_empty_pictures_nearly_empty():
    assert (auto_contrast(np.full((4, 4, 3), 77, np.uint8)) == 0).all()
    noise = np.random.default_rng(0).integers(3, 6, (9, 9, 3)).astype(np.uint8)
    assert auto_contrast(noise).max() == 20  # two steps, ten times each
