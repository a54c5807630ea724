"""The decoder in 8 bits: close to the exact one, the same in OpenVINO, and only where the processor gains by it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_config
from test_inference import with_statistics

from segmenter import WeightsError, engine_openvino
from segmenter.config import Rounding, load_config
from segmenter.engine import load_engine
from segmenter.engine_openvino import converted
from segmenter.folded import folded
from segmenter.inference import Decoder, Encoder
from segmenter.networks import build_network, load_network, save_network
from train.rounding import agreement, chosen_rounding, fit_rounding

UNET = {"_model_class": "Unet", "encoder_name": "mobilenet_v2", "decoder_channels": [24, 16, 12, 8, 8], "classes": 3}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return with_statistics(build_network(UNET))


@pytest.fixture(scope="module")
def windows():
    """Eight windows of noise in blocks, uint8 (96, 64, 3)."""
    coarse = torch.randint(0, 256, (8, 12, 8, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return coarse.repeat_interleave(8, 1).repeat_interleave(8, 2)


@pytest.fixture(scope="module")
def config(network, windows):
    plain = make_config(network=UNET)
    return replace(plain, rounding=fit_rounding(network, plain, list(windows[:4])))


def values(network, config, windows, rounded):
    with torch.inference_mode():
        features = Encoder(network, config).eval()(windows)[1:]
        return Decoder(network, config, rounded).eval()(*features)


def test_rounding_changes_little(network, config, windows):
    """In windows that it was not fitted on; and without the shifts it would change more."""
    exact, coarse = (values(network, config, windows[4:], rounded) for rounded in (False, True))
    error = (exact - coarse).abs().mean()
    assert 0 < error < 0.02 and (exact.argmax(1) == coarse.argmax(1)).float().mean() > 0.97
    none = tuple(tuple(0.0 for _ in shift) for shift in config.rounding.shifts)
    unshifted = replace(config, rounding=replace(config.rounding, shifts=none))
    assert (exact - values(network, unshifted, windows[4:], True)).abs().mean() > error


def test_every_convolution_of_the_decoder_is_rounded(network, config):
    decoder = folded(network)
    assert len(config.rounding.limits) == len(decoder.convolutions) == 5 * 2 + 4 + 1
    assert [len(shift) for shift in config.rounding.shifts] == [len(each.bias) for each in decoder.convolutions]
    signed = [low < 0 for low, _ in config.rounding.limits]
    assert signed == [False, True, False] * 4 + [False] * 3  # the encoder's features but the deepest, after its ReLU6


def test_values_are_rounded_by_hand():
    """A kernel of one tap of 1 and inputs from 0 to 2: steps of 2 / 255, and what is above 2 becomes 2."""
    from segmenter.folded import Convolution

    kernel = torch.zeros(1, 1, 3, 3)
    kernel[0, 0, 1, 1] = 1
    convolution = Convolution(kernel, None)
    convolution.round_to((0.0, 2.0), torch.tensor([0.5]))
    x = torch.tensor([0.0, 0.003, 0.005, 1.001, 2.0, 3.0]).view(1, 1, 1, 6)
    expected = torch.tensor([0, 0, 1, 128, 255, 255]) * 2 / 255 + 0.5
    assert torch.allclose(convolution(x).flatten(), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["UnetPlusPlus", "ClassicUNet"])
def test_other_networks_are_not_rounded(name, windows):
    classic = {"_model_class": name, "filters": [4, 8], "classes": 3}
    other = classic if name == "ClassicUNet" else {**UNET, "_model_class": name}
    assert fit_rounding(with_statistics(build_network(other)), make_config(network=other), list(windows[:1])) is None


def test_a_rounding_is_used_where_it_agrees(network, config, windows, monkeypatch, capsys):
    """And limits 200 times too wide, which leave hardly a step, agree far less."""
    judged = [(window, torch.ones(window.shape[:2], dtype=torch.bool)) for window in windows[:4]]
    share = agreement(network, config, judged)
    exact, coarse = (values(network, config, windows[:4], rounded).argmax(1) for rounded in (False, True))
    assert share == pytest.approx(float((exact == coarse).float().mean()))
    for limit, used in ((share - 1e-6, True), (share + 1e-6, False)):
        monkeypatch.setattr("train.rounding.AGREEMENT", limit)
        found = chosen_rounding(network, replace(config, rounding=None), list(windows[:4]), judged)
        assert found == (config.rounding if used else None)
        assert (
            f"{100 * share:.3f}% of the pixels their class: {'used' if used else 'not used'}" in capsys.readouterr().out
        )
    wide = tuple((200 * low, 200 * high) for low, high in config.rounding.limits)
    assert agreement(network, replace(config, rounding=replace(config.rounding, limits=wide)), judged) < share - 0.02
    left = [(window, counts.clone()) for window, counts in judged]
    for _, counts in left:
        counts[:, 16:] = False
    half = (exact == coarse)[:, :, :16].float().mean()
    assert agreement(network, config, left) == pytest.approx(float(half))


def test_the_rounding_of_another_network(network, config, refusal):
    fewer = Rounding(config.rounding.limits[:3], config.rounding.shifts[:3])
    with refusal(WeightsError, "is of 3 convolutions, the decoder has 15", "python -m train.calibrate"):
        Decoder(network, replace(config, rounding=fewer), rounded=True)


@pytest.fixture
def folder(tmp_path, monkeypatch, network, config):
    monkeypatch.setattr(engine_openvino, "cache_folder", lambda: tmp_path / "cache")
    save_network(network, config, tmp_path / "weights")
    return tmp_path / "weights"


def test_the_config_keeps_it(folder, config):
    assert load_config(folder).rounding == config.rounding


@pytest.mark.parametrize("able", [True, False])
def test_openvino_rounds_as_pytorch_does(folder, network, config, windows, monkeypatch, able):
    """In 8 bits where the processor is able, else as exactly as before; here with steps so wide that it shows."""
    wide = tuple((10 * low, 10 * high) for low, high in config.rounding.limits)
    config = replace(config, rounding=replace(config.rounding, limits=wide))
    save_network(network, config, folder)
    monkeypatch.setattr(engine_openvino, "multiplies_bytes", lambda: able)
    found = load_engine(folder, "cpu", "openvino")[0].run([window.numpy() for window in windows])
    network, _ = load_network(folder)  # in halves, as on the disk
    expected = values(network, config, windows, able).numpy()
    other = values(network, config, windows, not able).numpy()
    got = np.stack([each for each, _ in found])
    assert np.abs(got - expected).mean() < 0.5 * np.abs(got - other).mean()
    assert np.abs(got - expected).max() < 0.1


def test_each_way_has_its_place_in_the_cache(folder, config, monkeypatch):
    places = set()
    for able in (True, False):
        monkeypatch.setattr(engine_openvino, "multiplies_bytes", lambda able=able: able)
        places.add(converted(folder, config))
    assert len(places) == 2


def test_pytorch_stays_exact(folder, network, config, windows):
    found = load_engine(folder, "cpu", "torch")[0].run([windows[0].numpy()])[0][0]
    expected = values(network, config, windows[:1], False)[0].numpy()
    assert found == pytest.approx(expected, abs=5e-3)  # halves on the disk
