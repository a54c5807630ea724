"""Many pictures, from files to saved masks: the command line's batch against a loop over predict and save."""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
from pathlib import Path

from benchmarks.measure import parser, table
from benchmarks.pictures import generated, jpeg
from segmenter import Segmenter
from segmenter.cli.commands import main as segment
from segmenter.export import save

SIZES = ((375, 500), (500, 333), (480, 640), (720, 960), (256, 256), (1080, 1920))
COUNT, TASK = 500, "pets"


def loop(files: list[Path], out: Path) -> None:
    segmenter = Segmenter.load(TASK)
    for file in files:
        save(segmenter.predict(file), out, file.stem, ("mask", "overlay"))


def main(arguments: list[str] | None = None) -> str:
    options = parser(__doc__).parse_args(arguments)
    count = 24 if options.quick else COUNT
    with tempfile.TemporaryDirectory() as folder:
        source, *targets = (Path(folder) / name for name in ("source", "loop", "batch"))
        for path in (source, *targets):
            path.mkdir()
        files = [source / f"{number:03}.jpg" for number in range(count)]
        for number, file in enumerate(files):
            file.write_bytes(jpeg(generated(*SIZES[number % len(SIZES)], number)))
        Segmenter.load(TASK).predict(files[0])
        command = ["predict", TASK, str(source), "--out", str(targets[1]), "--format", "mask,overlay"]
        seconds = []
        for program in (
            lambda: loop(files, targets[0]),
            lambda: segment(command),
        ):
            before = time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                program()
            seconds.append(time.perf_counter() - before)
        masks = [len(list(target.glob("*-mask.png"))) for target in targets]
    if masks != [count, count]:
        raise SystemExit(f"of {count} pictures {masks} masks were written; the times mean nothing.")
    rows = [
        [name, f"{took:.1f}", f"{count / took:.1f}", f"{seconds[0] / took:.2f}"]
        for name, took in zip(("predict and save in a loop", "python -m segmenter predict"), seconds, strict=True)
    ]
    return table([f"{count} pictures of 6 sizes", "s", "pictures a second", "times the loop"], rows)


if __name__ == "__main__":
    print(main())
