"""What is done in a folder of results: a line of ``record.jsonl`` per picture, and ``summary.csv`` made of them."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from segmenter.cli.pictures import Picture, true_path
from segmenter.export import TABLE_ENCODING, safe_cell, safe_stem
from segmenter.files import write_whole
from segmenter.measure import area
from segmenter.tasks import TASKS

RECORD, SUMMARY, LOCK = "record.jsonl", "summary.csv", ".lock"
COLUMNS = ("picture", "task", "class", "pixels", "percent", "mean_confidence", "objects", "area", "unit", "notice")


@dataclass(frozen=True)
class Entry:
    """What was done with one picture for one task.

    ``source`` is the picture's path from the folder of results, so that both may move together, ``path`` as it was
    given. ``name`` is that of its results below that folder, without "-TASK-FORMAT.ENDING". ``version`` is the
    picture's size in bytes and time of change in ns, ``options`` what else decides a result, ``pixel_size`` as in
    ``export.save``. ``files`` holds for each format the names of its files. ``stats`` has for each class its name,
    pixels, percent and mean_confidence. A picture that was changed since and then failed has neither.
    """

    task: str
    source: str
    path: str
    name: str
    version: list[int]
    options: dict[str, Any]
    files: dict[str, list[str]]
    stats: list[dict[str, Any]]
    objects: int | None
    notice: str | None
    pixel_size: float | None = None


@dataclass(frozen=True)
class Job:
    """A picture, its ``source`` and the ``name`` of its results as in ``Entry``."""

    picture: Picture
    source: str
    name: str


class Record:
    """The record of the folder ``out``; where it holds several lines for a task and a source the last one counts.

    Every line is written at once after the results it tells of, so that a killed run loses the pictures in work
    at most; a half line does no harm. OSError where the folder cannot be made or takes no files.
    """

    def __init__(self, out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.out = out
        self._entries: dict[tuple[str, str], Entry] = {}
        self._path = out / RECORD
        with self._path.open("a+b") as file:
            file.seek(0)
            content = file.read()
        self._torn = bool(content) and not content.endswith(b"\n")
        for line in content.splitlines():
            try:
                entry = Entry(**json.loads(line))
            except (TypeError, ValueError):
                continue
            self._entries[entry.task, entry.source] = entry

    def find(self, task: str, source: str) -> Entry | None:
        return self._entries.get((task, source))

    def add(self, entry: Entry) -> None:
        line = json.dumps(asdict(entry)).encode() + b"\n"
        with self._path.open("ab") as file:
            file.write(b"\n" + line if self._torn else line)
        self._torn = False
        self._entries[entry.task, entry.source] = entry

    def paths(self, entry: Entry, formats: Iterable[str]) -> list[Path]:
        """The files of an entry in some formats."""
        folder = (self.out / PurePosixPath(entry.name)).parent
        return [folder / file for kind in formats for file in entry.files.get(kind, [])]

    def jobs(self, pictures: Sequence[Picture]) -> list[Job]:
        """Give every picture a name for its results that no other picture has, and the same in every run.

        That is the picture's own name without its ending; where another picture has it, with 8 digits of the
        SHA-256 of the source. Capitals make no difference, as file systems have it.
        """
        sources = [self._source(picture.path) for picture in pictures]
        known = {entry.source: entry.name for entry in self._entries.values()}
        taken = {name.casefold() for name in known.values()}
        jobs = []
        for picture, source in zip(pictures, sources, strict=True):
            name = known.get(source)
            if name is None:
                name = self._free_name(picture, source, taken)
                taken.add(name.casefold())
            jobs.append(Job(picture, source, name))
        return jobs

    def _free_name(self, picture: Picture, source: str, taken: Collection[str]) -> str:
        suffix, stem = "", safe_stem(picture.path.stem)
        while True:
            name = "/".join(filter(None, (picture.folder, stem + suffix)))
            if safe_stem(stem + suffix) != stem + suffix:  # too long for a file's name
                stem = stem[:-1]
            elif name.casefold() in taken:
                suffix += "-" + hashlib.sha256(f"{source}{suffix}".encode(errors="surrogateescape")).hexdigest()[:8]
            else:
                return name

    def _source(self, path: Path) -> str:
        absolute = true_path(path)
        try:
            return Path(os.path.relpath(absolute, os.path.realpath(self.out))).as_posix()
        except ValueError:  # on Windows there is no way from one drive to another
            return absolute.as_posix()

    def write_summary(self) -> None:
        """Write ``summary.csv``, whole or not at all: a row for each class of each picture that has results."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        for entry in self._entries.values():
            if any(path.exists() for path in self.paths(entry, entry.files)):
                writer.writerows(_rows(entry))
        write_whole(self.out / SUMMARY, text.getvalue().encode(TABLE_ENCODING, errors="surrogateescape"))


def _rows(entry: Entry) -> list[list[Any]]:
    rows = []
    for row in entry.stats:
        size = entry.pixel_size
        measured = ("", "") if size is None else area(row["pixels"], size, TASKS[entry.task])
        counted = "" if entry.objects is None else entry.objects
        rows.append(
            [
                safe_cell(entry.path),
                entry.task,
                *(row[column] for column in COLUMNS[2:6]),
                counted,
                *measured,
                entry.notice or "",
            ]
        )
    return rows
