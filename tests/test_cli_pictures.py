import os
from pathlib import Path

import pytest
from PIL import Image

from segmenter.cli.pictures import SUFFIXES, Picture, find
from segmenter.export import FORMATS, save
from segmenter.image import FORMATS as READ
from segmenter.result import Segmentation
from segmenter.tasks import TASKS


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Empty files in folders; the working folder is theirs."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "top.jpg",
        "notes.txt",
        "photos/a.PNG",
        "photos/b.tif",
        "photos/.hidden.jpg",
        "photos/.thumbnails/a.jpg",
        "photos/2024/spring/c.jpeg",
        "photos/2024/d.webp",
        "other/d.webp",
        "empty/readme.md",
        "odd[1].jpg",
        "scan.lsm",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def found(*inputs):
    """(path, folder) of each picture, with slashes."""
    return [(picture.path.as_posix(), picture.folder) for picture in find(inputs).pictures]


def test_files_of_any_ending(tree):
    assert found("top.jpg", "photos/2024/d.webp", "scan.lsm", "odd[1].jpg") == [
        ("top.jpg", ""),
        ("photos/2024/d.webp", ""),
        ("scan.lsm", ""),
        ("odd[1].jpg", ""),
    ]


PHOTOS = [
    ("photos/a.PNG", ""),
    ("photos/b.tif", ""),
    ("photos/2024/d.webp", "2024"),
    ("photos/2024/spring/c.jpeg", "2024/spring"),
]


@pytest.mark.parametrize("text", ["photos", "photos/", "./photos", "empty/../photos"])
def test_a_folder_keeps_its_folders(tree, text):
    assert [(Path(os.path.normpath(path)).as_posix(), folder) for path, folder in found(text)] == PHOTOS


def test_a_folder_by_its_whole_path(tree):
    assert found(str(tree / "photos")) == [((tree / path).as_posix(), folder) for path, folder in PHOTOS]


def test_the_working_folder(tree):
    assert ("photos/2024/d.webp", "photos/2024") in found(".")
    assert len(found(".")) == 7


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", [("odd[1].jpg", ""), ("top.jpg", "")]),
        ("t?p.*", [("top.jpg", "")]),
        ("photos/*", PHOTOS[2:] + PHOTOS[:2]),
        ("photos/**/*.*", [PHOTOS[2], PHOTOS[3], PHOTOS[0], PHOTOS[1]]),
        ("photos/**", PHOTOS),
        ("**/d.webp", [("other/d.webp", "other"), ("photos/2024/d.webp", "photos/2024")]),
        ("photos/20*", [("photos/2024/d.webp", "2024"), ("photos/2024/spring/c.jpeg", "2024/spring")]),
        ("odd[[]1].jpg", [("odd[1].jpg", "")]),
    ],
)
def test_patterns(tree, pattern, expected):
    assert sorted(found(pattern)) == sorted(expected)


def test_patterns_outside_the_working_folder(tree, monkeypatch):
    monkeypatch.chdir(tree / "other")
    assert found("../photos/*/*.webp") == [("../photos/2024/d.webp", "2024")]
    assert found(f"{tree}/photos/*/*.webp") == [((tree / "photos/2024/d.webp").as_posix(), "2024")]
    # no way out of the folder of results
    assert found("../photos/*/../../top.jpg") == [("../photos/2024/../../top.jpg", "")]


def test_the_home_folder_in_quotes(tree, monkeypatch):
    monkeypatch.setenv("HOME", str(tree))
    assert found("~/top.jpg") == found("~/t*.jpg") == [((tree / "top.jpg").as_posix(), "")]


def test_a_picture_comes_once_and_at_its_first_place(tree):
    assert found("photos/2024/d.webp", "photos", "./photos/b.tif") == [
        ("photos/2024/d.webp", ""),
        *PHOTOS[:2],
        PHOTOS[3],
    ]


def test_a_picture_in_a_linked_folder_is_the_same(tree):
    (tree / "link").symlink_to("photos")
    assert found("link", "photos") == [(f"link/{path.removeprefix('photos/')}", folder) for path, folder in PHOTOS]


def test_inputs_without_a_picture(tree, refusal):
    missing = find(["nowhere.jpg", "empty", "*.gif", "top.jpg", "notes.tx?"]).missing
    assert list(missing) == ["nowhere.jpg", "empty", "*.gif", "notes.tx?"]
    for text, words in (("nowhere.jpg", "does not exist"), ("empty", "holds no picture"), ("*.gif", "matches no")):
        with refusal(ValueError, repr(text), words):
            raise ValueError(missing[text])


def test_what_cannot_be_looked_at_stops_nothing(tree, monkeypatch):
    """A name that is too long, and a picture in a folder that may be listed but not entered: both are named later."""
    stat = Path.stat

    def refused(path, **options):
        if path.name == "b.tif":
            raise PermissionError(13, "Permission denied")
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", refused)
    long = "x" * 300 + ".jpg"
    assert found(long, "top.jpg", "photos") == [(long, ""), ("top.jpg", ""), *PHOTOS]


def test_results_are_no_pictures(tree, noise):
    """Whatever this project writes next to a picture is left out, and counted once."""
    for task in TASKS.values():
        zeros = noise(3, 4)[..., 0] * 0
        result = Segmentation(noise(3, 4), zeros, zeros.astype("float32"), task)
        save(result, tree / "photos", "a", set(FORMATS) - {"cvat"})
    (tree / "photos/my-pets-at-home.png").touch()
    (tree / "photos/a-pets-mask.jpg").touch()
    search = find(["photos", "photos/*.png"])
    names = {picture.path.name for picture in search.pictures}
    assert names == {"a.PNG", "b.tif", "c.jpeg", "d.webp", "my-pets-at-home.png", "a-pets-mask.jpg"}
    assert search.results == sum(3 + len(task.classes) for task in TASKS.values())
    assert not search.missing
    assert find(["photos/a-pets-mask.png"]).pictures == []


def test_the_endings_are_of_formats_that_are_read():
    Image.init()
    assert {Image.EXTENSION[suffix] for suffix in SUFFIXES} == set(READ) - {"MPO"} | {"JPEG"}
    assert Picture(Path("a.jpg")).folder == ""
