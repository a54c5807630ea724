"""Files made byte by byte, which no honest program writes."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import Any

import numpy as np
import tifffile
from PIL import Image

WIDTH, HEIGHT = 64, 48  # of the good picture that most files are made of


def photo(mode: str = "RGB") -> Image.Image:
    """A picture of a gradient and some noise, so that its files have something to lose."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    noise = np.random.default_rng(0).integers(0, 60, (HEIGHT, WIDTH))
    pixels = np.stack([rows * 4, columns * 3, noise + 100], axis=-1).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encode(image: Image.Image | np.ndarray, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(array: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def png(width: int, height: int, *chunks: tuple[bytes, bytes], bits: int = 8, colour: int = 2) -> bytes:
    """A PNG of a header and chunks (name, content); colour 0 is grey, 2 RGB."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )


def black_png(side: int) -> bytes:
    """A black square in 1 bit a pixel: a few kilobytes that unpack to all its rows."""
    row = b"\0" + bytes((side + 7) // 8)
    packer = zlib.compressobj(9)
    packed = b"".join([*(packer.compress(row) for _ in range(side)), packer.flush()])
    return png(side, side, (b"IDAT", packed), bits=1, colour=0)


def bmp_header(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, *[0] * 6)


def gif_header(width: int, height: int) -> bytes:
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6) + frame + b"\x3b"


def webp_header(width: int, height: int) -> bytes:
    extended = struct.pack("<I", 0) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", len(extended)) + extended
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg_header(width: int, height: int) -> bytes:
    """The good picture's file with another size in its frame header."""
    data = bytearray(encode(photo(), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def tiff_tags(*entries: tuple[int, int, int, int], following: int = 0) -> bytes:
    """A TIFF of one directory with entries (tag, type, count, value) and the offset of the next directory."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries)) + body + struct.pack("<I", following)


def tiff_claim(width: int, height: int, *more: tuple[int, int, int, int], following: int = 0) -> bytes:
    """A grey TIFF that claims a size and one strip of 16 bytes."""
    entries = {
        256: (256, 4, 1, width),
        257: (257, 4, 1, height),
        258: (258, 3, 1, 8),
        259: (259, 3, 1, 1),
        262: (262, 3, 1, 1),
        273: (273, 4, 1, 8),
        277: (277, 3, 1, 1),
        278: (278, 4, 1, height),
        279: (279, 4, 1, 16),
    }
    entries |= {entry[0]: entry for entry in more}
    return tiff_tags(*(entries[tag] for tag in sorted(entries)), following=following)


def same_bytes(tags: int, length: int) -> bytes:
    """A TIFF's head, or EXIF, of so many tags of text that are all the same bytes."""
    place = 8 + 2 + 12 * tags + 4
    return tiff_tags(*((40_000 + tag % 20_000, 2, length, place) for tag in range(tags))) + b"a" * length


def tags_of_jpeg(exif: bytes) -> bytes:
    data = encode(photo(), "JPEG")
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 8) + b"Exif\0\0" + exif + data[2:]


def endless_deflate(megabytes: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join([*(packer.compress(bytes(1_000_000)) for _ in range(megabytes)), packer.flush()])


def strip_that_grows(compression: int, packed: bytes) -> bytes:
    """A TIFF of 16x16 pixels in three bands of 16 bits, whose one strip unpacks to far more."""
    place = 8 + 2 + 12 * 9 + 4
    tags = tiff_tags(
        (256, 3, 1, 16), (257, 3, 1, 16), (258, 3, 3, place), (259, 3, 1, compression), (262, 3, 1, 2),
        (273, 4, 1, place + 6), (277, 3, 1, 3), (278, 3, 1, 16), (279, 4, 1, len(packed)),
    )  # fmt: skip
    return tags + struct.pack("<HHH", 16, 16, 16) + packed


def many_scans(side: int, scans: int) -> bytes:
    """A black progressive JPEG whose last scan comes again and again."""
    data = encode(Image.new("RGB", (side, side)), "JPEG", progressive=True)
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * scans + data[-2:]


def cmyk_of_adobe(transform: int) -> bytes:
    """A JPEG of four channels with Adobe's marker: transform 0 is CMYK, 2 is YCCK."""
    data = bytearray(encode(photo("CMYK"), "JPEG"))
    marker = b"\xff\xee" + struct.pack(">H", 14) + b"Adobe" + struct.pack(">HHHB", 100, 0, 0, transform)
    found = data.find(b"\xff\xee")
    if found >= 0:
        data[found : found + 2 + int.from_bytes(data[found + 2 : found + 4], "big")] = b""
    return bytes(data[:2]) + marker + bytes(data[2:])


def packed(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()
