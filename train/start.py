"""What a training run starts from: an encoder or trained weights, and a teacher."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

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
        check_split(start, found, recipe)
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


def load_teacher(folder: Path, recipe: Recipe, config: Config, by: Recipe | None = None) -> tuple[nn.Module, Config]:
    """The network in ``folder`` and its config, for one of this ``recipe`` and ``config`` to learn from; DataError
    where it knows other classes, has seen other pictures or was not trained ``by`` the recipe that is named."""
    network, found = load_network(folder)
    if by is not None and Recipe.of(found.recipe) != by:
        raise DataError(
            f"the teacher in {folder} was trained by another recipe; give the options of then, or start without "
            "--resume."
        )
    check_split(folder, found, recipe)
    if (found.classes, found.network_classes) != (config.classes, config.network_classes):
        raise DataError(f"{folder} holds a model of {', '.join(found.classes)}, no teacher of this one; give another.")
    return network, found


def check_split(folder: Path, found: Config, recipe: Recipe) -> None:
    """DataError where a model has learnt by another split: its training pictures would be tested on."""
    split = Recipe.of(found.recipe).split if found.recipe else recipe.split
    if split != recipe.split:
        raise DataError(f"{folder} was trained on the {split} split, this run is on the {recipe.split}; give another.")
