"""Which pictures the inputs of a command name."""

from __future__ import annotations

import errno
import glob
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segmenter.export import FORMATS
from segmenter.image import SUFFIXES
from segmenter.tasks import TASKS

RESULT = re.compile(
    "-({})[.]png$".format("|".join(f"{t.name}-({'|'.join((*FORMATS, *t.class_names))})" for t in TASKS.values()))
)


@dataclass(frozen=True)
class Picture:
    """A picture to segment: its ``path`` as it was given or found, and the ``folder`` for its results below that
    of all results, with slashes, "" for none."""

    path: Path
    folder: str = ""


@dataclass
class Found:
    """``pictures`` in the order of the inputs, each once; ``missing`` says for each input that names none why, in
    one sentence; ``results`` counts the pictures left out because an earlier run wrote them."""

    pictures: list[Picture] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    results: int = 0


def find(inputs: Sequence[str]) -> Found:
    """The pictures of files, of folders and all below them, and of patterns (``*``, ``?``, ``[...]``, ``**``).

    What is found in a folder or by a pattern keeps its folders below that one, or below the part of the pattern
    before the first such character; hidden files and files without a picture's ending are left out there.
    """
    found = Found()
    seen: set[Path] = set()
    for text in inputs:
        any_picture = False
        for picture in _pictures(text):
            any_picture = True
            absolute = true_path(picture.path)
            if RESULT.search(picture.path.name):
                found.results += absolute not in seen
            elif absolute not in seen:
                found.pictures.append(picture)
            seen.add(absolute)
        if not any_picture:
            found.missing[text] = _why(text)
    return found


def true_path(path: Path) -> Path:
    """Where a picture is, by whatever links its folder was reached."""
    return Path(os.path.realpath(path.parent)) / path.name


def _pictures(text: str) -> Iterator[Picture]:
    path = _path(text)
    mode = _mode(path)
    if stat.S_ISDIR(mode):
        yield from _below(path, [path])
    elif mode:
        yield Picture(path)
    elif glob.has_magic(text):
        fixed = 0
        while not glob.has_magic(path.parts[fixed]):
            fixed += 1
        matches = sorted(glob.iglob(str(path), recursive=True))  # noqa: PTH207 (Path.glob finds hidden files too)
        yield from _below(Path(*path.parts[:fixed]), map(Path, matches))


def _below(base: Path, matches: Iterable[Path]) -> Iterator[Picture]:
    """The pictures among the matches and in folders among them, with their folders below the base."""
    for match in matches:
        paths = _walk(match) if stat.S_ISDIR(_mode(match)) else [match]
        for path in paths:
            if path.suffix.lower() in SUFFIXES and stat.S_ISREG(_mode(path)):
                folder = os.path.relpath(path.parent, base)
                parts = Path(folder).parts
                yield Picture(path, "" if os.pardir in parts else "/".join(parts))


def _mode(path: Path) -> int:
    """What stands at a path, as ``stat`` has it, 0 where nothing does. What cannot be looked at counts as a file: it is
    named with its reason when it is read."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a path that none can have
        return 0
    except OSError as error:
        # A ring of links, or on Windows a pattern, which no file can be called.
        return 0 if error.errno in (errno.ELOOP, errno.EINVAL) else stat.S_IFREG


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield Path(parent, name)


def _path(text: str) -> Path:
    """The path of an input; in quotes the shell leaves the ~ of the home folder as it is."""
    return Path(text).expanduser() if text.startswith("~/") else Path(text)


def _why(text: str) -> str:
    endings = ", ".join(SUFFIXES)
    if stat.S_ISDIR(_mode(_path(text))):
        return f"{text!r} holds no picture; put files there that end in one of {endings}."
    if glob.has_magic(text):
        return f"{text!r} matches no picture; give a pattern that matches files ending in one of {endings}."
    return f"{text!r} does not exist; give a picture, a folder or a pattern in quotes."
