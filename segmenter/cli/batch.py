"""Many pictures: what is done is skipped, what fails is told, the others go on. Results are written in threads
while the network reads the next pictures."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from segmenter.cli.pictures import Picture
from segmenter.cli.record import Entry, Job, Record
from segmenter.config import CONFIG_FILE, WEIGHTS_FILE
from segmenter.export import save
from segmenter.geo import Georeference, pixel_side, read_georeference
from segmenter.image import read_image
from segmenter.predict import Segmenter
from segmenter.result import Segmentation
from segmenter.tasks import TASKS
from segmenter.threads import usable_cpus

# Results that are written while others are read: as many as there are processors, and so many more while all of them
# are small, since one large picture takes as long to compress as many small ones to read.
MOST_SAVING, MOST_SAVING_PIXELS = 16, 20_000_000
MOST_HELD_PIXELS = 100_000_000  # of all that are written, at some 40 bytes each, however many processors there are

# What one picture may meet while the next one need not: a file that is none, no room, a device that gives up.
TROUBLE = (MemoryError, OSError, RuntimeError, ValueError)


@dataclass(frozen=True)
class Wanted:
    """What every picture should get: the results of a task in ``formats``, from the weights in the folder
    ``weights``, with ``flips`` as in ``Segmenter.load`` and ``pixel_size`` as in ``export.save``; where that is
    None, what a GeoTIFF tells is taken."""

    task: str
    formats: tuple[str, ...]
    weights: Path
    flips: bool = False
    pixel_size: float | None = None

    def options(self) -> dict[str, Any]:
        """What decides a result beside the picture, as it stands in the record."""
        digest = hashlib.sha256()
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            path = self.weights / name
            digest.update(path.read_bytes() if path.is_file() else b"")
        return {"weights": digest.hexdigest()[:16], "tta": self.flips, "pixel_size": self.pixel_size}


@dataclass(frozen=True)
class Outcome:
    """What became of one picture, ``path`` as it was given. ``reason`` tells in one sentence why it failed;
    ``stats``, ``objects`` and ``notice`` are as in ``Entry``, ``files`` the paths of the results that were wanted."""

    path: str
    status: Literal["done", "skipped", "failed"]
    reason: str | None = None
    stats: list[dict[str, Any]] = field(default_factory=list)
    objects: int | None = None
    notice: str | None = None
    files: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Read:
    """A picture that waits for its result; ``version`` is that of its file before it was read, ``failed`` what failed
    right before it, ``pixel_size`` as in ``export.save``."""

    failed: list[Outcome]
    job: Job
    version: list[int]
    ground: Georeference | None
    pixel_size: float | None
    image: np.ndarray


class Batch:
    """One run over pictures into the folder of ``record``.

    ``skipped`` holds an outcome for each that was done before, which none is where ``force`` is set; ``todo`` the
    others in their order.
    """

    def __init__(self, record: Record, wanted: Wanted, pictures: Sequence[Picture], force: bool = False) -> None:
        self.record, self.wanted, self.options = record, wanted, wanted.options()
        self.skipped: list[Outcome] = []
        self.todo: list[Job] = []
        for job in record.jobs(pictures):
            entry = record.find(wanted.task, job.source)
            if entry is not None and not force and self._is_current(entry, job):
                self.skipped.append(self._told("skipped", job, entry))
            else:
                self.todo.append(job)
        self._waiting: deque[_Read] = deque()
        self._failed: list[Outcome] = []

    def _is_current(self, entry: Entry, job: Job) -> bool:
        formats = self.wanted.formats
        return (
            entry.options == self.options
            and entry.version == _version(job.picture.path)
            and set(formats) <= set(entry.files)
            and all(path.is_file() for path in self.record.paths(entry, formats))
        )

    def run(self, segmenter: Segmenter) -> Iterator[Outcome]:
        """Do what is to do: an outcome for each picture, in their order."""
        with ThreadPoolExecutor(usable_cpus()) as pool:
            saving: deque[tuple[_Read, Future[Entry]]] = deque()
            for read, result in self._results(segmenter):
                saving.append((read, pool.submit(self._save, read, result)))
                while _are_enough([read.image for read, _ in saving]):
                    yield from self._finish(*saving.popleft())
            while saving:
                yield from self._finish(*saving.popleft())
        yield from self._failed

    def _results(self, segmenter: Segmenter) -> Iterator[tuple[_Read, Segmentation | Exception]]:
        """Each picture that can be read, in their order, with its result or what kept it from one."""
        images = self._images(segmenter.max_pixels)
        complete = False
        while not complete:
            try:
                for result in segmenter.predict_many(images):
                    yield self._waiting.popleft(), result
                complete = True
            except TROUBLE:  # in a batch: each of its pictures has a second chance, alone
                if not self._waiting:
                    raise
                while self._waiting:
                    read = self._waiting.popleft()
                    try:
                        result = segmenter.predict(read.image)
                    except TROUBLE as error:
                        yield read, error
                    else:
                        yield read, result

    def _images(self, max_pixels: int) -> Iterator[np.ndarray]:
        """The pictures that can be read; each waits for its result, the others have failed."""
        unit = TASKS[self.wanted.task].length_unit
        for job in self.todo:
            path = job.picture.path
            try:
                version = _version(path)
                ground = read_georeference(path) if "geojson" in self.wanted.formats else None
                size = self.wanted.pixel_size or (ground.side(unit) if ground else pixel_side(path, unit))
                image = read_image(path, max_pixels)
                image.flags.writeable = False  # so that the network's side copies no picture
            except TROUBLE as error:
                self._failed.append(self._failure(job, error))
            else:
                self._waiting.append(_Read(self._failed, job, version, ground, size, image))
                self._failed = []
                yield image

    def _finish(self, read: _Read, saved: Future[Entry]) -> Iterator[Outcome]:
        """What became of the pictures that failed right before one, and of that one itself."""
        yield from read.failed
        try:
            entry = saved.result()
            self.record.add(entry)
        except TROUBLE as error:
            yield self._failure(read.job, error)
        else:
            yield self._told("done", read.job, entry)

    def _save(self, read: _Read, result: Segmentation | Exception) -> Entry:
        """Write the results; what the record is to hold of them."""
        if isinstance(result, Exception):
            raise result
        place = self.record.out / read.job.name
        transform, crs = (read.ground.transform, read.ground.crs) if read.ground else (None, None)
        picture = read.job.picture.path.name
        files = {}
        for kind in self.wanted.formats:
            paths = save(result, place.parent, place.name, (kind,), read.pixel_size, transform, crs, picture)
            files[kind] = [path.name for path in paths]
        job = read.job
        before = self.record.find(self.wanted.task, job.source)
        if before is not None and (before.options, before.version) == (self.options, read.version):
            files = {**before.files, **files}
        elif before is not None and before.version != read.version:
            self._remove(before, set(before.files) - set(files))
        return Entry(
            task=self.wanted.task,
            source=job.source,
            path=str(job.picture.path),
            name=job.name,
            version=read.version,
            options=self.options,
            files=files,
            stats=[
                {
                    "class": found.name,
                    "pixels": found.pixels,
                    "percent": round(100 * found.fraction, 4),
                    "mean_confidence": round(found.confidence, 4),
                }
                for found in result.stats()
            ],
            objects=int(result.instances().max()) if result.task.has_objects else None,
            notice=result.notice,
            pixel_size=read.pixel_size,
        )

    def _failure(self, job: Job, error: Exception) -> Outcome:
        """What became of a picture that failed; what was found in it before it changed no longer counts."""
        before, version = self.record.find(self.wanted.task, job.source), _version(job.picture.path)
        if before is not None and version and before.version != version:
            self._remove(before, before.files)
            with suppress(OSError):
                self.record.add(replace(before, version=version, files={}, stats=[], objects=None, notice=None))
        return Outcome(str(job.picture.path), "failed", _reason(error))

    def _remove(self, entry: Entry, formats: Iterable[str]) -> None:
        """Take away results of a picture that is no longer what it was; a record may name other files too."""
        out, begin = self.record.out.resolve(), f"{PurePosixPath(entry.name).name}-{entry.task}"
        for path in self.record.paths(entry, formats):
            with suppress(OSError):
                if path.name.startswith(begin) and path.resolve().is_relative_to(out):
                    path.unlink()

    def _told(self, status: Literal["done", "skipped"], job: Job, entry: Entry) -> Outcome:
        files = [str(path) for path in self.record.paths(entry, self.wanted.formats)]
        return Outcome(str(job.picture.path), status, None, entry.stats, entry.objects, entry.notice, files)


def _are_enough(images: Sequence[np.ndarray]) -> bool:
    """Whether of the results that are being written one must be done before the next."""
    pixels = sum(image.shape[0] * image.shape[1] for image in images)
    many = len(images) > usable_cpus() and (len(images) > MOST_SAVING or pixels > MOST_SAVING_PIXELS)
    return many or (len(images) > 1 and pixels > MOST_HELD_PIXELS)


def _reason(error: Exception) -> str:
    """Why a picture failed, in one sentence."""
    if isinstance(error, MemoryError):
        return "there is not enough memory for it; make it smaller or cut it into parts."
    if isinstance(error, OSError):
        return f"its results cannot be written ({error.strerror or error}); make room, or choose another folder."
    if isinstance(error, RuntimeError):  # of torch: long, the first line tells
        return f"it cannot be segmented ({(str(error) or 'unknown').splitlines()[0][:160].rstrip('.')})."
    return str(error)


def _version(path: Path) -> list[int]:
    """What changes with a file: its size in bytes and its time of change in ns; of one that is gone, nothing."""
    try:
        found = path.stat()
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns]
