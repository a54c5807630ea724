"""Files that are there whole or not at all, and where those go that can be made again."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place first, then put it there; its folder must exist. OSError from the disk."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def checksum(name: str, content: bytes) -> str:
    """The line of a file as `sha256sum` writes and checks it."""
    return f"{hashlib.sha256(content).hexdigest()}  {name}\n"


def user_cache() -> Path:
    """The project's folder where the operating system wants programs to keep what can be had again."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "segmenter"


def keep_newest(parent: Path, count: int) -> None:
    """Remove all folders in ``parent`` but the newest ``count``."""
    newest_first = sorted(parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in newest_first[count:]:
        shutil.rmtree(old, ignore_errors=True)
