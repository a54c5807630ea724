import csv
import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from segmenter.cli.pictures import Picture
from segmenter.cli.record import COLUMNS, RECORD, SUMMARY, Entry, Record

STATS = [
    {"class": "background", "pixels": 900, "percent": 90.0, "mean_confidence": 0.9},
    {"class": "water", "pixels": 100, "percent": 10.0, "mean_confidence": 0.8},
]


def entry(name="a", **changes):
    """What is done with ../in/<name>.jpg, whose one file is <name>-water-mask.png."""
    found = Entry(
        task="water",
        source=f"../in/{name}.jpg",
        path=f"in/{name}.jpg",
        name=name,
        version=[10, 20],
        options={"weights": "abc", "tta": False, "pixel_size": None},
        files={"mask": [f"{name.rpartition('/')[2]}-water-mask.png"]},
        stats=STATS,
        objects=None,
        notice=None,
    )
    return replace(found, **changes)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "deep" / "out"


def rows(out):
    with (out / SUMMARY).open(newline="", encoding="utf-8-sig") as file:
        return list(csv.reader(file))


# ---------------------------------------------------------------- lines


def test_what_is_added_is_found_again(out):
    record = Record(out)
    assert record.find("water", "../in/a.jpg") is None
    first, second = entry(), entry(notice="strange", objects=3, task="nuclei")
    record.add(first)
    record.add(second)
    for seen in (record, Record(out)):
        assert seen.find("water", "../in/a.jpg") == first
        assert seen.find("nuclei", "../in/a.jpg") == second
        assert seen.find("pets", "../in/a.jpg") is None


def test_the_last_line_counts(out):
    Record(out).add(entry())
    Record(out).add(entry(version=[11, 21]))
    assert Record(out).find("water", "../in/a.jpg") == entry(version=[11, 21])
    assert len((out / RECORD).read_text().splitlines()) == 2


@pytest.mark.parametrize("cut", [1, 2, 40, None], ids=str)
def test_a_half_line_does_no_harm(out, cut):
    """Not to what stands before it, and not to what is added after it."""
    Record(out).add(entry("a"))
    line = json.dumps(asdict(entry("b"))).encode()
    with (out / RECORD).open("ab") as file:
        file.write(line[: -cut if cut else None])
    torn = Record(out)
    assert (torn.find("water", "../in/b.jpg") is None) == (cut is not None)
    torn.add(entry("c"))
    torn.add(entry("d"))
    again = Record(out)
    assert again.find("water", "../in/a.jpg") == entry("a")
    assert again.find("water", "../in/c.jpg") == entry("c") and again.find("water", "../in/d.jpg") == entry("d")


def test_foreign_lines_do_no_harm(out):
    out.mkdir(parents=True)
    (out / RECORD).write_bytes(b'\n3\n[]\nnull\n{"task": "water"}\n\xff\xfe\n' + json.dumps(asdict(entry())).encode())
    assert Record(out).find("water", "../in/a.jpg") == entry()


@pytest.mark.parametrize("below", ["", "sub"])
def test_a_folder_that_cannot_be(tmp_path, below):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="exists|Not a directory"):
        Record(tmp_path / "file" / below)


# ---------------------------------------------------------------- names


def names(record, *pictures):
    return [job.name for job in record.jobs([Picture(Path(path), folder) for path, folder in pictures])]


def suffix(source):
    return "-" + hashlib.sha256(source.encode()).hexdigest()[:8]


def test_names_are_those_of_the_pictures(out):
    jobs = Record(out).jobs([Picture(out.parent / "in" / "a.b.jpg", "x/y"), Picture(out / "b?.png")])
    assert [job.name for job in jobs] == ["x/y/a.b", "b_"]
    assert [job.source for job in jobs] == ["../in/a.b.jpg", "b?.png"]


def test_equal_names_are_told_apart(out, monkeypatch):
    out.mkdir(parents=True)
    monkeypatch.chdir(out)
    pictures = [("a/x.jpg", ""), ("b/x.jpg", ""), ("b/X.png", ""), ("c/x.jpg", "c"), ("c/x.png", "c")]
    found = names(Record(out), *pictures)
    assert found == ["x", "x" + suffix("b/x.jpg"), "X" + suffix("b/X.png"), "c/x", "c/x" + suffix("c/x.png")]
    assert names(Record(out), *pictures) == found


def test_a_name_stays_with_its_picture(out, monkeypatch):
    """Even in a run of another order, without the others, or for another task."""
    out.mkdir(parents=True)
    monkeypatch.chdir(out)
    record = Record(out)
    record.add(entry("x", source="b/x.jpg"))
    for seen in (record, Record(out)):
        assert names(seen, ("a/x.jpg", ""), ("b/x.jpg", "")) == ["x" + suffix("a/x.jpg"), "x"]
        assert names(seen, ("a/x.jpg", "")) == ["x" + suffix("a/x.jpg")]
        assert names(seen, ("b/x.jpg", "elsewhere")) == ["x"]


def test_long_names_are_cut_and_still_told_apart(out, monkeypatch):
    out.mkdir(parents=True)
    monkeypatch.chdir(out)
    long = ["n" * 300, "n" * 301, "\u00e9" * 150, "\u00e9" * 151, "\U0001f408" * 60]
    found = names(Record(out), *((f"{stem}.jpg", "") for stem in long))
    assert len(set(found)) == 5
    for name in found:
        (out / f"{name}-nuclei-overlay.png.part").touch()


def test_a_picture_and_its_results_may_move_together(tmp_path):
    for place in ("here", "there"):
        record = Record(tmp_path / place / "out")
        assert record.jobs([Picture(tmp_path / place / "in/a.jpg")])[0].source == "../in/a.jpg"


# ---------------------------------------------------------------- summary


def test_the_summary(out):
    record = Record(out)
    record.add(entry("a"))
    record.add(entry("sub/b", pixel_size=10.0, notice="Take care, it is strange."))
    record.add(entry("=c", task="nuclei", objects=57))
    record.add(entry("gone"))
    for name in ("a-water-mask.png", "sub/b-water-mask.png", "=c-water-mask.png"):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).touch()
    record.write_summary()
    # 100 pixels of 10 m x 10 m are a hectare
    assert rows(out) == [
        list(COLUMNS),
        ["in/a.jpg", "water", "background", "900", "90.0", "0.9", "", "", "", ""],
        ["in/a.jpg", "water", "water", "100", "10.0", "0.8", "", "", "", ""],
        ["in/sub/b.jpg", "water", "background", "900", "90.0", "0.9", "", "9.0", "ha", "Take care, it is strange."],
        ["in/sub/b.jpg", "water", "water", "100", "10.0", "0.8", "", "1.0", "ha", "Take care, it is strange."],
        ["in/=c.jpg", "nuclei", "background", "900", "90.0", "0.9", "57", "", "", ""],
        ["in/=c.jpg", "nuclei", "water", "100", "10.0", "0.8", "57", "", "", ""],
    ]


def test_a_path_is_no_formula(out):
    record = Record(out)
    record.add(entry(path="=1+1.jpg"))
    (out / "a-water-mask.png").touch()
    record.write_summary()
    assert rows(out)[1][0] == "'=1+1.jpg"


def test_names_that_are_no_text(out):
    """Bytes that are no UTF-8 come from the system as surrogates, and go back as they were."""
    record = Record(out)
    record.add(entry(path="in/\udcff.jpg", source="../in/\udcff.jpg"))
    assert Record(out).find("water", "../in/\udcff.jpg") is not None
    (out / "a-water-mask.png").touch()
    record.write_summary()
    assert b"in/\xff.jpg,water" in (out / SUMMARY).read_bytes()


def test_the_summary_is_whole_or_the_old_one(out, monkeypatch):
    record = Record(out)
    record.add(entry())
    (out / "a-water-mask.png").touch()
    record.write_summary()
    before = rows(out)

    def interrupt(self, entry, formats):
        raise KeyboardInterrupt

    monkeypatch.setattr(Record, "paths", interrupt)
    with pytest.raises(KeyboardInterrupt):
        record.write_summary()
    assert rows(out) == before
    assert {path.name for path in out.iterdir()} == {RECORD, SUMMARY, "a-water-mask.png"}
