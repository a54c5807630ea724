"""What the engines run equals what the network says, whatever kind the network is."""

import numpy as np
import pytest
import torch
from conftest import make_config
from torch import nn

from segmenter.folded import folded
from segmenter.inference import Decoder, Encoder, normalise
from segmenter.networks import build_network

UNET = {"_model_class": "Unet", "encoder_name": "mobilenet_v2", "decoder_channels": [24, 16, 12, 8, 4]}
NETWORKS = {
    "unet": UNET,
    "unet, three maps of two classes": UNET,
    "unet with attention": {**UNET, "decoder_channels": [64, 32, 32, 16, 16], "decoder_attention_type": "scse"},
    "unet, bilinear": {**UNET, "decoder_interpolation": "bilinear"},
    "unet of four levels": {**UNET, "encoder_depth": 4, "decoder_channels": [16, 12, 8, 4]},
    "resnet": {**UNET, "encoder_name": "resnet18"},
    "unet plus plus": {**UNET, "_model_class": "UnetPlusPlus"},
    "classic": {"_model_class": "ClassicUNet", "filters": [4, 8]},
    "transposed": {"_model_class": "TransposedUNet", "encoder_name": "mobilenet_v2", "decoder_channels": [16, 8, 8, 4]},
}


def with_statistics(network):
    """Batch normalisation as after training: no layer leaves values as they are."""
    torch.manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias, -0.3, 0.3)
            nn.init.uniform_(layer.running_mean, -0.3, 0.3)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_two_parts_equal_the_network(name):
    task = "nuclei" if "two classes" in name else "pets"
    offsets = (0.0, 0.7, -0.4)[: 2 if task == "nuclei" else 3]
    network = with_statistics(build_network({**NETWORKS[name], "classes": 3}))
    config = make_config(task, temperature=1.7, offsets=offsets, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    windows = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), np.uint8))
    encoder, decoder = Encoder(network, config).eval(), Decoder(network, config).eval()
    with torch.inference_mode():
        found = encoder(windows)
        values = decoder(*found[encoder.describes :])
        shifts = torch.tensor([0, 0.7, 0.7 if task == "nuclei" else -0.4]).view(3, 1, 1)
        expected = (network(normalise(windows, config.mean, config.std)) / 1.7 + shifts).softmax(1)
    if task == "nuclei":  # background, nucleus as core and rim together, and the core
        expected = torch.stack([expected[:, 0], expected[:, 1] + expected[:, 2], expected[:, 1]], 1)
    assert values.shape == (2, 3, 64, 96) and values.dtype == torch.float32
    assert torch.allclose(values, expected, atol=2e-5)
    assert encoder.describes == ("une" in name or name == "resnet")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("unet", True), ("resnet", True), ("unet of four levels", True), ("unet with attention", False),
     ("unet, bilinear", False), ("unet plus plus", False)],
)  # fmt: skip
def test_the_decoder_is_folded_where_that_is_exact(name, expected):
    network = build_network({**NETWORKS[name], "classes": 2})
    assert (folded(network) is not None) is expected


def test_the_description_is_the_mean_of_the_features_at_an_8th_a_16th_and_a_32nd():
    network = with_statistics(build_network({**UNET, "classes": 3}))
    windows = torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8)
    config = make_config()
    with torch.inference_mode():
        encoder = Encoder(network, config)
        description = encoder(windows)[0]
        features = network.encoder(normalise(windows, config.mean, config.std))
    assert description.shape == (2, 1408) and description.dtype == torch.float32 and encoder.parts == [128, 1280]
    assert torch.allclose(description[1, :32], features[3][1].mean((1, 2)), atol=1e-6)
    assert torch.allclose(description[0, 32:128], features[4][0].mean((1, 2)), atol=1e-6)
    assert torch.allclose(description[1, 128:], features[5][1].mean((1, 2)), atol=1e-6)


def test_normalise():
    images = torch.zeros(2, 1, 2, 3, dtype=torch.uint8)
    images[1, 0, 1] = torch.tensor([255, 51, 102])
    pixels = normalise(images, (0.5, 0.1, 0.4), (0.5, 0.2, 0.1))
    assert pixels.shape == (2, 3, 1, 2) and pixels.dtype == torch.float32
    assert pixels.is_contiguous(memory_format=torch.channels_last)
    # (0 - mean) / std and (1, 0.2, 0.4 - mean) / std
    assert pixels[0, :, 0, 0].tolist() == pytest.approx([-1, -0.5, -4])
    assert pixels[1, :, 0, 1].tolist() == pytest.approx([1, 0.5, 0], abs=1e-6)
