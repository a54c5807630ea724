"""What is chosen after training, on drawn pictures and numbers whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from generated_data import write_all
from torch import nn

from segmenter import Segmenter
from segmenter.config import Config, Familiarity, Judge, load_config
from segmenter.engine_torch import TorchEngine
from segmenter.inference import Encoder
from segmenter.networks import build_network, save_network
from segmenter.tasks import TASKS
from train import calibrate, familiarity, nuclei, pets, water
from train.drawn import drawn
from train.recipe import Recipe

SMALL = Recipe({"_model_class": "Unet", "encoder_name": "mobilenet_v2", "decoder_channels": [8, 8, 8, 4, 4]}, size=64)


pytestmark = pytest.mark.usefixtures("own_cache")  # in which the networks that are made here are converted


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_all(tmp_path_factory.mktemp("data"))


class Sure(nn.Module):
    """Water where it is bright, background where dark, always with the same certainty, wrong in every tenth column;
    ``shift`` makes all of it likelier water."""

    def __init__(self, logit, shift):
        super().__init__()
        self.logit, self.shift = logit, shift

    def forward(self, pixels):
        water = torch.where(pixels.mean(1, keepdim=True) > -0.2, self.logit, -self.logit)
        water[..., ::10] *= -1
        return torch.cat([torch.zeros_like(water), water + self.shift], 1)


def water_config(**changes):
    config = water.TRAINING.config(replace(water.RECIPES["default"], size=64))
    return replace(config, **changes)


@pytest.mark.parametrize(("logit", "shift"), [(1.0, 0.0), (4.0, 0.0), (3.0, 2.0), (3.0, -1.0)])
def test_probabilities_become_the_shares_of_pixels(root, logit, shift, monkeypatch):
    monkeypatch.setattr(calibrate, "PIXELS", 2000)
    recipe, config = replace(water.RECIPES["default"], size=64, seed=0), water_config()
    val = water.examples(root, "val", recipe)
    network = Sure(logit, shift)
    found = calibrate.fit_confidence(water.TRAINING, network, config, val, recipe)
    engine = TorchEngine(network, found)
    pixels = []  # rows of the probability of water and whether it is water
    for example in val:
        image, target = example.read()
        probability = engine.run([image])[0][0][1]
        known = target != 255
        pixels.append(np.stack([probability[known], target[known]], 1))
    probability, true = np.concatenate(pixels).T
    assert found.offsets[0] == 0 and len(np.unique(probability.round(4))) == 2
    for side in (probability > probability.mean(), probability < probability.mean()):
        assert true[side].mean() == pytest.approx(probability[side].mean(), abs=0.03)


def test_each_dataset_weighs_alike(root):
    """Five pictures of one are all water, one of another has none: a network that knows nothing stays undecided."""

    class Undecided(nn.Module):
        def forward(self, pixels):
            return torch.zeros(len(pixels), 2, *pixels.shape[2:])

    recipe = replace(water.RECIPES["default"], size=64)
    example = water.examples(root, "val", recipe)[0]
    shape = example.read_target().shape
    wet = replace(example, source="one", read_target=lambda: np.ones(shape, np.uint8))
    dry = replace(example, source="another", read_target=lambda: np.zeros(shape, np.uint8))
    found = calibrate.fit_confidence(water.TRAINING, Undecided(), water_config(), [*[wet] * 5, dry], recipe)
    assert found.offsets == pytest.approx((0, 0), abs=0.01)


def test_seeds_are_chosen_by_their_precision(root, monkeypatch):
    """A core's probability is a noise of 0.45 and 0.55: a threshold between the two makes specks of every object."""

    class Cores(nn.Module):
        def forward(self, pixels):
            bright = pixels.mean(1, keepdim=True) > -0.2
            inside = torch.where(bright, 0.0, -9.0)
            core = inside + torch.where(torch.rand_like(inside) > 0.5, 0.2, -0.2)
            return torch.cat([-inside - 9, core, inside], 1)

    config = nuclei.TRAINING.config(replace(nuclei.RECIPES["default"], size=64, overlap=16))
    val = nuclei.examples(root, "val", nuclei.RECIPES["default"])
    monkeypatch.setattr(calibrate, "MIN_OBJECTS", (4, 300))
    chosen = calibrate.choose_seeds(nuclei.TRAINING, TorchEngine(Cores(), config), config, val)
    assert chosen.min_object == 4  # no disc here has 300 pixels
    assert chosen.seed_threshold in (0.3, 0.4, 0.6, 0.7)  # at 0.5 each nucleus falls into specks


def test_small_objects_are_enlarged_where_that_finds_them(root, monkeypatch):
    """A network that shaves four pixels off what is bright loses most of small discs at their own scale."""

    class Shaves(nn.Module):
        def forward(self, pixels):
            bright = (pixels.mean(1, keepdim=True) > -0.2).float()
            inside = 1 - nn.functional.max_pool2d(1 - bright, 9, 1, 4)
            return torch.cat([1 - inside, inside, inside - 9], 1) * 9

    config = nuclei.TRAINING.config(replace(nuclei.RECIPES["default"], size=256))
    config = replace(config, zoom=3.0, min_object=1)
    val = nuclei.examples(root, "val", nuclei.RECIPES["default"])
    engine = TorchEngine(Shaves(), config)
    monkeypatch.setattr(calibrate, "ZOOM_LIMITS", (0.0, 1.0, 5000.0))
    assert calibrate.choose_zoom(nuclei.TRAINING, engine, config, val).zoom_below == 5000
    harmful = replace(config, zoom=1.0)
    assert calibrate.choose_zoom(nuclei.TRAINING, engine, harmful, val).zoom_below == 0


def test_familiarity_tells_the_sides_apart():
    rng = np.random.default_rng(0)
    near, far = rng.normal(0, 1, (60, 8)), rng.normal(0, 1, (80, 8)) + [4, *[0] * 7]
    weights, bias = familiarity.logistic_regression(near, far)
    known = Familiarity((Judge(tuple(weights), bias),))
    assert np.mean([known.score(row) > 0 for row in near]) > 0.95
    assert np.mean([known.score(row) < 0 for row in far]) > 0.95
    assert weights[0] < 3 * -abs(weights[1:]).max()


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    config = pets.TRAINING.config(SMALL)
    return build_network(config.network), config


def test_a_config_with_everything_chosen_is_read_back(root, trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(familiarity, "EVERYDAY", 0)  # VOC shows nothing of any task in more pictures than are wanted
    save_network(*trained, tmp_path)
    calibrate.calibrate(pets.TRAINING, tmp_path, root, "cpu")
    found = load_config(tmp_path)
    assert found.familiarity is not None and [len(one.weights) for one in found.familiarity.judges] == [32 + 96, 1280]
    assert 0.3 <= found.temperature <= 3 and len(found.offsets) == 3 and found.offsets[0] == 0
    assert "temperature" in capsys.readouterr().out
    result = Segmenter.load("pets", tmp_path).predict(np.zeros((50, 60, 3), np.uint8))
    assert isinstance(result.familiarity, float) and (result.notice is None) == (result.familiarity >= 0)


def test_without_the_other_tasks_data_it_says_so(trained, tmp_path, capsys):
    root = write_all(tmp_path)
    for part in (root / "cars").iterdir():
        part.rename(part.with_name(part.name + "-gone"))
    save_network(*trained, tmp_path / "weights")
    calibrate.calibrate(pets.TRAINING, tmp_path / "weights", root, "cpu")
    assert load_config(tmp_path / "weights").familiarity is None
    assert "familiarity is not measured: CamVid is not at" in capsys.readouterr().out


def test_a_network_without_an_encoder_has_no_familiarity(root):
    config, recipe = water_config(), water.RECIPES["default"]
    segmenter = Segmenter(TASKS["water"], TorchEngine(Sure(2.0, 0.0), config), config)
    val = water.examples(root, "val", recipe)
    parts = Encoder(Sure(2.0, 0.0), config).parts
    assert familiarity.fit_familiarity(water.TRAINING, segmenter, parts, val, root, recipe) is None


@pytest.mark.parametrize("size", [(40, 60), (150, 90)])
def test_a_prediction_judges_the_description(trained, size):
    network, config = trained
    textures, things = Judge((1.0,) * 128, -3.0), Judge((1.0,) * 1280, 2.0)
    ones = Familiarity((textures, things))
    config = nuclei_config(config, ones)
    model = Segmenter(TASKS["nuclei"], TorchEngine(network, config), config)
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    description = model.describe(image).astype(np.float64)
    expected = min(description[:128].sum() - 3, description[128:].sum() + 2)
    assert model.predict(image).familiarity == pytest.approx(expected, abs=1e-4)


def nuclei_config(config: Config, familiarity: Familiarity) -> Config:
    changes = {"task": "nuclei", "classes": ("background", "nucleus"), "network_classes": (0, 1, 1)}
    return replace(config, **changes, input_policy="tile", overlap=16, familiarity=familiarity)


@pytest.mark.slow
def test_drawn_pictures_are_pictures():
    pictures = list(drawn())
    assert len(pictures) == 7 * (8 + 4 + 4 + 2) + 10
    for picture in pictures:
        assert picture.dtype == np.uint8 and picture.shape[2] == 3 and 150 <= min(picture.shape[:2]) <= 512
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)
    assert all(np.array_equal(*pair) for pair in zip(pictures, drawn(), strict=True))


def test_disguises_change_what_a_picture_looks_like():
    image = np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8)
    image[:45] //= 2
    of = {name: familiarity.disguised(image, name) for name in familiarity.DISGUISES}
    assert (of["grey"] == of["grey"][..., :1]).all() and of["grey"].shape == image.shape
    assert set(np.unique(of["two tones"])) == {0, 255}
    assert (of["negative"] == 255 - image).all()
    assert of["detail"].shape == (256, 256, 3) and of["detail"].dtype == np.uint8
    assert familiarity.disguised(image[:1, :1], "detail").shape == (256, 256, 3)


def test_the_command_writes_the_config(root, trained, tmp_path, capsys):
    network, config = trained
    save_network(network, config, tmp_path)
    calibrate.main(["pets", "--data", str(root), "--weights", str(tmp_path)])
    assert load_config(tmp_path).familiarity is not None
    with pytest.raises(SystemExit) as caught:
        calibrate.main(["pets", "--data", str(root), "--weights", str(tmp_path / "none")])
    assert caught.value.code == 2 and "no readable config.json" in capsys.readouterr().err
