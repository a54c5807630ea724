"""Every kind of file through every door: a mask of the right size, or one clear sentence."""

from __future__ import annotations

import csv
import html
import io
import json
import os
import re
import stat
import subprocess
import sys
import threading
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from page_fakes import LOOKS, FakeSegmenter, given
from PIL import Image

from page import api, batch, batch_tab, handlers
from page.desk import Desk
from segmenter import TASKS, ImageError, Segmenter
from segmenter import image as reader
from segmenter.cli.commands import main
from segmenter.image import SUFFIXES, read_image

from .corpus import KINDS, NAMES, Kind, assert_sentence, content, judge
from .files import encode, packed, photo

pytestmark = pytest.mark.robustness
pytest_plugins = ["page_fakes", "page_server"]

Fakes = dict[str, FakeSegmenter]

every_kind = pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, id=kind.name, marks=[pytest.mark.slow] if kind.heavy else []) for kind in KINDS],
)
LIGHT = [kind for kind in KINDS if not kind.heavy]


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter.load("pets")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus, without its heaviest kinds, as files."""
    folder = tmp_path_factory.mktemp("corpus")
    for kind in LIGHT:
        (folder / kind.name).write_bytes(content(kind))
    return folder


def test_there_are_enough_kinds() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS) >= 60


@every_kind
def test_python(segmenter: Segmenter, kind: Kind) -> None:
    try:
        result = segmenter.predict(content(kind))
    except ImageError as error:
        judge(kind, None, str(error))
    else:
        assert result.confidence.shape == result.class_ids.shape == result.image.shape[:2]
        assert np.isfinite(result.confidence).all()
        judge(kind, result.class_ids.shape[::-1])


def test_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "pets", str(folder), "--out", str(tmp_path), "--format", "mask", "--json"]) == 1
    outcomes = {Path(row["path"]).name: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert set(outcomes) == {kind.name for kind in LIGHT if Path(kind.name).suffix in SUFFIXES}
    for kind in LIGHT:
        row = outcomes[kind.name]
        if row["status"] == "failed":
            judge(kind, None, row["reason"])
        else:
            with Image.open(row["files"][0]) as mask:
                judge(kind, mask.size)


@pytest.mark.parametrize("kind", LIGHT, ids=lambda kind: kind.name)
def test_page_and_endpoints(fakes: Fakes, folder: Path, kind: Kind) -> None:
    file = given(folder / kind.name)
    shown = handlers.on_upload(file, "pets", Desk(), *LOOKS)
    if shown.view is None:
        said = re.search("<p>([^<]*)</p>", shown.stage["value"])
        judge(kind, None, html.unescape(said[1]))
        for call in (lambda: api.segment("pets", file), lambda: api.score("pets", file, file)):
            with pytest.raises(gr.Error) as caught:
                call()
            judge(kind, None, caught.value.message)
    else:
        judge(kind, shown.view.size[::-1])
        judge(kind, Image.open(api.segment("pets", file)[1]).size)


def test_batch(fakes: Fakes, folder: Path, tmp_path: Path) -> None:
    """A zip of the corpus, itself inside folders: every kind is a row, none keeps the others."""
    data = packed({f"a/../{kind.name}": content(kind) for kind in LIGHT})
    (tmp_path / "corpus.zip").write_bytes(data)
    path, rows = api.segment_batch("pets", [given(tmp_path / "corpus.zip")])
    assert len(rows) == len(LIGHT)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        for kind, row in zip(LIGHT, rows, strict=True):
            if row["problem"] is not None:
                judge(kind, None, row["problem"])
            else:
                with archive.open(row["mask"]) as file, Image.open(file) as mask:
                    judge(kind, mask.size)


@pytest.mark.slow
@pytest.mark.parametrize("kind", LIGHT, ids=lambda kind: kind.name)
def test_running_server(clients: Any, folder: Path, kind: Kind) -> None:
    from gradio_client import handle_file
    from gradio_client.exceptions import AppError

    try:
        answer = clients("pets", handle_file(folder / kind.name))
    except AppError as error:
        judge(kind, None, str(error))
    else:
        with Image.open(answer[1]) as mask:
            judge(kind, mask.size)


@pytest.fixture(scope="module")
def clients(server: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from gradio_client import Client

    client = Client(server, verbose=False, download_files=str(tmp_path_factory.mktemp("answers")))
    return lambda *arguments: client.predict(*arguments, api_name="/segment")


# ---------------------------------------------------------------- names


@pytest.mark.parametrize("name", NAMES)
def test_names(fakes: Fakes, tmp_path: Path, name: str) -> None:
    """A name is shown as it is and does nothing: in HTML, in tables, in the names of results."""
    stored = tmp_path / "stored.png"
    stored.write_bytes(encode(photo(), "PNG"))
    file = {"path": str(stored), "orig_name": name}
    path, rows = api.segment_batch("pets", [file, {"path": str(tmp_path / "gone.png"), "orig_name": name}])
    assert [row["problem"] is None for row in rows] == [True, False]
    assert_sentence(rows[1]["problem"])
    with zipfile.ZipFile(path) as archive:
        members = archive.namelist()
        table = list(csv.reader(io.StringIO(archive.read("stats.csv").decode("utf-8-sig"))))
    for member in members:
        assert member == Path(member).name and member.isprintable() and not set(member) & set('<>:"/\\|?*')
    for row in table:
        assert not any(cell.startswith(("=", "+", "@", "\t", "\r", "-")) for cell in row)
    drawn = batch_tab.table([(batch.Row(name, f"{name} is bad."), "")])
    assert "<script" not in drawn and "<img src=x" not in drawn


def test_names_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    names = [name for name in NAMES if "/" not in name and not name.startswith(".")]
    for name in names:
        (pictures / name).write_bytes(encode(photo(), "PNG"))
    out = tmp_path / "out"
    assert main(["predict", "pets", str(pictures), "--out", str(out), "--format", "mask,coco,geojson"]) == 0
    assert "\x1b" not in capsys.readouterr().err
    assert {path.parent for path in out.iterdir()} == {out}
    assert len(list(out.glob("*-mask.png"))) == len(list(out.glob("*-coco.json"))) == len(names)
    for path in out.glob("*json"):
        json.loads(path.read_text())
    rows = list(csv.DictReader(io.StringIO((out / "summary.csv").read_text())))
    assert len(rows) == len(names) * len(TASKS["pets"].classes)


# ---------------------------------------------------------------- zips


def test_a_zip_of_very_many_files_is_refused(fakes: Fakes, tmp_path: Path) -> None:
    path = tmp_path / "many.zip"
    path.write_bytes(packed({f"{number}.png": b"" for number in range(10_000)}, zipfile.ZIP_STORED))
    with pytest.raises(batch.BatchError) as caught:
        batch.entries([("many.zip", path)])
    assert_sentence(str(caught.value).capitalize())


def test_a_zip_of_more_entries_than_memory_is_not_listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each entry of a directory takes 50 bytes in the file and ten times as much in memory."""
    path = tmp_path / "entries.zip"
    path.write_bytes(packed({f"{number}.txt": b"" for number in range(batch.MAX_ENTRIES + 1)}, zipfile.ZIP_STORED))
    monkeypatch.setattr(zipfile.ZipFile, "infolist", lambda archive: pytest.fail("listed"))
    (entry,) = batch.entries([("entries.zip", path)])
    assert f"more than {batch.MAX_ENTRIES:,} files" in entry.problem
    assert_sentence(entry.problem)


def test_a_bomb_in_a_zip_is_not_unpacked(fakes: Fakes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(batch, "MAX_FILE_BYTES", 1_000_000)
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda archive, member: pytest.fail("unpacked"))
    path = tmp_path / "bomb.zip"
    path.write_bytes(packed({"bomb.png": bytes(1_000_001)}))
    assert path.stat().st_size < 2000
    (row,) = batch.run(batch.entries([("bomb.zip", path)]), TASKS["pets"], tmp_path / "out.zip", lambda: False)
    assert "the limit is 1;" in row.problem
    assert_sentence(row.problem)


def test_a_zip_that_claims_less_than_it_holds(fakes: Fakes, tmp_path: Path) -> None:
    data = packed({"a.png": bytes(5_000_000)})
    size = (5_000_000).to_bytes(4, "little")
    assert data.count(size) == 2
    path = tmp_path / "liar.zip"
    path.write_bytes(data.replace(size, (100).to_bytes(4, "little")))
    (row,) = batch.run(batch.entries([("liar.zip", path)]), TASKS["pets"], tmp_path / "out.zip", lambda: False)
    assert_sentence(row.problem)


@pytest.mark.parametrize("packing", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_is_unpacked_no_further_than_it_claims(fakes: Fakes, tmp_path: Path, packing: int) -> None:
    data = packed({"a.png": bytes(60_000_000)}, packing)
    size = (60_000_000).to_bytes(4, "little")
    path = tmp_path / "liar.zip"
    path.write_bytes(data.replace(size, (100).to_bytes(4, "little")))
    tracemalloc.start()
    (row,) = batch.run(batch.entries([("liar.zip", path)]), TASKS["pets"], tmp_path / "out.zip", lambda: False)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert_sentence(row.problem)
    assert most < 20_000_000


# ---------------------------------------------------------------- files that are none


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a system with pipes")
def test_what_has_no_end_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", Path("/dev/zero")):
        assert not stat.S_ISREG(path.stat().st_mode)
        done: list[Exception] = []

        def read(path: Path = path, done: list[Exception] = done) -> None:
            with pytest.raises(ImageError, match="is a device or a pipe") as caught:
                read_image(path)
            done.append(caught.value)

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        thread.join(60)
        assert done


def test_a_file_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.tif"
    with path.open("wb") as file:
        file.truncate(reader.MAX_BYTES + 1)
    with pytest.raises(ImageError, match="has 400 MB, the limit is 400; make it smaller"):
        read_image(path)


# ---------------------------------------------------------------- limits


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux to measure memory")
def test_no_kind_takes_ten_seconds_or_a_gigabyte() -> None:
    """In a process of its own, whose memory may grow by a gigabyte and no more."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.robustness.limits"],
        cwd=Path(__file__).parent.parent.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert ran.returncode == 0, ran.stderr
    measured = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(measured) == len(KINDS)
    for found in measured:
        assert found["seconds"] < 10 and found["megabytes"] < 1000, found
