"""Convert a network from PyTorch to OpenVINO: `python -m segmenter.convert WEIGHTS FOLDER [rounded]`."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import torch

from segmenter.inference import Decoder, Encoder
from segmenter.networks import load_network
from segmenter.openvino_silent import PARTS, ov


def write_parts(weights: Path, folder: Path, rounded: bool) -> None:
    """Write ``encoder`` and ``decoder``, each .xml and .bin, for windows of any size into ``folder``, which is there.

    ``rounded`` as in ``segmenter.inference.Decoder``. WeightsError as in ``load_network``.
    """
    network, config = load_network(weights)
    encoder, decoder = Encoder(network, config).eval(), Decoder(network, config, rounded).eval()
    window = torch.zeros(1, 64, 96, 3, dtype=torch.uint8)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch has deprecated the tracing that OpenVINO reads
        features = encoder(window)[encoder.describes :]
        first = ov.convert_model(encoder, example_input=window)
        second = ov.convert_model(decoder, example_input=tuple(features))
    first.reshape([1, -1, -1, 3])
    second.reshape({number: [1, feature.shape[1], -1, -1] for number, feature in enumerate(features)})
    for part, model in zip(PARTS, (first, second), strict=True):
        ov.save_model(model, folder / f"{part}.xml", compress_to_fp16=False)


if __name__ == "__main__":
    write_parts(Path(sys.argv[1]), Path(sys.argv[2]), rounded="rounded" in sys.argv[3:])
