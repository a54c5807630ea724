"""Many pictures, one after the other: files and zips of files go in, a zip of masks, overlays and a table comes out."""

from __future__ import annotations

import csv
import io
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from page import workspace
from page.models import segmenter_for
from page.words import areas, complaint, sentence
from segmenter import ImageError, Segmentation, Stopped
from segmenter.draw import shrink
from segmenter.export import TABLE_ENCODING, mask_image, overlay_image, png_bytes, safe_cell, safe_stem
from segmenter.image import MAX_BYTES as MAX_FILE_BYTES
from segmenter.image import SUFFIXES
from segmenter.tasks import Task

MAX_PICTURES = 1000
MAX_BYTES = 2_000_000_000  # of all members of zips, unpacked
MAX_ENTRIES = 20_000  # files of all kinds in one zip: a list of them takes ten times the memory that it has there
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # of the others a few bytes unpack to gigabytes at once
PIECE = 1_000_000  # bytes
THUMBNAIL_SIDE = 160  # pixels, shown at half of it

# Batches go beside single pictures, which need not wait for them, and two at once, so that a long one keeps no
# short one waiting.
LANE: dict[str, Any] = {"concurrency_id": "batch", "concurrency_limit": 2}


class BatchError(ValueError):
    """A batch that is not begun; its message is one sentence for people."""


@dataclass(frozen=True)
class Entry:
    """One picture to read: a file, or a ``member`` of the zip at ``path``. ``problem`` tells why it cannot be."""

    name: str
    path: Path
    member: zipfile.ZipInfo | None = None
    problem: str | None = None

    def read(self) -> bytes:
        """Its bytes. ImageError where it cannot be unpacked."""
        if self.problem is not None:
            raise ImageError(self.problem)
        if self.member is None:
            return self.path.read_bytes()
        if self.member.file_size > MAX_FILE_BYTES:
            raise ImageError(
                f"{self.name!r} has {self.member.file_size / 1e6:.0f} MB when unpacked, "
                f"the limit is {MAX_FILE_BYTES / 1e6:g}; make it smaller."
            )
        if self.member.compress_type not in PACKED:
            raise ImageError(f"{self.name!r} is packed in an unusual way; pack it again as a usual zip.")
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
                # At most the size it declares, which ``entries`` has summed; in pieces, or zipfile unpacks all first.
                return b"".join(iter(partial(file.read, PIECE), b""))
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError, ValueError) as error:
            raise ImageError(f"{self.name!r} cannot be unpacked; pack it again without a password.") from error
        except Exception as error:  # zlib, lzma and bz2 have errors of their own
            raise ImageError(f"{self.name!r} is damaged inside its zip; pack it again.") from error


@dataclass(frozen=True, eq=False)
class Row:
    """What came of one picture: a ``problem``, or what was found, ``said`` in a sentence and in ``numbers``: pixels,
    fraction and confidence of each class. ``mask`` and ``overlay`` are the names of its files; ``count`` is of
    objects, None where the task counts none."""

    name: str
    problem: str | None = None
    mask: str = ""
    overlay: str = ""
    said: str = ""
    notice: str | None = None
    size_wh: tuple[int, int] | None = None
    numbers: tuple[float, ...] = ()
    count: int | None = None
    thumbnail: Image.Image | None = None


def entries(files: Sequence[tuple[str, str | Path]]) -> list[Entry]:
    """The pictures among files (name, path) and in zips, by their endings in there; zips in zips are left out.

    BatchError where there are none, more than MAX_PICTURES, or more than MAX_BYTES unpacked.
    """
    found: list[Entry] = []
    size = 0
    for name, path in files:
        if PurePosixPath(name).suffix.lower() != ".zip":
            found.append(Entry(name, Path(path)))
            continue
        try:
            if _count_entries(Path(path)) > MAX_ENTRIES:
                problem = f"{name!r} holds more than {MAX_ENTRIES:,} files, the limit; pack them into several zips."
                found.append(Entry(name, Path(path), problem=problem))
                continue
            with zipfile.ZipFile(path) as archive:
                members = [info for info in archive.infolist() if _is_picture(info)]
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            found.append(Entry(name, Path(path), problem=f"{name!r} is not a zip that can be opened; pack it again."))
            continue
        size += sum(info.file_size for info in members)
        found += [Entry(info.filename, Path(path), info) for info in members[: MAX_PICTURES + 1]]
        if not members:
            found.append(Entry(name, Path(path), problem=f"{name!r} holds no picture; put pictures into it."))
    if not found:
        raise BatchError("there is no picture; choose pictures or a zip of them.")
    if len(found) > MAX_PICTURES:
        raise BatchError(f"there are more than {MAX_PICTURES:,} pictures, the limit; give them in parts.")
    if size > MAX_BYTES:
        raise BatchError(
            f"the zips unpack to {size / 1e9:.1f} GB, the limit is {MAX_BYTES / 1e9:g}; give them in parts."
        )
    return found


def _count_entries(path: Path) -> int:
    """How many files a zip lists, by the marks before each in its directory, of which no list is made."""
    count, tail = 0, b""
    with path.open("rb") as file:
        while chunk := file.read(1_000_000):
            count += (tail + chunk).count(b"PK\1\2")
            tail = chunk[-3:]
    return count


def _is_picture(info: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(info.filename)
    hidden = any(part.startswith((".", "__MACOSX")) and part not in (".", "..") for part in path.parts)
    return not info.is_dir() and not hidden and path.suffix.lower() in SUFFIXES


def run(pictures: Sequence[Entry], task: Task, target: Path, cancelled: Callable[[], bool]) -> Iterator[Row]:
    """Segment pictures one by one into the zip ``target``; yields a row for each as soon as it is done.

    The zip holds a mask and an overlay per picture, by unlike names, and the table ``stats.csv``. It is there, and
    whole, when the iterator ends, whether all pictures were read or ``cancelled`` came true before.
    Once it has begun, uploads that wait for their turn are not deleted, however long it takes.
    """
    rows: list[Row] = []
    stems: set[str] = set()
    part = target.with_name(f".{target.name}.part")
    kept = time.monotonic()
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for entry in pictures:
                if cancelled():
                    break
                if time.monotonic() - kept > workspace.KEEP_SECONDS / 4:
                    workspace.keep({picture.path for picture in pictures})
                    kept = time.monotonic()
                try:
                    rows.append(_segment(entry, task, archive, stems, cancelled))
                except Stopped:
                    break
                yield rows[-1]
            _end_here(archive)
            archive.writestr("stats.csv", table(rows, task).encode(TABLE_ENCODING))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _segment(entry: Entry, task: Task, archive: zipfile.ZipFile, stems: set[str], cancelled: Callable[[], bool]) -> Row:
    """Write the results of one picture; what cannot be is told in its row. Stopped where it is cancelled meanwhile."""
    try:
        result = segmenter_for(task.name).predict(entry.read(), cancelled)
        stem = _unlike(safe_stem(PurePosixPath(entry.name).stem), stems)
        mask, overlay = (f"{stem}-{task.name}-{kind}.png" for kind in ("mask", "overlay"))
        _write(archive, mask, mask_image(result))
        _write(archive, overlay, overlay_image(result))
        return _row(entry.name, mask, overlay, result)
    except (ImageError, MemoryError, OSError, RuntimeError) as error:
        return Row(entry.name, complaint(error).replace("The upload", repr(PurePosixPath(entry.name).name)))


def _unlike(stem: str, taken: set[str]) -> str:
    """The stem, with a number where it is taken; on some systems letters of both cases are the same."""
    number, name = 1, stem
    while name.casefold() in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(name.casefold())
    return name


def _write(archive: zipfile.ZipFile, name: str, image: Image.Image) -> None:
    before, start = len(archive.filelist), archive.start_dir
    try:
        archive.writestr(name, png_bytes(image), zipfile.ZIP_STORED)  # PNG is compressed
    except OSError:  # a full disk; zipfile would list what is there by half
        del archive.filelist[before:]
        archive.start_dir = start
        raise


def _end_here(archive: zipfile.ZipFile) -> None:
    """Cut off what a member that could not be written has left behind the last whole one."""
    if archive.fp is not None:
        archive.fp.seek(archive.start_dir)
        archive.fp.truncate()


def _row(name: str, mask: str, overlay: str, result: Segmentation) -> Row:
    found_areas, stats = areas(result), result.stats()
    return Row(
        name,
        mask=mask,
        overlay=overlay,
        said=sentence(stats, result.task, found_areas),
        notice=result.notice,
        size_wh=(result.image.shape[1], result.image.shape[0]),
        numbers=tuple(value for found in stats for value in (found.pixels, found.fraction, found.confidence)),
        count=None if found_areas is None else len(found_areas),
        thumbnail=overlay_image(shrink(result, THUMBNAIL_SIDE)),
    )


def table(rows: Sequence[Row], task: Task) -> str:
    """CSV text, one row per picture: its name, files, problem, notice, size, objects, and three numbers per class."""
    text = io.StringIO()
    writer = csv.writer(text)
    numbers = [f"{name} {what}" for name in task.class_names for what in ("pixels", "fraction", "confidence")]
    writer.writerow(["picture", "mask", "overlay", "problem", "notice", "width", "height", "objects", *numbers])
    for row in rows:
        size = row.size_wh or ("", "")
        counted = "" if row.count is None else row.count
        writer.writerow(
            [
                safe_cell(row.name),
                safe_cell(row.mask),
                safe_cell(row.overlay),
                safe_cell(row.problem or ""),
                row.notice or "",
                *size,
                counted,
                *row.numbers,
            ]
        )
    return text.getvalue()
