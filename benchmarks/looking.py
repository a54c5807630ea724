"""The page: a new picture for another opacity, style, mode or choice of classes at 1920x1080, and what is sent."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.measure import parser, row, table, times
from benchmarks.pictures import generated, jpeg
from page.given import given
from page.pictures import Look, draw, save
from page.view import look

LOOKS = {
    "opacity": Look("Overlay", "Fill", 70, ("pet", "border")),
    "outline": Look("Overlay", "Outline", 70, ("pet", "border")),
    "one class fewer": Look("Overlay", "Fill", 50, ("pet",)),
    "confidence": Look("Confidence"),
    "mask": Look("Mask", classes=("pet", "border")),
    "one class": Look("One class", one="pet"),
}


def main(arguments: list[str] | None = None) -> str:
    options = parser(__doc__).parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.jpg"
        path.write_bytes(jpeg(generated(1080, 1920)))
        view = look(given({"path": path}), "pets")
        sent = {}

        def show(name: str) -> None:
            chosen = LOOKS[name]
            sent[name] = Path(save(draw(view, chosen), f"picture.{chosen.suffix}")).stat().st_size

        found = times({name: (lambda name=name: show(name)) for name in LOOKS}, rounds=3 if options.quick else 20)
    rows = [[*row(name, milliseconds), f"{sent[name] / 1000:.0f}"] for name, milliseconds in found.items()]
    return table(["change", "ms", "middle half", "KB sent"], rows)


if __name__ == "__main__":
    print(main())
