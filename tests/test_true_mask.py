import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco

from segmenter.export import mask_image
from segmenter.result import Segmentation
from segmenter.tasks import TASKS
from segmenter.true_mask import ScoreError, read_true_mask

IDS = np.array([[0, 1, 2], [255, 1, 0]], np.uint8)
DISC = np.hypot(*np.ogrid[-4:5, -5:6]) < 3.2  # 9 x 11


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def grey(values, kind="PNG", **options):
    return encoded(Image.fromarray(np.asarray(values)), kind, **options)


def indexed(ids):
    image = Image.fromarray(np.array(ids, np.uint8), mode="P")
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768, np.uint8).tobytes())
    return image


def read(data, task="pets", shape=None, **options):
    if shape is None:
        shape = Image.open(io.BytesIO(data)).size[::-1]
    found = read_true_mask(data, TASKS[task], shape, **options)
    assert found.dtype == np.uint8 and found.shape == shape
    return found


# ---------------------------------------------------------------- pictures


def test_an_indexed_picture():
    assert (read(encoded(indexed(IDS))) == IDS).all()
    assert (read(encoded(indexed(IDS), "TIFF")) == IDS).all()


@pytest.mark.parametrize("task", TASKS)
def test_the_mask_that_this_project_writes(task):
    ids = (np.arange(20, dtype=np.uint8) % len(TASKS[task].classes)).reshape(4, 5)
    result = Segmentation(np.zeros((4, 5, 3), np.uint8), ids, np.ones((4, 5), np.float32), TASKS[task])
    assert (read(encoded(mask_image(result)), task) == ids).all()


def test_an_indexed_picture_is_never_black_and_white(refusal):
    """0 and 255 are background and ignored there."""
    assert read(encoded(indexed([[0, 255]]))).tolist() == [[0, 255]]
    with refusal(ScoreError, "holds 7;", "0 (background), 1 (pet), 2 (border), and 255"):
        read(encoded(indexed([[0, 7]])))


@pytest.mark.parametrize(
    "palette",
    [lambda mask: mask.quantize(2), lambda mask: mask.convert("P"), lambda mask: mask.convert("RGB").quantize(2)],
    ids=["quantized", "grey ramp", "colour quantized"],
)
@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_black_and_white_in_a_palette(palette, kind):
    """Whichever index is white."""
    for mask in (DISC, ~DISC):
        assert (read(encoded(palette(Image.fromarray(mask.astype(np.uint8) * 255)), kind), "cars") == mask).all()


def test_a_mask_is_turned_as_its_picture_is():
    exif = Image.Exif()
    exif[274] = 3
    assert (read(encoded(indexed(IDS[::-1, ::-1]), exif=exif)) == IDS).all()


def test_class_ids_in_a_webp_without_loss():
    ids = np.array([[0, 1, 255]] * 3, np.uint8)
    assert (read(encoded(Image.fromarray(ids).convert("RGB"), "WEBP", lossless=True), "cars") == ids).all()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32])
def test_a_grey_picture_of_class_ids(kind):
    assert (read(grey(IDS.astype(kind))) == IDS).all()
    assert read(grey(np.array([[0, 2]], kind))).tolist() == [[0, 2]]
    assert read(grey(np.array([[1, 255]], kind))).tolist() == [[1, 255]]


@pytest.mark.parametrize(
    "white", [np.uint8(255), np.uint8(3), np.uint8(100), np.uint16(65535), True], ids=["255", "3", "100", "16", "bool"]
)
def test_black_and_white(white):
    """White is the first class that is not background."""
    data = grey(np.where(DISC, white, 0).astype(np.asarray(white).dtype))
    assert (read(data, "pets") == DISC).all() and (read(data, "water") == DISC).all()


def test_plain_black_and_plain_white():
    assert read(grey(np.zeros((3, 4), np.uint8))).tolist() == [[0] * 4] * 3
    assert read(grey(np.full((3, 4), 255, np.uint8))).tolist() == [[1] * 4] * 3


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_grey_in_the_dress_of_colour(mode):
    assert (read(encoded(Image.fromarray(IDS).convert(mode))) == IDS).all()


@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "L"), ("JPEG", "RGB"), ("WEBP", "RGB")])
def test_black_and_white_that_lossy_compression_blurred(kind, mode):
    disc = np.hypot(*np.ogrid[-40:40, -30:30]) < 20
    data = encoded(Image.fromarray(disc.astype(np.uint8) * 255).convert(mode), kind, quality=60)
    assert len(np.unique(np.asarray(Image.open(io.BytesIO(data))))) > 2
    assert (read(data, "water") == disc).mean() > 0.98


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([[0, 1, 2, 3, 77]], ["holds 3, 77;"]),
        ([[1, 3]], ["holds 3;"]),
        ([[7, 7]], ["holds 7;"]),
        ([list(range(20))], ["holds 3, 4, 5, 6, 7, 8, 9, 10 and 9 more;"]),
    ],
)
def test_ids_that_are_no_class(refusal, values, words):
    with refusal(ScoreError, *words):
        read(grey(np.array(values, np.uint8)))


def test_ids_below_zero(refusal):
    with refusal(ScoreError, "holds -1;"):
        read(grey(np.array([[-1, 0, 1]], np.int32), "TIFF"))


def test_pictures_that_are_no_mask(refusal, quarters, noise):
    with refusal(ScoreError, "the true mask is in colour", "indexed PNG"):
        read(encoded(Image.fromarray(quarters())))
    with refusal(ScoreError, "is in colour"):
        read(encoded(Image.fromarray(noise(40, 50)), "JPEG"))
    with refusal(ScoreError, "the mode F"):
        read(grey(np.zeros((2, 3), np.float32), "TIFF"))
    with refusal(ScoreError, "lossy compression", "PNG"):
        read(grey(np.arange(3, dtype=np.uint8)[None].repeat(8, 0), "JPEG"))
    for data in (b"", b"no picture", encoded(Image.fromarray(IDS))[:40]):
        with refusal(ScoreError, "not a mask that can be read"):
            read(data, shape=IDS.shape)


def test_a_size_that_is_not_the_pictures(refusal):
    with refusal(ScoreError, "the true mask is 3 x 2 and the picture 2 x 3"):
        read(encoded(Image.fromarray(IDS)), shape=(3, 2))


def test_a_mask_of_another_size_is_not_decoded(refusal):
    broken = encoded(Image.new("L", (500, 400)))[:60]  # its header alone
    with refusal(ScoreError, "the true mask is 500 x 400 and the picture 20 x 10"):
        read_true_mask(broken, TASKS["pets"], (10, 20))
    with refusal(ScoreError, "the true mask is not a mask that can be read"):
        read_true_mask(broken, TASKS["pets"], (400, 500))


def test_paths(tmp_path, refusal):
    path = tmp_path / "truth.png"
    path.write_bytes(grey(IDS))
    for source in (path, str(path)):
        assert (read_true_mask(source, TASKS["pets"], (2, 3)) == IDS).all()
    with refusal(ScoreError, "'nowhere.png' cannot be read (No such file"):
        read_true_mask(tmp_path / "nowhere.png", TASKS["pets"], (2, 3))
    with refusal(ScoreError, "'truth.png' is 3 x 2"):
        read_true_mask(path, TASKS["pets"], (4, 4))


# ---------------------------------------------------------------- COCO


def document(*annotations, images=None, categories=None):
    """COCO with annotations (category id, segmentation) of the image 1."""
    return {
        "images": images or [{"id": 1, "file_name": "photo.jpg", "height": 9, "width": 11}],
        "categories": categories or [{"id": 1, "name": "pet"}, {"id": 2, "name": "border"}],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": category, "segmentation": segmentation, "iscrowd": 0}
            for number, (category, segmentation) in enumerate(annotations)
        ],
    }


def read_coco(content, task="pets", shape=(9, 11), **options):
    return read(json.dumps(content).encode(), task, shape, **options)


def compressed(mask):
    found = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": found["counts"].decode()}


def counted(mask):
    """Uncompressed RLE by hand: column by column, the first run is of zeros."""
    values = mask.T.ravel()
    ends = [*np.flatnonzero(values[1:] != values[:-1]) + 1, values.size]
    counts = np.diff([0, *ends]).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if values[0] else counts}


# x from 2 to 6 and y from 1 to 4
RECTANGLE = [2, 1, 6, 1, 6, 4, 2, 4]


def rectangle():
    mask = np.zeros((9, 11), bool)
    mask[1:4, 2:6] = True
    return mask


def test_polygons():
    assert (read_coco(document((1, [RECTANGLE]))) == rectangle()).all()
    two = [RECTANGLE, [7, 5, 9, 5, 9, 8, 7, 8]]
    expected = rectangle()
    expected[5:8, 7:9] = True
    assert (read_coco(document((1, two))) == expected).all()
    assert not read_coco(document((1, []))).any()


def test_boxes_are_no_empty_mask(refusal):
    content = document((1, []))
    content["annotations"][0]["bbox"] = [2, 1, 4, 3]
    with refusal(ScoreError, "holds boxes without outlines", "export polygons or RLE"):
        read_coco(content)


@pytest.mark.parametrize("form", [compressed, counted])
def test_run_lengths(form):
    assert (read_coco(document((1, form(DISC)))) == DISC).all()
    assert (read_coco(document((1, form(~DISC)))) == ~DISC).all()


@given(st.integers(0, 2**32 - 1), st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_any_run_lengths(seed, size):
    rng = np.random.default_rng(seed)
    mask = rng.random(size) < rng.random()
    images = [{"id": 1}]
    for form in (compressed, counted):
        assert (read_coco(document((1, form(mask)), images=images), shape=size) == mask).all()


def test_later_annotations_cover_earlier_ones():
    content = document((1, [RECTANGLE]), (2, compressed(DISC)), (1, [[0, 0, 2, 0, 2, 2, 0, 2]]), (0, counted(DISC)))
    expected = np.zeros((9, 11), np.uint8)
    expected[rectangle()] = 1
    expected[:2, :2] = 1
    expected[DISC] = 0
    assert (read_coco(content) == expected).all()


def test_categories_by_name_then_by_id():
    names = [{"id": 9, "name": "Border"}, {"id": 2, "name": "PET"}, {"id": 1, "name": "person"}]
    for category, class_id in ((9, 2), (2, 1), (1, 0), (255, 255)):
        assert read_coco(document((category, [RECTANGLE]), categories=names)).max() == class_id
    covered = document((2, [RECTANGLE]), (1, [RECTANGLE]), categories=names)
    assert read_coco(covered).max() == 1  # what is left out covers nothing
    content = document((2, [RECTANGLE]))
    del content["categories"]
    assert read_coco(content).max() == 2


def test_categories_that_are_no_class(refusal):
    with refusal(ScoreError, "holds 17, 18;", "1 (nucleus)"):
        content = document((18, [RECTANGLE]), (17, [RECTANGLE]), (1, [RECTANGLE]))
        del content["categories"]
        read_coco(content, "nuclei")
    with refusal(ScoreError, "categories vehicle; those of cars are background, car: name them so"):
        read_coco(document((0, [RECTANGLE]), categories=[{"id": 0, "name": "vehicle"}]), "cars")


IMAGES = [{"id": n, "file_name": name, "height": 9, "width": 11} for n, name in ((1, "a/one.jpg"), (2, "two.jpg"))]


def test_the_image_is_chosen_by_its_file_name(refusal):
    content = document((1, [RECTANGLE]), images=IMAGES)
    for name, expected in (("a/one.jpg", True), ("one.jpg", True), ("b/one.jpg", True), ("two.jpg", False)):
        assert read_coco(content, image_name=name).any() == expected
    for name in (None, "three.jpg"):
        with refusal(ScoreError, "2 images", repr(name)):
            read_coco(content, image_name=name)
    with refusal(ScoreError, "2 images", "once"):
        read_coco(document(images=[IMAGES[0], {**IMAGES[0], "file_name": "b/one.jpg"}]), image_name="one.jpg")
    assert read_coco(document((1, [RECTANGLE])), image_name="another.jpg").any()  # there is only one


def test_coco_of_another_size(refusal):
    with refusal(ScoreError, "the true mask is 11 x 9 and the picture 9 x 11"):
        read_coco(document(), shape=(11, 9))
    with refusal(ScoreError, "the true mask is 3 x 2 and the picture 11 x 9"):
        read_coco(document((1, {"size": [2, 3], "counts": [6]})))


def test_a_byte_order_mark_is_no_harm():
    data = b"\xef\xbb\xbf\n " + json.dumps(document((1, [RECTANGLE]))).encode()
    assert (read(data, shape=(9, 11)) == rectangle()).all()


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [9, 11], "counts": [98]},
        {"size": [9, 11], "counts": [100]},
        {"size": [9, 11], "counts": [100, -1]},
        {"size": [9, 11], "counts": [0.5] * 198},
        {"size": [9, 11], "counts": [True] * 99},
        {"size": [9, 11], "counts": []},
        {"size": [9, 11], "counts": ""},
        {"size": [9, 11], "counts": "\u00e9"},
        {"size": [9, 11], "counts": "P"},  # ends in the middle of a number
        {"size": [9, 11], "counts": "~~"},
        {"size": [9, 11], "counts": None},
        {"size": [9, 11]},
        {"counts": [99]},
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, 6, 7]],
        [[1, 2, 3, 4, 5, 1e9]],
        [[1, 2, 3, 4, 5, float("nan")]],
        [["a", 2, 3, 4, 5, 6]],
        [1, 2, 3, 4, 5, 6],
        "polygon",
        None,
    ],
    ids=str,
)
def test_segmentations_that_are_none(refusal, segmentation):
    with refusal(ScoreError, "not COCO JSON as it should be", "export it again"):
        read_coco(document((1, segmentation)))


@pytest.mark.parametrize(
    "content",
    ["[]", "{}", "{", "[" * 100_000, '{"images": 3}', '{"images": [{"id": 1}]}', '{"images": [1], "annotations": []}'],
    ids=lambda content: content[:40],
)
def test_json_that_is_no_coco(refusal, content):
    with refusal(ScoreError, "not COCO JSON as it should be"):
        read(content.encode(), shape=(9, 11))


@given(st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=12))
def test_no_compressed_text_does_harm(text):
    """pycocotools itself crashes on some of these."""
    try:
        found = read_coco(document((1, {"size": [3, 4], "counts": text}), images=[{"id": 1}]), shape=(3, 4))
    except ScoreError:
        return
    assert found.max() <= 1


def test_coco_that_takes_too_much(refusal):
    """Edges back and forth over the picture would fill the memory, turns between classes take hours."""
    zigzag = [float(number // 2 % 2 * 2000 - 1000) for number in range(40_000)]
    images = [{"id": 1}]
    with refusal(ScoreError, "outlines of", "give a mask as a picture"):
        read_coco(document((1, [zigzag]), images=images), shape=(1000, 1000))
    turns = [(number % 2, [[0, 0, 2, 0, 2, 2]]) for number in range(6000)]
    with refusal(ScoreError, "6,000 turns between classes"):
        read_coco(document(*turns, images=images), shape=(1000, 1000))
    with refusal(ScoreError, "the limit for COCO JSON is 25"):
        read_true_mask(b"{" + b" " * 25_000_000 + b"}", TASKS["pets"], (4, 4))


def test_a_mask_that_takes_minutes_to_decode(refusal):
    """A picture's guards hold for masks too."""
    data = io.BytesIO()
    Image.new("L", (64, 64)).save(data, "JPEG", progressive=True)
    content = data.getvalue()
    scan = content[content.rindex(b"\xff\xda") : -2]
    with refusal(ScoreError, "is not a mask that can be read"):
        read_true_mask(content[:-2] + scan * 200 + content[-2:], TASKS["pets"], (64, 64))
