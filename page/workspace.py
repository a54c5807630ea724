"""The folder for everything that is written while the page runs: bounded, and gone when the program is."""

from __future__ import annotations

import atexit
import logging
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from gradio.utils import get_upload_folder

KEEP_SECONDS = 3600  # uploads and results
LATE_SECONDS = 600  # Gradio deletes what it knows of; what is left after this time more, it does not
MOST_BYTES = 4_000_000_000  # of uploads and results; beyond that the oldest go first
SWEEP_SECONDS = 60


def begin() -> Path:
    """Make the folder in which every temporary file of this process goes, and remove those of processes that were
    killed. It goes when the program ends."""
    base = Path(tempfile.gettempdir())
    for folder in base.glob("segmenter-*-*"):
        owner = re.match(r"segmenter-(\d+)-", folder.name)
        if owner and not _runs(int(owner[1])):
            shutil.rmtree(folder, ignore_errors=True)
    tempfile.tempdir = tempfile.mkdtemp(prefix=f"segmenter-{os.getpid()}-")
    atexit.register(shutil.rmtree, tempfile.tempdir, ignore_errors=True)
    # Parts of Gradio asked for their folder when they were imported: what MCP brings would stay there for ever.
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("gradio.") and hasattr(module, "DEFAULT_TEMP_DIR"):
            module.DEFAULT_TEMP_DIR = get_upload_folder()
    return Path(tempfile.tempdir)


def _runs(pid: int) -> bool:
    """Whether another process of this number is there; on Windows that cannot be asked without harm."""
    if pid == os.getpid():
        return False
    if os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def keep(paths: Iterable[Path]) -> None:
    """Let the age of files that are still needed begin anew."""
    for path in paths:
        with suppress(OSError):
            os.utime(path)


def keep_clean(needed: Callable[[], Iterable[Path]]) -> None:
    """Sweep the uploads and results for ever, but for the files that are ``needed``."""
    while True:
        time.sleep(SWEEP_SECONDS)
        try:
            keep(needed())
            sweep(Path(get_upload_folder()))
        except Exception:  # this time; the files are bounded by the next
            logging.getLogger(__name__).exception("the uploads could not be swept")


def sweep(folder: Path, keep_seconds: float = KEEP_SECONDS + LATE_SECONDS, most_bytes: int = MOST_BYTES) -> None:
    """Delete the files below a folder that are older, uploads that broke off among them, and the oldest of the others
    as long as they are too many bytes; then the folders that are left empty."""
    files, folders = [], []
    for place, below, here in os.walk(folder):  # which leaves out what goes meanwhile
        for name, kind in [(name, folders) for name in below] + [(name, files) for name in here]:
            path = Path(place, name)
            with suppress(OSError):
                found = path.lstat()
                kind.append((found.st_ctime, found.st_size, path))
    total, now = sum(size for _, size, _ in files), time.time()
    for changed, size, path in sorted(files, key=lambda file: file[0]):
        if now - changed > keep_seconds or total > most_bytes:
            with suppress(OSError):
                path.unlink()
                total -= size
    for changed, _, path in reversed(folders):  # the deepest first
        if now - changed > keep_seconds:
            with suppress(OSError):  # not empty
                path.rmdir()
