import io
import math

import numpy as np
import pytest
import torch
from conftest import BLUE, GREEN, NETWORK_CLASSES, RED
from PIL import Image, ImageSequence
from torch import nn

import segmenter
from segmenter import enlarge as enlarging
from segmenter.config import WeightsError
from segmenter.engine_torch import TorchEngine
from segmenter.enlarge import choose, enlarge, enlarged_classes, likeliest, resized
from segmenter.image import ImageError
from segmenter.networks import ClassicUNet, save_network
from segmenter.predict import Segmenter, Stopped
from segmenter.tasks import TASKS

# Logits 1, -1, -1 of a plainly coloured pixel: e / (e + 2 / e), and of two maps e / (e + 1 / e).
SURE_OF_THREE = math.e / (math.e + 2 / math.e)
SURE_OF_TWO = math.e / (math.e + 1 / math.e)

SIZES = [(1, 1), (1, 9), (9, 1), (7, 500), (63, 64), (64, 64), (64, 65), (65, 200), (101, 97), (130, 131), (2, 1000)]


def assert_same(one, other):
    assert (one.image == other.image).all()
    assert (one.class_ids == other.class_ids).all()
    assert one.confidence == pytest.approx(other.confidence, abs=1e-6)
    assert (one.seeds is None and other.seeds is None) or (one.seeds == other.seeds).all()


# ---------------------------------------------------------------- one picture


@pytest.mark.parametrize("one", ["cat.jpg", b"bytes", Image.new("RGB", (2, 2))])
def test_one_picture_where_several_go_is_named(segmenter_for, refusal, one):
    with refusal(ImageError, "several pictures", "list"):
        next(segmenter_for().predict_many(one))


@pytest.mark.parametrize("policy", ["fit", "tile", "stretch"])
@pytest.mark.parametrize("size", SIZES)
def test_the_result_has_the_size_of_the_picture(segmenter_for, noise, size, policy):
    image = noise(*size)
    model = segmenter_for(input_policy=policy)
    result = model.predict(image)
    assert result.class_ids.shape == result.confidence.shape == size
    assert result.class_ids.dtype == np.uint8 and result.confidence.dtype == np.float32
    assert (result.image == image).all() and result.task is TASKS["pets"]
    assert result.confidence.min() >= 1 / 3 and result.confidence.max() <= 1
    assert result.class_ids.max() <= 2
    for _, _, height, width in model.fake.shapes:
        assert height % 32 == 0 and width % 32 == 0 and height <= 64 and width <= 64


@pytest.mark.parametrize("policy", ["fit", "tile", "stretch"])
@pytest.mark.parametrize("size", [(40, 60), (64, 64), (200, 150), (31, 500)])
def test_the_classes_are_where_the_colours_are(segmenter_for, quarters, size, policy):
    """Red is class 0, green 1, blue 2; only a thin seam between the quarters may differ after scaling."""
    height, width = size
    result = segmenter_for(input_policy=policy).predict(quarters(*size))
    seam = 0 if policy == "tile" else 1 + max(size) // 64
    middle, centre = height // 2, width // 2
    top, bottom = slice(0, middle - seam), slice(middle + seam, height)
    left, right = slice(0, centre - seam), slice(centre + seam, width)
    for rows, columns, expected in ((top, left, 0), (top, right, 1), (bottom, left, 2), (bottom, right, 0)):
        assert (result.class_ids[rows, columns] == expected).all()
    for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        assert result.confidence[row, column] == pytest.approx(SURE_OF_THREE, abs=1e-3)


def test_what_nobody_waits_for_is_stopped(segmenter_for, noise):
    asked = []

    def stop():
        asked.append(None)
        return len(asked) == 2

    segmenter = segmenter_for("water")
    with pytest.raises(Stopped):
        segmenter.predict(noise(400, 40), stop)
    assert len(asked) == 2
    small = noise(20, 20)
    assert (segmenter.predict(small, lambda: True).class_ids == segmenter.predict(small).class_ids).all()


def test_tiles_at_their_own_scale_are_exact(segmenter_for, noise):
    """The fake network looks at one pixel at a time, so tiling must give the brightest channel of each."""
    image = noise(150, 190)
    result = segmenter_for(input_policy="tile").predict(image)
    logits = image / 127.5 - 1.0
    probabilities = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    assert result.confidence == pytest.approx(probabilities.max(2), abs=1e-4)
    first, second = np.sort(image, axis=2)[..., 2], np.sort(image, axis=2)[..., 1]
    clear = first > second
    assert clear.mean() > 0.9
    assert (result.class_ids == image.argmax(2))[clear].all()


def test_a_picture_that_fills_the_window_is_exact_under_every_policy(segmenter_for, noise):
    image = noise(64, 64)
    results = [segmenter_for(input_policy=policy).predict(image) for policy in ("fit", "tile", "stretch")]
    assert_same(results[0], results[1])
    assert_same(results[0], results[2])


def test_fit_keeps_the_aspect_and_stretch_does_not(segmenter_for):
    image = np.full((24, 48, 3), 255, np.uint8)
    for policy, shape in (("fit", (1, 3, 32, 64)), ("stretch", (1, 3, 64, 64))):
        model = segmenter_for(input_policy=policy)
        model.predict(image)
        assert model.fake.shapes == [shape]


def test_two_maps(segmenter_for):
    image = np.zeros((2, 2, 3), np.uint8)
    image[0], image[1] = (255, 0, 0), (0, 255, 0)
    result = segmenter_for("water").predict(image)
    assert result.class_ids.tolist() == [[0, 0], [1, 1]]
    assert result.confidence == pytest.approx(SURE_OF_TWO)
    assert result.seeds is None
    assert result.coverage() == {"background": 0.5, "water": 0.5}


@pytest.mark.parametrize("size", [(40, 60), (90, 140)])
def test_nuclei_have_inner_parts_and_boundaries(segmenter_for, size):
    """Red is background, green the inner part, blue the boundary; both of these are a nucleus."""
    image = np.zeros((*size, 3), np.uint8)
    image[...] = (255, 0, 0)
    image[5:25, 5:25] = image[5:25, 25:45] = (0, 0, 255)
    image[8:22, 8:22] = image[8:22, 28:42] = (0, 255, 0)
    result = segmenter_for("nuclei").predict(image)
    expected = np.zeros(size, np.uint8)
    expected[5:25, 5:45] = 1
    assert (result.class_ids == expected).all()
    assert (result.seeds == (image[..., 1] == 255)).all()
    # background: e / (e + 2 / e); a nucleus has the rest of what the background leaves
    assert result.confidence[0, 0] == pytest.approx(SURE_OF_THREE, abs=1e-5)
    assert result.confidence[10, 10] == pytest.approx(1 - (1 / math.e) / (math.e + 2 / math.e), abs=1e-5)
    labels = result.instances()
    assert labels.max() == 2
    assert (labels[5:25, 5:25] == labels[15, 15]).all() and (labels[5:25, 25:45] == labels[15, 35]).all()
    assert labels[15, 15] != labels[15, 35]


@pytest.mark.parametrize(
    ("colour", "class_id", "seed"),
    [
        ((90, 200, 90), 1, True),
        ((90, 90, 200), 1, False),  # the boundary is likeliest
        ((90, 200, 210), 1, False),  # the inner part beats the background only
        ((210, 200, 90), 1, False),  # inner part and boundary together beat the background, the inner part not
        ((255, 0, 0), 0, False),
    ],
)
def test_a_seed_is_where_the_inner_part_is_likeliest(segmenter_for, colour, class_id, seed):
    result = segmenter_for("nuclei").predict(np.full((3, 4, 3), colour, np.uint8))
    assert (result.class_ids == class_id).all() and (result.seeds == seed).all()


@pytest.mark.parametrize(("task", "runs"), [("pets", 2), ("nuclei", 4)])
def test_flips_average_over_mirrored_pictures(noise, config_for, task, runs):
    """A network that sees class 0 in the left and upper part, whatever the picture shows."""

    class Place(nn.Module):
        calls = 0

        def forward(self, pixels):
            Place.calls += 1
            logits = torch.zeros(len(pixels), 3, *pixels.shape[2:])
            logits[:, 0, :20, :20] = 40
            return logits

    config = config_for(task)
    model = Segmenter(TASKS[task], TorchEngine(Place(), config), config, flips=True)
    result = model.predict(noise(64, 64))
    assert Place.calls == runs
    corners = [result.confidence[y, x] for y, x in ((0, 0), (0, 63), (63, 0), (63, 63))]
    if task == "pets":  # left and right only: class 0 has (1 + 1/3) / 2 in both upper corners
        assert corners == pytest.approx([2 / 3, 2 / 3, 1 / 3, 1 / 3])
    else:  # (1 + 3 * 1/3) / 4 for the background, the rest for the nucleus
        assert corners == pytest.approx([0.5] * 4)


def test_a_prediction_leaves_no_trace(segmenter_for, noise):
    model = segmenter_for()
    first = model.predict(noise(30, 50))
    model.predict(noise(90, 20, seed=1))
    assert_same(model.predict(noise(30, 50)), first)


def test_every_source(segmenter_for, tmp_path, quarters):
    image = quarters(20, 30)
    path = tmp_path / "picture.png"
    Image.fromarray(image).save(path)
    model = segmenter_for()
    expected = model.predict(image)
    for source in (path, str(path), path.read_bytes(), Image.open(path)):
        assert_same(model.predict(source), expected)


def test_a_picture_over_the_limit(segmenter_for, refusal):
    model = segmenter_for(max_pixels=100)
    assert model.predict(np.zeros((10, 10, 3), np.uint8)).class_ids.shape == (10, 10)
    with refusal(ImageError, "11 x 10", "the limit is 0.0001"):
        model.predict(np.zeros((10, 11, 3), np.uint8))


# ---------------------------------------------------------------- many pictures

MIXED = [(64, 64), (20, 60), (20, 60), (150, 90), (33, 33), (64, 10), (200, 70), (5, 5), (5, 6)]


def test_many_with_small_objects_are_as_one_by_one(segmenter_for):
    images = [discs(*size, radius) for size in MIXED for radius in (3, 7)]
    model = segmenter_for("nuclei", zoom=2.0, zoom_below=60, min_object=4)
    for image, result in zip(images, model.predict_many(images), strict=True):
        assert_same(result, model.predict(image))


@pytest.mark.parametrize("task", ["pets", "nuclei"])
@pytest.mark.parametrize("policy", ["fit", "tile", "stretch"])
def test_many_are_as_one_by_one_and_in_order(segmenter_for, noise, task, policy):
    images = [noise(*size, seed=number) for number, size in enumerate(MIXED + MIXED)]
    model = segmenter_for(task, input_policy=policy)
    results = list(model.predict_many(images))
    assert len(results) == len(images)
    for image, result in zip(images, results, strict=True):
        assert (result.image == image).all()
        assert_same(result, model.predict(image))


def test_no_picture_no_result(segmenter_for):
    assert list(segmenter_for().predict_many([])) == []


@pytest.mark.parametrize(("overlap", "tiles"), [(0, 2), (16, 3), (48, 5)])
def test_tiles_overlap_as_the_config_says(segmenter_for, noise, overlap, tiles):
    """113 columns of tiles of 64: strides of at most 64, 48 and 16."""
    model = segmenter_for("water", overlap=overlap)
    model.predict(noise(64, 113))
    assert model.fake.shapes == [(1, 3, 64, 64)] * tiles


def discs(height, width, radius, pitch=16):
    """Nuclei on red, each a green core in a blue rim, in the middles of squares of ``pitch``."""
    rows, columns = (np.arange(length) % pitch - pitch // 2 for length in (height, width))
    distance = np.hypot(rows[:, None], columns)
    return np.select([distance[..., None] <= part * radius for part in (0.6, 1)], [GREEN, BLUE], RED).astype(np.uint8)


@pytest.mark.parametrize(("limit", "shapes"), [(0, 1), (20, 1), (60, 10)])
def test_small_objects_are_read_enlarged(segmenter_for, limit, shapes):
    """Discs of 49 pixels: below a limit of 60 three by three tiles of 32 pixels are read, each as one of 64."""
    image = discs(64, 64, 4)
    model = segmenter_for("nuclei", zoom=2.0, zoom_below=limit, min_object=4)
    result = model.predict(image)
    assert model.fake.shapes == [(1, 3, 64, 64)] * shapes
    areas = np.bincount(result.instances().ravel())[1:]
    assert len(areas) == 16 and areas == pytest.approx([49] * 16, abs=4)
    assert (result.class_ids != (image[..., 0] == 0)).mean() < 0.02


def test_the_middle_tells_how_large_objects_are(segmenter_for):
    small, none = discs(160, 96, 4), np.full((160, 96, 3), RED, np.uint8)
    none[:32] = small[:32]
    for image, most, tile in ((small, 45, 64), (none, 9, 64)):
        model = segmenter_for("nuclei", zoom=2.0, zoom_below=60, min_object=4)
        result = model.predict(image)
        assert 1 < len(model.fake.shapes) <= most and {shape[2] for shape in model.fake.shapes} == {tile}
        assert (result.class_ids != (image[..., 0] == 0)).mean() < 0.02
    own = segmenter_for("nuclei", zoom=2.0, zoom_below=0, min_object=4).predict(none)
    assert (own.class_ids == result.class_ids).all()


@pytest.mark.parametrize("size", SIZES)
def test_an_enlarged_picture_keeps_its_size(segmenter_for, size):
    model = segmenter_for("nuclei", zoom=1.6, zoom_below=9000, min_object=1)
    result = model.predict(discs(*size, 4))
    assert result.class_ids.shape == result.confidence.shape == result.seeds.shape == size
    assert all(side % 32 == 0 and side <= 64 for shape in model.fake.shapes for side in shape[2:])


def test_pictures_are_taken_as_they_are_needed(segmenter_for, noise, monkeypatch):
    monkeypatch.setattr("segmenter.predict.usable_cpus", lambda: 2)
    taken = []

    def images():
        for number in range(100):
            taken.append(number)
            yield noise(8, 8, seed=number)

    results = segmenter_for().predict_many(images())
    assert taken == []
    for number in range(5):
        assert (next(results).image == noise(8, 8, seed=number)).all()
        assert len(taken) <= number + 1 + 2 * 3
    results.close()
    assert len(taken) < 100


def test_an_array_may_be_filled_with_the_next_picture(segmenter_for, noise):
    """As those do that read a film."""
    frame = np.empty((9, 9, 3), np.uint8)

    def frames():
        for number in range(12):
            frame[:] = noise(9, 9, seed=number)
            yield frame

    model = segmenter_for()
    for number, result in enumerate(model.predict_many(frames())):
        assert_same(result, model.predict(noise(9, 9, seed=number)))
    one = model.predict(frame)
    frame[:] = 0
    assert (one.image == noise(9, 9, seed=11)).all() and one.image.flags.writeable


def test_frames_of_a_film_are_read_as_they_come(segmenter_for, noise):
    """Pillow gives the same image again, gone on to the next frame."""
    film = io.BytesIO()
    first, *rest = (Image.fromarray(noise(9, 9, seed=number)) for number in range(8))
    first.save(film, "TIFF", save_all=True, append_images=rest)
    results = segmenter_for().predict_many(ImageSequence.Iterator(Image.open(film)))
    for number, result in enumerate(results):
        assert (result.image == noise(9, 9, seed=number)).all()
    assert number == 7


@pytest.mark.parametrize("policy", ["fit", "tile"])
@pytest.mark.parametrize("before", [0, 1, 3, 8, 10])
def test_an_error_comes_after_the_results_before_it(segmenter_for, refusal, noise, before, policy):
    images = [noise(9, 9, seed=number) for number in range(before)]
    results = segmenter_for(input_policy=policy).predict_many([*images, b"no picture", noise(9, 9)])
    for image in images:
        assert (next(results).image == image).all()
    with refusal(ImageError, "the upload is not a picture"):
        next(results)
    assert list(results) == []


def test_an_error_of_the_source_comes_after_the_results_before_it(segmenter_for, noise):
    def images():
        yield noise(9, 9)
        yield noise(9, 9)
        raise ZeroDivisionError("the caller's own")

    results = segmenter_for().predict_many(images())
    assert [next(results).class_ids.shape for _ in range(2)] == [(9, 9)] * 2
    with pytest.raises(ZeroDivisionError):
        next(results)


# ---------------------------------------------------------------- making one


@pytest.mark.parametrize(
    "classes", [("background", "pet"), ("background", "border", "pet"), ("background", "pet", "border", "x"), ()]
)
def test_weights_of_other_classes(segmenter_for, refusal, classes):
    with refusal(WeightsError, str(classes), "the task pets has ('background', 'pet', 'border')", "give weights"):
        segmenter_for("pets", classes=classes)


def test_an_unknown_task_lists_the_known():
    with pytest.raises(ValueError, match="unknown task 'dogs'; choose one of pets, water, nuclei, cars"):
        Segmenter.load("dogs")


def test_a_device_that_is_not_here(monkeypatch, refusal):
    monkeypatch.setattr("segmenter.engine.cuda_available", lambda: False)
    with refusal(ValueError, "device 'cuda' is not available here", "use 'cpu'"):
        Segmenter.load("pets", device="cuda")


def test_missing_weights(tmp_path, refusal):
    with refusal(WeightsError, "nowhere has no readable config.json", "python -m train."):
        Segmenter.load("pets", weights=tmp_path / "nowhere")


@pytest.fixture
def pets_folder(tmp_path, config_for):
    """A ClassicUNet that answers green with "pet", everything else with "background"."""
    network = ClassicUNet(3, filters=(2, 2))
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        # Channel 0 of the first level is max(0, green - red); the skip carries it to the head.
        network.down[0][0].weight[0, :2, 1, 1] = torch.tensor([-1.0, 1.0])
        network.down[0][2].weight[0, 0, 1, 1] = 1
        network.up[0][0].weight[0, 2, 1, 1] = 1
        network.up[0][2].weight[0, 0, 1, 1] = 1
        network.head[0].weight[1, 0] = 4
        network.head[0].bias[0] = 2
    description = {"_model_class": "ClassicUNet", "classes": 3, "filters": [2, 2]}
    save_network(network, config_for("pets", network=description), tmp_path / "pets")
    return tmp_path / "pets"


@pytest.mark.parametrize("kind", [str, lambda path: path])
@pytest.mark.parametrize("task", ["pets", TASKS["pets"]], ids=["name", "record"])
def test_load_predicts_with_what_the_folder_holds(pets_folder, quarters, task, kind):
    model = Segmenter.load(task, weights=kind(pets_folder), device="cpu")
    assert model.task is TASKS["pets"] and model.config.size == 64
    result = model.predict(quarters(64, 64))
    assert (result.mask("pet") == (quarters(64, 64)[..., 1] == 255)).all()
    # green - red is 2 after normalisation: logits 2, 8, 0 there and 2, 0, 0 elsewhere
    assert result.confidence[0, 63] == pytest.approx(1 / (1 + math.exp(-6) + math.exp(-8)), abs=1e-5)
    assert result.confidence[0, 0] == pytest.approx(1 / (1 + 2 * math.exp(-2)), abs=1e-5)


def test_load_mirrors_where_asked(pets_folder, noise):
    model = Segmenter.load("pets", weights=pets_folder, device="cpu", flips=True)
    run, calls = model._engine.run, []
    model._engine.run = lambda windows: calls.append(1) or run(windows)
    model.predict(noise(64, 64))
    assert len(calls) == 2


def test_weights_of_another_task(pets_folder, refusal):
    with refusal(WeightsError, "the weights know the classes", "the task cars has", "give weights"):
        Segmenter.load("cars", weights=pets_folder, device="cpu")


def test_the_door():
    assert segmenter.Segmenter is Segmenter and segmenter.TASKS is TASKS
    assert all(hasattr(segmenter, name) for name in segmenter.__all__)
    assert issubclass(segmenter.ImageError, ValueError) and issubclass(segmenter.WeightsError, ValueError)


# ---------------------------------------------------------------- enlarging


@pytest.mark.parametrize("strip_pixels", [1, 100, 777, 2_000_000])
@pytest.mark.parametrize(
    ("source", "target"),
    [
        ((4, 6), (8, 12)),
        ((1, 1), (5, 7)),
        ((1, 8), (1, 800)),
        ((8, 1), (83, 1)),
        ((64, 43), (300, 201)),
        ((64, 64), (17, 31)),
        ((64, 20), (64, 55)),
        ((20, 64), (55, 64)),
    ],
)
def test_enlarge_is_bilinear_interpolation(monkeypatch, source, target, strip_pixels):
    monkeypatch.setattr(enlarging, "STRIP_PIXELS", strip_pixels)
    values = np.random.default_rng(0).random((3, *source), np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(values)[None], size=target, mode="bilinear", align_corners=False
    )[0]
    strips = [(top, strip.copy()) for top, strip in enlarge(values, *target)]
    rows = max(1, strip_pixels // target[1])
    assert [top for top, _ in strips] == list(range(0, target[0], rows))
    assert all(strip.shape[1] <= rows for _, strip in strips)
    assert np.concatenate([strip for _, strip in strips], axis=1) == pytest.approx(expected.numpy(), abs=2e-5)


def test_enlarge_by_hand():
    # centres of the four new pixels: -0.25, 0.25, 0.75 and 1.25 of the old ones
    ((top, values),) = enlarge(np.array([[[0.0, 1.0]]], np.float32), 1, 4)
    assert top == 0
    assert values[0, 0].tolist() == pytest.approx([0, 0.25, 0.75, 1])


def test_enlarge_to_its_own_size_changes_nothing():
    values = np.random.default_rng(0).random((2, 5, 6), np.float32)
    ((top, same),) = enlarge(values, 5, 6)
    assert top == 0 and (same == values).all()


def smooth(rng, classes, height, width):
    """Probabilities of all classes but the first, as networks have them: large even areas and soft borders."""
    coarse = rng.random((classes, height // 8 + 2, width // 8 + 2), np.float32) ** 3
    maps = np.stack([np.asarray(Image.fromarray(each).resize((width, height), Image.BICUBIC)) for each in coarse])
    maps = maps.clip(1e-3, None) ** 2
    return (maps / maps.sum(0))[1:]


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("strip_pixels", [7, 10_000])
@pytest.mark.parametrize(
    ("source", "target"),
    [
        ((40, 60), (135, 213)),
        ((40, 60), (61, 90)),
        ((40, 60), (17, 31)),
        ((40, 60), (80, 25)),
        ((40, 60), (1, 1)),
        ((1, 30), (1, 301)),
        ((30, 1), (99, 1)),
        ((1, 1), (5, 7)),
    ],
)
def test_enlarged_classes_are_those_of_the_enlarged_probabilities(monkeypatch, source, target, strip_pixels, classes):
    monkeypatch.setattr(enlarging, "STRIP_PIXELS", strip_pixels)
    monkeypatch.setattr(enlarging, "MOST_MIXED", 1.0)
    probabilities = smooth(np.random.default_rng(classes), classes, *source)
    large = resized(probabilities, *target)
    expected, confidence = np.empty(target, np.uint8), np.empty(target, np.float32)
    choose(large, expected, confidence)
    ranked = np.sort(np.concatenate([1 - large.sum(0, keepdims=True), large]), axis=0)
    clear = ranked[-1] - ranked[-2] > 1e-5  # two ways to add the same numbers round in two ways
    found = enlarged_classes(probabilities, *target)
    assert found.dtype == np.uint8 and (found == expected)[clear].all() and clear.mean() > 0.99
    assert likeliest(probabilities, *target) == pytest.approx(confidence, abs=1e-6)
    monkeypatch.setattr(enlarging, "MOST_MIXED", 0.0)
    assert (enlarged_classes(probabilities, *target) == expected)[clear].all()


def test_little_of_a_mask_is_interpolated(monkeypatch):
    """Nor is anything of one class alone."""
    seen = []
    monkeypatch.setattr(enlarging, "choose", lambda values, *out: (seen.append(values[0].size), choose(values, *out)))
    probabilities = np.zeros((1, 40, 60), np.float32)
    assert (enlarged_classes(probabilities, 400, 600) == 0).all() and seen == [40 * 60]
    probabilities[:, 10:20, 10:30] = 1  # its outline passes 60 cells of 10 x 10 pixels
    found = enlarged_classes(probabilities, 400, 600)
    assert seen[2:] == [60 * 100] and found.sum() == 20_000 - 4 * 10  # corners are rounded


def test_strips_do_not_change_a_result(monkeypatch, segmenter_for, noise):
    image = noise(150, 101)
    whole = segmenter_for().predict(image)
    monkeypatch.setattr(enlarging, "STRIP_PIXELS", 101 * 7)
    assert_same(segmenter_for().predict(image), whole)


def test_choose_takes_the_first_of_equals():
    probabilities = np.array([[[0.5, 0.2, 0.3, 0.1]], [[0.5, 0.6, 0.3, 0.1]], [[0.0, 0.2, 0.4, 1.0001]]], np.float32)
    class_ids, confidence = np.empty((1, 4), np.uint8), np.empty((1, 4), np.float32)
    choose(probabilities[1:], class_ids, confidence)
    assert class_ids.tolist() == [[0, 1, 2, 2]]
    assert confidence[0].tolist() == pytest.approx([0.5, 0.6, 0.4, 1.0]) and confidence.max() <= 1


# ---------------------------------------------------------------- the weights of the repository


@pytest.fixture(scope="module", params=TASKS)
def committed(request):
    return Segmenter.load(request.param, device="cpu")


def test_committed_config(committed):
    config = committed.config
    assert config.task == committed.task.name
    assert config.network_classes == NETWORK_CLASSES[config.task]
    assert config.input_policy == committed.task.input_policy
    assert config.size % 32 == 0 and 0 <= config.overlap < config.size
    assert len(config.mean) == len(config.std) == 3


@pytest.mark.parametrize("size", [(1, 1), (7, 500), (300, 451)])
def test_committed_weights(committed, noise, size):
    result = committed.predict(noise(*size))
    classes = len(committed.task.classes)
    assert result.class_ids.shape == result.confidence.shape == size
    assert result.class_ids.dtype == np.uint8 and result.confidence.dtype == np.float32
    assert result.class_ids.max() < classes
    # The best of n probabilities is never below 1 / n.
    assert result.confidence.min() >= 1 / classes - 1e-6 and result.confidence.max() <= 1
    assert sum(result.coverage().values()) == pytest.approx(1)
    if committed.task.name == "nuclei":
        assert result.seeds.shape == size and result.seeds.dtype == bool
        assert not (result.seeds & ~result.mask("nucleus")).any()
    else:
        assert result.seeds is None


def test_committed_weights_read_any_source(committed, noise):
    buffer = io.BytesIO()
    Image.fromarray(noise(40, 50)).save(buffer, "PNG")
    assert_same(committed.predict(buffer.getvalue()), committed.predict(noise(40, 50)))
