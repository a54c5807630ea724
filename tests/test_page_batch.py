"""The Batch tab: zips and files in, rows as they are done, one zip out."""

from __future__ import annotations

import csv
import io
import itertools
import time
import zipfile
from pathlib import Path
from threading import Event

import gradio as gr
import numpy as np
import pytest
from page_fakes import FakeSegmenter, given
from PIL import Image

from page import batch, batch_tab, workspace
from segmenter import TASKS, ImageError

pytest_plugins = ["page_fakes"]

Fakes = dict[str, FakeSegmenter]


def packed(folder: Path, members: dict[str, bytes], name: str = "many.zip") -> Path:
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return path


def named(*paths: Path) -> list[tuple[str, Path]]:
    return [(path.name, path) for path in paths]


def run_all(pictures: list[batch.Entry], target: Path, task: str = "cars") -> list[batch.Row]:
    return list(batch.run(pictures, TASKS[task], target, lambda: False))


def test_a_zip_gives_its_pictures_only(tmp_path: Path, picture: Path) -> None:
    data = picture.read_bytes()
    inner = packed(tmp_path, {"deep.png": data}, "inner.zip").read_bytes()
    members = {
        "a/one.PNG": data,
        "notes.txt": b"x",
        "inner.zip": inner,
        "__MACOSX/a/._one.png": data,
        ".hidden.png": data,
    }
    found = batch.entries(named(packed(tmp_path, members), picture))
    assert [entry.name for entry in found] == ["a/one.PNG", "grey.png"]
    assert found[0].read() == data


def test_names_in_a_zip_reach_no_folder(fakes: Fakes, tmp_path: Path, picture: Path) -> None:
    names = ["../../evil.png", "/etc/evil.png", "a\\..\\evil.png", "evil.png", "EVIL.png"]
    path = packed(tmp_path, dict.fromkeys(names, picture.read_bytes()))
    target = tmp_path / "out" / "out.zip"
    target.parent.mkdir()
    rows = run_all(batch.entries(named(path)), target)
    assert all(row.problem is None for row in rows) and len(rows) == 5
    with zipfile.ZipFile(target) as archive:
        members = archive.namelist()
    assert len({name.casefold() for name in members}) == 11  # a mask and an overlay each, and the table
    assert not any("/" in name or "\\" in name or name.startswith(".") for name in members)
    assert [path.name for path in target.parent.iterdir()] == ["out.zip"]


@pytest.mark.parametrize(
    ("members", "limits", "message"),
    [
        ({"a.png": b"12345678901"}, {"MAX_BYTES": 10}, "unpack to"),
        ({"a.png": b"", "b.png": b"", "c.png": b""}, {"MAX_PICTURES": 2}, "more than 2 pictures"),
    ],
)
def test_a_batch_has_limits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, members: dict[str, bytes], limits: dict[str, int], message: str
) -> None:
    for name, value in limits.items():
        monkeypatch.setattr(batch, name, value)
    with pytest.raises(batch.BatchError, match=message):
        batch.entries(named(packed(tmp_path, members)))


def test_no_file_is_refused() -> None:
    with pytest.raises(batch.BatchError, match="there is no picture"):
        batch.entries([])


def test_a_broken_zip_or_member_is_a_row(fakes: Fakes, tmp_path: Path, picture: Path) -> None:
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK nothing")
    empty = packed(tmp_path, {"notes.txt": b"x"}, "empty.zip")
    noise = np.random.default_rng(0).integers(0, 255, 4000, np.uint8).tobytes()
    torn = packed(tmp_path, {"torn.png": noise}, "torn.zip")
    torn.write_bytes(torn.read_bytes().replace(noise[:50], bytes(50)))  # its checksum fails
    rows = run_all(batch.entries(named(broken, empty, torn, picture)), tmp_path / "out.zip")
    assert [row.name for row in rows] == ["broken.zip", "empty.zip", "torn.png", "grey.png"]
    problems = ["is not a zip that can be opened", "holds no picture", "cannot be unpacked"]
    for row, said in zip(rows, problems, strict=False):
        assert said in row.problem
    assert rows[3].problem is None and fakes["cars"].calls == 1


def test_the_zip_holds_masks_overlays_and_a_table(fakes: Fakes, tmp_path: Path, picture: Path) -> None:
    (tmp_path / "=bad.png").write_text("Dear diary")
    run_all(batch.entries(named(picture, tmp_path / "=bad.png")), tmp_path / "out.zip", "nuclei")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.testzip() is None
        mask = np.asarray(Image.open(io.BytesIO(archive.read("grey-nuclei-mask.png"))))
        assert mask.shape == (40, 60) and mask.sum() == 600
        assert Image.open(io.BytesIO(archive.read("grey-nuclei-overlay.png"))).size == (60, 40)
        table = list(csv.DictReader(io.StringIO(archive.read("stats.csv").decode("utf-8-sig"))))
    assert [row["picture"] for row in table] == ["grey.png", "'=bad.png"]
    assert (table[0]["width"], table[0]["height"], table[0]["objects"]) == ("60", "40", "1")
    assert (table[0]["nucleus pixels"], table[0]["nucleus fraction"]) == ("600", "0.25")
    assert table[0]["problem"] == "" and "is not a picture" in table[1]["problem"]


def test_a_cancelled_batch_keeps_what_is_done(fakes: Fakes, tmp_path: Path, picture: Path) -> None:
    job, done = Event(), []
    for row in batch.run(batch.entries(named(*[picture] * 5)), TASKS["cars"], tmp_path / "out.zip", job.is_set):
        done.append(row)
        if len(done) == 2:
            batch_tab.on_cancel(job)
    assert len(done) == 2 and fakes["cars"].calls == 2
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert len(archive.namelist()) == 5


def test_the_tab_tells_how_far_it_is(
    fakes: Fakes, tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_tab, "REFRESH_SECONDS", 0)
    (tmp_path / "bad.png").write_text("<b>")
    steps = list(batch_tab.on_start("cars", [given(picture), given(tmp_path / "bad.png")], Event()))
    assert [text.split(">")[1].split(",")[0].split("<")[0] for text in (step.bar for step in steps[:3])] == [
        "0 of 2",
        "1 of 2",
        "2 of 2",
    ]
    assert " left<" in steps[1].bar and 'value="1"' in steps[1].bar and steps[1].cancel["visible"]
    last = steps[-1]
    assert "1 of 2 pictures segmented" in last.bar and "1 could not be read" in last.bar
    assert last.file["visible"] and last.start["interactive"] and not last.cancel["visible"]
    assert "Cars fill 25%" in last.table and 'class="failed"' in last.table and "data:image/jpeg" in last.table


def test_pictures_of_one_name_are_told_apart(fakes: Fakes, tmp_path: Path, picture: Path) -> None:
    path = packed(tmp_path, {"a/cat.png": picture.read_bytes(), "b/cat.png": picture.read_bytes()})
    rows = run_all(batch.entries(named(path)), tmp_path / "out.zip")
    assert [row.mask for row in rows] == ["cat-cars-mask.png", "cat-2-cars-mask.png"]
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        told = list(csv.DictReader(io.StringIO(archive.read("stats.csv").decode("utf-8-sig"))))
        assert {row[kind] for row in told for kind in ("mask", "overlay")} < set(archive.namelist())
    assert told[1]["picture"] == "b/cat.png" and told[1]["mask"] == "cat-2-cars-mask.png"


def test_what_waits_for_its_turn_is_kept(
    fakes: Fakes, tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each picture takes 20 minutes here; an hour after the last touch files are deleted."""
    last = picture.with_name("last.png")
    last.write_bytes(picture.read_bytes())
    clock = itertools.count(0, 1200)
    monkeypatch.setattr(batch.time, "monotonic", lambda: float(next(clock)))
    touched: list[set[Path]] = []
    monkeypatch.setattr(batch.workspace, "keep", touched.append)
    run_all(batch.entries(named(*[picture] * 3, last)), tmp_path / "out.zip")
    assert touched and all(last in paths for paths in touched)


def test_files_in_use_begin_a_new_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used, unused = tmp_path / "used", tmp_path / "unused"
    for path in (used, unused):
        path.write_bytes(b"x")
    time.sleep(0.05)
    workspace.keep([used, tmp_path / "gone"])
    between = (used.stat().st_ctime + unused.stat().st_ctime) / 2
    monkeypatch.setattr(workspace.time, "time", lambda: between + 100)
    workspace.sweep(tmp_path, keep_seconds=100)
    assert used.exists() and not unused.exists()


def test_an_engine_that_fails_is_a_row(fakes: Fakes, tmp_path: Path, picture: Path) -> None:
    def fail(source: object, stop: object) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    fakes["cars"].predict = fail  # type: ignore[method-assign]
    (row,) = run_all(batch.entries(named(picture)), tmp_path / "out.zip")
    assert row.problem == "The model failed on this picture; try again, or make it smaller."


@pytest.mark.parametrize("last", [False, True])
def test_a_disk_that_was_full_leaves_nothing_half(
    fakes: Fakes, tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch, last: bool
) -> None:
    """The mask of one picture is written in part; the others and the table are whole."""
    write, calls = zipfile._ZipWriteFile.write, itertools.count()  # type: ignore[attr-defined]
    full = 4 if last else 2  # of the members' writes: two for each picture

    def run_out(self: object, data: bytes) -> int:
        if next(calls) == full:
            write(self, data + bytes(200_000))
            raise OSError(28, "No space left on device")
        return write(self, data)

    monkeypatch.setattr(zipfile._ZipWriteFile, "write", run_out)  # type: ignore[attr-defined]
    rows = run_all(batch.entries(named(*[picture] * 3)), tmp_path / "out.zip")
    failed = 2 if last else 1
    assert [row.problem is not None for row in rows] == [number == failed for number in range(3)]
    assert "No space left" in rows[failed].problem
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.testzip() is None and len(archive.namelist()) == 5


def test_the_tab_is_ready_again_after_an_error(fakes: Fakes, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(batch, "table", full)
    steps = []
    with pytest.raises(gr.Error, match="Something went wrong"):
        for step in batch_tab.on_start("cars", [given(picture)], Event()):
            steps.append(step)  # noqa: PERF402  what came before the error counts
    assert steps[-1].start["interactive"] and not steps[-1].cancel["visible"]
    assert "No space left on device" in steps[-1].stage["value"]


def test_a_cancelled_tab_says_so(fakes: Fakes, picture: Path) -> None:
    job, waiting, bar, table, start, cancel, file = batch_tab.on_ask()
    assert (bar, table) == ("", "") and not file["visible"]  # those of the batch before
    assert "Waiting for its turn" in waiting["value"] and not start["interactive"] and cancel["visible"]
    assert "Stopping" in batch_tab.on_cancel(job)
    *_, last = batch_tab.on_start("cars", [given(picture)], job)
    assert "0 of 1 pictures segmented" in last.bar and "the rest was cancelled" in last.bar and last.file["visible"]


def test_a_batch_that_is_gone_cannot_be_cancelled() -> None:
    assert "no batch" in batch_tab.on_cancel(None)


def test_a_batch_that_was_not_taken_leaves_the_tab_ready() -> None:
    refused = batch_tab.on_failure(batch_tab.WAITING)
    assert refused.start["interactive"] and not refused.cancel["visible"] and refused.bar == ""
    assert batch_tab.on_failure("<p>3 of 5</p>").stage == gr.skip()


def test_an_empty_tab_says_what_to_do(fakes: Fakes) -> None:
    (only,) = batch_tab.on_start("cars", None, Event())
    assert "There is no picture; choose pictures" in only.stage["value"] and only.start["interactive"]


def test_names_of_files_are_no_html(fakes: Fakes) -> None:
    assert "<script" not in batch_tab.table([(batch.Row("<script>.png", "<script>"), "")])


def test_a_long_table_shows_its_end() -> None:
    rows = [(batch.Row(f"{number}.png", said="Done."), "") for number in range(batch_tab.SHOWN + 3)]
    html = batch_tab.table(rows)
    assert "102.png" in html and ">2.png" not in html and "And 3 before these" in html


@pytest.mark.parametrize(("seconds", "text"), [(8.4, "8 s"), (89, "89 s"), (150, "2 min"), (9000, "2.5 h")])
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert batch_tab.duration(seconds) == text


def test_a_locked_member_is_said(tmp_path: Path) -> None:
    path = packed(tmp_path, {"a.png": b"x"})
    with zipfile.ZipFile(path) as archive:
        info = archive.infolist()[0]
    info.flag_bits |= 1  # encrypted
    with pytest.raises(ImageError, match="without a password"):
        batch.Entry("a.png", path, info).read()
