"""What a training run starts from, and what it keeps of that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from segmenter.config import Config
from segmenter.networks import build_network, load_encoder, load_network
from train.data import DataError
from train.recipe import Recipe


def start_network(recipe: Recipe, config: Config, encoder: str, start: Path | None = None) -> tuple[nn.Module, Config]:
    """The network to train and the config with its normalisation.

    It is filled from the folder ``start``, else its encoder is filled as the recipe says.
    """
    if start:
        network, found = load_network(start)
        held = {key: value for key, value in found.network.items() if key != "encoder_weights"}
        if held != config.network:
            raise DataError(f"{start} holds the network {held}, but this recipe trains {config.network}.")
        return network.train(), replace(config, mean=found.mean, std=found.std)
    network = build_network(config.network)
    if recipe.init == "random":
        return network, config
    if encoder != "imagenet":
        if not Path(encoder).is_file():
            raise DataError(f"{encoder} is no encoder file; give imagenet, random or a .safetensors file.")
        load_encoder(network, encoder)
        return network, config
    from segmentation_models_pytorch.encoders import get_encoder, get_preprocessing_params

    encoder_name = config.network["encoder_name"]
    try:
        pretrained = get_encoder(encoder_name, weights="imagenet").state_dict()
    except Exception as error:  # the hub's client raises errors of several libraries
        raise DataError(
            f"the ImageNet encoder {encoder_name} could not be downloaded ({type(error).__name__}); "
            "check the network, or give --encoder FILE.safetensors or --encoder random."
        ) from error
    nn.Module.load_state_dict(network.get_submodule("encoder"), pretrained)
    parameters = get_preprocessing_params(encoder_name, "imagenet")
    return network, replace(config, mean=tuple(parameters["mean"]), std=tuple(parameters["std"]))


@torch.no_grad()
def average(network: nn.Module, other: nn.Module, share: float) -> None:
    """Move a network's weights and statistics by ``share`` of the way to those of one of the same shape.

    Weights that were trained further from others lie in one valley with them, and their mean holds better than
    either (WiSE-FT; Wortsman et al., CVPR 2022).
    """
    for own, others in zip(network.state_dict().values(), other.state_dict().values(), strict=True):
        if own.is_floating_point():
            own.lerp_(others.to(own), share)
