import numpy as np
import pytest
import torch
from conftest import ColourNetwork
from torch import nn

from segmenter.engine import Engine, choose_device

HALF = (0.5, 0.5, 0.5)


def test_choose_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == choose_device("cuda") == "cuda"
    assert choose_device("cuda:0") == "cuda:0"
    assert choose_device("cpu") == "cpu"


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "mps", "gpu", ""])
def test_a_device_that_is_not_here(monkeypatch, refusal, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with refusal(ValueError, f"device {device!r} is not available here", "use 'cpu', or 'auto'"):
        choose_device(device)


def test_logits_come_from_normalised_pixels():
    images = np.zeros((2, 3, 5, 3), np.uint8)
    images[1, 2, 4] = (255, 51, 0)
    logits = Engine(ColourNetwork(3), (0.5, 0.1, 0.0), (0.5, 0.2, 1.0), "cpu").run(images)[0]
    assert logits.shape == (2, 3, 3, 5) and logits.dtype == torch.float32
    assert not logits.requires_grad
    assert logits[0, :, 0, 0].tolist() == pytest.approx([-1, -0.5, 0])
    assert logits[1, :, 2, 4].tolist() == pytest.approx([1, 0.5, 0])


@pytest.mark.parametrize("training", [False, True])
def test_the_network_runs_in_evaluation_mode_and_returns_to_its_own(training):
    network = ColourNetwork(2).train(training)
    Engine(network, HALF, HALF, "cpu").run(np.zeros((1, 2, 2, 3), np.uint8))
    assert network.modes == [False]
    assert network.training is training


def test_the_mode_returns_after_an_error():
    class Broken(nn.Module):
        def forward(self, pixels):
            raise RuntimeError("out of memory")

    network = Broken().train()
    with pytest.raises(RuntimeError, match="out of memory"):
        Engine(network, HALF, HALF, "cpu").run(np.zeros((1, 2, 2, 3), np.uint8))
    assert network.training


def test_half_precision_logits_become_float32():
    class Half(nn.Module):
        def forward(self, pixels):
            return pixels.half()

    assert Engine(Half(), HALF, HALF, "cpu").run(np.zeros((1, 2, 2, 3), np.uint8))[0].dtype == torch.float32
