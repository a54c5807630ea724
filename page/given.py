"""What a visitor gives: Gradio's records of files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from segmenter.export import safe_stem

GradioFile = Mapping[str, Any]  # with its ``path``, and the ``orig_name`` that it had with the visitor


class Given(NamedTuple):
    """A file: its path here, and its name there, of which Gradio drops some characters in the path."""

    path: str
    name: str

    @property
    def stem(self) -> str:
        """What the names of files made of it begin with."""
        return safe_stem(Path(self.name).stem)


def given(file: GradioFile) -> Given:
    path = str(file["path"])
    name = Path(str(file.get("orig_name") or path)).name
    return Given(path, name.encode(errors="replace").decode())  # half a surrogate pair cannot be written anywhere


def uploads(files: Sequence[GradioFile] | None) -> list[tuple[str, str]]:
    """The name of each file and its path."""
    return [(found.name, found.path) for found in map(given, files or ())]


def paths(data: Any) -> Iterator[Path]:
    """The paths of all files in what came with a call, however deep."""
    if isinstance(data, Mapping):
        if isinstance(data.get("path"), str):
            yield Path(data["path"])
    elif isinstance(data, Sequence) and not isinstance(data, str):
        for each in data:
            yield from paths(each)
