"""Small files that take much memory or many minutes to decode: told before they are decoded."""

from __future__ import annotations

import math
import re
import struct
from typing import IO, Any

from PIL import TiffImagePlugin

MAX_SCANS = 100  # of a progressive JPEG, as libtiff has it; encoders write about ten
MAX_TILE = 4_000_000  # pixels of a TIFF's tile that may lie outside of the picture
# A TIFF's compressions that tifffile unpacks to no more than it asks for: none, LZW, Deflate by its two numbers,
# PackBits and Zstandard.
BOUNDED = (1, 5, 8, 32946, 32773, 50000)
# A JPEG's marker and the length of its parameters; those without any, filling bytes and a scan's plain 0xFF are none.
MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])(..)", re.DOTALL)
SCAN, END = b"\xda", b"\xd9"


class BombError(ValueError):
    """A file that would take far more than it looks like; its message goes on after the file's name, and ``way_out``
    ends the sentence for people."""

    def __init__(self, message: str, way_out: str = "save it anew, as PNG or JPEG") -> None:
        super().__init__(message)
        self.way_out = way_out


def check_scans(data: bytes) -> None:
    """Refuse a JPEG of more than MAX_SCANS scans, each of which, of a few bytes, goes over the whole picture; other
    files pass."""
    scans, found = 0, MARKER.search(data, 2) if data[:2] == b"\xff\xd8" else None
    while found and found[1] != END:
        scans += found[1] == SCAN
        if scans > MAX_SCANS:
            raise BombError(f"is a JPEG of more than {MAX_SCANS} scans")
        found = MARKER.search(data, found.start() + 2 + int.from_bytes(found[2], "big"))


def check_tiles(image: Any) -> None:
    """Refuse a TIFF (of Pillow) whose tiles are far larger than itself: each is unpacked as a whole."""
    width, height = (image.tag_v2.get(tag) for tag in (TiffImagePlugin.TILEWIDTH, TiffImagePlugin.TILELENGTH))
    if width and height and width * height > MAX_TILE + 4 * math.prod(image.size):
        raise BombError(f"has tiles of {width} x {height}")


def check_segments(page: Any, limit: int) -> None:
    """Refuse a page (of tifffile, which does not look) whose strips or tiles hold together more than ``limit`` bytes,
    or are packed so that they may unpack to more than they should hold."""
    size = math.prod(page.chunks) * page.dtype.itemsize
    if size * max(len(page.dataoffsets), math.prod(page.chunked)) > 2 * limit:
        raise BombError(f"has strips or tiles of more than {limit / 1e6:g} MB")
    if page.compression not in BOUNDED:
        raise BombError(
            "is a TIFF of deep values or many bands in a compression that is not read here",
            "save it uncompressed, or with LZW or Deflate",
        )


_load = TiffImagePlugin.ImageFileDirectory_v2.load


def _load_checked(self: TiffImagePlugin.ImageFileDirectory_v2, fp: IO[bytes]) -> None:
    """Refuse a directory of tags, of EXIF or a TIFF, whose values are together larger than the whole: Pillow copies
    each of them, and thousands may name the same bytes."""
    start, end = fp.tell(), fp.seek(0, 2)
    fp.seek(start)
    big, order = self._bigtiff, self._endian
    (count,) = struct.unpack(order + ("Q" if big else "H"), fp.read(8 if big else 2).ljust(8 if big else 2, b"\0"))
    entry = struct.Struct(order + ("HHQ8x" if big else "HHL4x"))
    entries = fp.read(min(count, end // entry.size) * entry.size)
    fp.seek(start)
    whole = len(entries) // entry.size * entry.size
    units = {kind: unit for kind, (unit, _) in self._load_dispatch.items()}
    sizes = [number * units.get(kind, 0) for _, kind, number in entry.iter_unpack(entries[:whole])]
    # What is larger than the file cannot be read at all; and some programs let two tags share a value.
    if sum(size for size in sizes if size <= end) > 2 * end:
        raise BombError("has tags that claim the same bytes again and again")
    _load(self, fp)


TiffImagePlugin.ImageFileDirectory_v2.load = _load_checked  # type: ignore[method-assign]
