import io
import json
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest
from generated_results import SHAPES, result_of, results, shaped_result
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segmenter.annotations import to_coco, to_geojson
from segmenter.draw import colour_mask, overlay
from segmenter.export import (
    FORMATS,
    class_image,
    cutout_image,
    cvat_zip,
    mask_image,
    objects_csv,
    overlay_image,
    safe_stem,
    save,
    stats_csv,
    zip_all,
)
from segmenter.measure import regions
from segmenter.tasks import TASKS

NORTH_UP = (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_600_000.0)


def through_png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return Image.open(buffer)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", SHAPES)
def test_pictures_give_the_mask_again(name, task):
    result = shaped_result(name, task)
    mask = through_png(mask_image(result))
    assert mask.mode == "P" and (np.asarray(mask) == result.class_ids).all()
    assert (np.asarray(mask.convert("RGB")) == colour_mask(result.class_ids, result.task)).all()
    cutout = through_png(cutout_image(result))
    assert cutout.mode == "RGBA"
    colour, alpha = np.asarray(cutout)[..., :3], np.asarray(cutout)[..., 3]
    assert (alpha == np.where(result.class_ids > 0, 255, 0)).all()
    assert (colour == np.where(result.class_ids[..., None] > 0, result.image, 0)).all()
    for class_id, class_name in enumerate(result.task.class_names):
        one = through_png(class_image(result, class_name))
        assert one.mode == "L" and (np.asarray(one) == np.where(result.class_ids == class_id, 255, 0)).all()


def test_mask_image_colours():
    image = mask_image(result_of([[0, 1, 2]]))
    assert [image.convert("RGB").getpixel((x, 0)) for x in range(3)] == [(0, 0, 0), (230, 159, 0), (86, 180, 233)]


def test_overlay_image():
    result = shaped_result("hole", "pets")
    assert overlay_image(result).mode == "RGB"
    assert (np.asarray(overlay_image(result)) == overlay(result)).all()
    assert (np.asarray(overlay_image(result, 0.25)) == overlay(result, 0.25)).all()


def test_class_image_of_an_unknown_class():
    with pytest.raises(KeyError, match="pets has no class 'cat'"):
        class_image(result_of([[0]]), "cat")


def voc_colour(number):
    """The colour of an object by the loop of VOClabelcolormap in Pascal VOC's devkit."""
    red = green = blue = 0
    rest = number
    for shift in range(7, -1, -1):
        red |= (rest & 1) << shift
        green |= (rest >> 1 & 1) << shift
        blue |= (rest >> 2 & 1) << shift
        rest >>= 3
    return red, green, blue


def read_cvat(data, stem):
    """(class ids, object numbers) by the labels and colours that CVAT's reader knows; KeyError for any other."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == [
            "ImageSets/Segmentation/default.txt",
            f"SegmentationClass/{stem}.png",
            f"SegmentationObject/{stem}.png",
            "labelmap.txt",
        ]
        assert archive.read("ImageSets/Segmentation/default.txt").decode() == f"{stem}\n"
        header, *lines = archive.read("labelmap.txt").decode().splitlines()
        assert header == "# label:color_rgb:parts:actions"
        entries = [line.split(":") for line in lines]
        assert all(len(entry) == 4 and entry[2:] == ["", ""] for entry in entries)
        colours = [tuple(map(int, entry[1].split(","))) for entry in entries]
        keys = [dict(zip(colours, range(256), strict=False)), {voc_colour(i): i for i in range(256)}]
        found = []
        for folder, key in zip(("SegmentationClass", "SegmentationObject"), keys, strict=True):
            image = Image.open(io.BytesIO(archive.read(f"{folder}/{stem}.png")))
            assert image.mode == "RGB"
            pixels = np.asarray(image)
            found.append(np.array([[key[tuple(map(int, pixel))] for pixel in row] for row in pixels]))
    return [entry[0] for entry in entries], *found


def check_cvat(result):
    names, class_ids, numbers = read_cvat(cvat_zip(result, "folder/photo.jpg"), "photo")
    assert names == list(result.task.class_names)
    assert (class_ids == result.class_ids).all()
    labels, found = regions(result)
    assert (numbers == labels).all() and len(found) <= 255


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", SHAPES)
def test_cvat_of_hard_shapes(name, task):
    check_cvat(shaped_result(name, task))


@settings(max_examples=30)
@given(results())
def test_cvat_of_anything(result):
    check_cvat(result)


@pytest.mark.parametrize("task", ["pets", "nuclei"])
def test_cvat_of_more_objects_than_it_has_colours(task):
    """No object is lost, and no colour is shared by two classes: CVAT's reader would give both to one of them."""
    class_ids = np.zeros((40, 40), int)
    class_ids[::2, ::2] = np.arange(400).reshape(20, 20) % (len(TASKS[task].classes) - 1) + 1
    _, found, numbers = read_cvat(cvat_zip(result_of(class_ids, task), "a.png"), "a")
    assert (found == class_ids).all() and ((numbers > 0) == (class_ids > 0)).all()
    assert all(len(np.unique(class_ids[numbers == number])) == 1 for number in np.unique(numbers))
    assert len(np.unique(numbers[numbers > 0])) > 250


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("photo", "photo"),
        ("v1.2 (copy)", "v1.2 (copy)"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..\\boot", "_boot"),
        ("C:\\a", "C__a"),
        (".hidden", "hidden"),
        (". . .x", "x"),
        ("line\nbreak\0\x7f", "linebreak"),
        ("right\u202eleft", "rightleft"),
        ("broken\udcff", "broken"),
        ("\u00a0.\u2003dots", "dots"),
        ("two\u2028lines", "twolines"),
        ("Zürich 東京 Мос العربية हिन्दी", "Zürich 東京 Мос العربية हिन्दी"),
        ("", "picture"),
        ("...", "picture"),
        ("  \n", "picture"),
        ("a" * 300, "a" * 100),
        ("a" * 99 + " b", "a" * 99),
        ("東" * 100, "東" * 66),
    ],
)
def test_safe_stem(name, stem):
    assert safe_stem(name) == stem


@given(st.text())
def test_a_safe_stem_of_anything(name):
    stem = safe_stem(name)
    assert 0 < len(stem) <= 100 and len(stem.encode()) <= 200
    assert not stem.startswith((".", " ")) and stem == stem.strip()
    assert not any(character in '/\\<>:"|?*' or unicodedata.category(character)[0] == "C" for character in stem)
    assert safe_stem(stem) == stem


def names_of(stem, task):
    """What `save` writes by default."""
    classes = {"pets": ("background", "pet", "border"), "nuclei": ("background", "nucleus")}[task]
    return [
        f"{stem}-{task}-mask.png",
        f"{stem}-{task}-overlay.png",
        f"{stem}-{task}-cutout.png",
        *(f"{stem}-{task}-{name}.png" for name in classes),
        f"{stem}-{task}.csv",
        *([f"{stem}-{task}-objects.csv"] if task == "nuclei" else []),
        f"{stem}-{task}-coco.json",
        f"{stem}-{task}.geojson",
        f"{stem}-{task}-cvat.zip",
    ]


def test_formats():
    assert FORMATS == ("mask", "overlay", "cutout", "classes", "csv", "objects", "coco", "geojson", "cvat")


@pytest.mark.parametrize("task", ["pets", "nuclei"])
def test_save(tmp_path, task):
    result = shaped_result("hole", task)
    paths = save(result, tmp_path / "new" / "folder", "a cat", file_name="a cat.jpg")
    assert [path.name for path in paths] == names_of("a cat", task)
    assert sorted((tmp_path / "new" / "folder").iterdir()) == sorted(paths)
    content = {path.name.removeprefix(f"a cat-{task}").lstrip("-."): path for path in paths}
    assert (np.asarray(Image.open(content["mask.png"])) == result.class_ids).all()
    assert (np.asarray(Image.open(content["overlay.png"])) == overlay(result)).all()
    assert (np.asarray(Image.open(content["cutout.png"]))[..., 3] > 0).tolist() == (result.class_ids > 0).tolist()
    for name in result.task.class_names:
        assert ((np.asarray(Image.open(content[f"{name}.png"])) > 0) == result.mask(name)).all()
    assert content["csv"].read_bytes().decode("utf-8-sig") == stats_csv(result)
    assert json.loads(content["coco.json"].read_bytes()) == to_coco(result, "a cat.jpg")
    assert json.loads(content["geojson"].read_bytes()) == to_geojson(result)
    assert (read_cvat(content["cvat.zip"].read_bytes(), "a cat")[1] == result.class_ids).all()
    if task == "nuclei":
        assert content["objects.csv"].read_bytes().decode("utf-8-sig") == objects_csv(result)


def test_save_passes_sizes_and_places_on(tmp_path):
    result = shaped_result("hole", "water")
    table, places = save(result, tmp_path, "lake", ("geojson", "csv"), 10, NORTH_UP, "EPSG:32633")
    assert table.read_bytes().decode("utf-8-sig") == stats_csv(result, 10)
    assert json.loads(places.read_bytes()) == json.loads(json.dumps(to_geojson(result, NORTH_UP, "EPSG:32633")))


def test_the_name_of_the_picture_by_default(tmp_path):
    coco, cvat = save(result_of([[1]]), tmp_path, "v1.2", ("coco", "cvat"))
    assert json.loads(coco.read_bytes())["images"][0]["file_name"] == "v1.2.png"
    assert read_cvat(cvat.read_bytes(), "v1.2")[1].tolist() == [[1]]


def test_save_leaves_objects_out_where_none_are_counted(tmp_path):
    assert save(result_of([[1]]), tmp_path, "a", ["objects"]) == []
    assert list(tmp_path.iterdir()) == []


def test_save_stays_in_its_folder(tmp_path):
    (path,) = save(result_of([[1]]), tmp_path / "inside", "../outside/x", ["mask"])
    assert path.parent == tmp_path / "inside" and path.is_file()
    assert [entry.name for entry in tmp_path.iterdir()] == ["inside"]


@pytest.mark.parametrize("stem", ["東" * 100, "a" * 300])
def test_long_names_can_be_written(tmp_path, stem):
    paths = save(result_of([[1]], "nuclei"), tmp_path, stem)
    assert all(path.is_file() for path in paths)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"formats": ("mask", "gif")}, ("'gif'", ", ".join(FORMATS))),
        ({"formats": "gif"}, ("'gif'", ", ".join(FORMATS))),
        ({"pixel_size": 10}, ("pets",)),
        ({"transform": (0, 0, 0, 0, 0, 0)}, ("transform",)),
    ],
)
def test_nothing_is_written_where_something_is_wrong(tmp_path, refusal, options, words):
    folder = tmp_path / "new"
    with refusal(ValueError, *words):
        save(result_of([[1]]), folder, "a", **options)
    assert not folder.exists()
    with refusal(ValueError, *words):
        zip_all(result_of([[1]]), "a", **options)


def test_a_file_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    """A full disk leaves the older file and no part of the new one."""
    write = Path.write_bytes

    def fill_up(path, data):
        write(path, data[:5])
        raise OSError("no space left on device")

    (path,) = save(result_of([[1]]), tmp_path, "a", ["mask"])
    before = path.read_bytes()
    monkeypatch.setattr(Path, "write_bytes", fill_up)
    with pytest.raises(OSError, match="no space left"):
        save(result_of([[0, 1]]), tmp_path, "a", ["mask", "csv"])
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == before


@pytest.mark.parametrize("task", ["pets", "nuclei"])
def test_zip_all(tmp_path, task):
    """The same files as on disk; the archive within it holds the time it was made."""
    result = shaped_result("spiral", task)
    with zipfile.ZipFile(io.BytesIO(zip_all(result, "кот/", file_name="кот.jpg"))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == names_of("кот_", task)
        for path in save(result, tmp_path, "кот/", file_name="кот.jpg"):
            if path.suffix == ".zip":
                assert read_cvat(archive.read(path.name), "кот")[1].tolist() == result.class_ids.tolist()
            else:
                assert archive.read(path.name) == path.read_bytes()


def test_zip_of_some_formats():
    with zipfile.ZipFile(io.BytesIO(zip_all(result_of([[1]]), "a", ("csv", "mask")))) as archive:
        assert archive.namelist() == ["a-pets-mask.png", "a-pets.csv"]
