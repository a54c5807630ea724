import hashlib
import json
import math
import os
import pickle
import socket
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from segmenter.config import Config, Familiarity, Judge, WeightsError, load_config, read_weights
from segmenter.inference import class_probabilities, map_probabilities
from segmenter.networks import (
    ClassicUNet,
    TransposedUNet,
    build_network,
    count_parameters,
    load_encoder,
    load_network,
    save_network,
)
from segmenter.predict import WEIGHTS
from segmenter.tasks import TASKS

SMALL = {"_model_class": "ClassicUNet", "classes": 3, "filters": [4, 8, 16]}
MOBILE = {"encoder_name": "mobilenet_v2", "classes": 2}
ARCHITECTURES = {
    "classic": SMALL,
    "classic norm dropout head": {**SMALL, "norm": True, "dropout": 0.3, "head_filters": [6, 5]},
    "smp unet": {"_model_class": "Unet", **MOBILE, "decoder_channels": [16, 8, 8, 4, 4]},
    "smp unet plus plus": {"_model_class": "UnetPlusPlus", **MOBILE, "decoder_channels": [16, 8, 8, 4, 4]},
    "transposed": {"_model_class": "TransposedUNet", **MOBILE, "decoder_channels": [16, 8, 8, 4]},
}


@pytest.fixture(autouse=True)
def no_way_out(monkeypatch):
    """Nothing here may reach for the network."""

    def refuse(*arguments, **options):
        raise AssertionError("the network was reached for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def config_of(network, **changes):
    classes = ("background", "pet", "border")[: network["classes"]]
    fields = {
        "task": "pets",
        "network": network,
        "classes": classes,
        "network_classes": tuple(range(len(classes))),
        "input_policy": "fit",
        "size": 64,
    }
    return Config(**{**fields, **changes})


def randomise(network, seed=0):
    """Give the running statistics and the weights values of their own, so that none is a default."""
    generator = torch.Generator().manual_seed(seed)
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) * 0.1 + 0.05)
        else:
            value.fill_(7)
    return network.eval()


@pytest.fixture
def saved(tmp_path):
    """A folder with a small network."""
    save_network(randomise(build_network(SMALL)), config_of(SMALL), tmp_path / "saved")
    return tmp_path / "saved"


def change_config(folder, change):
    path = folder / "config.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


# ---------------------------------------------------------------- architectures


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({}, 34_513_475),
        ({"filters": (32, 64, 128, 256, 512), "head_filters": (32,)}, 8_639_811),
    ],
)
def test_the_parameters_of_the_classic_networks(options, parameters):
    with torch.device("meta"):
        assert count_parameters(ClassicUNet(3, **options)) == parameters


def test_parameters_by_hand():
    """Two levels of 2 and 4 channels; a 3x3 convolution has 9 * in * out + out.

    down 3>2>2: 56 + 38; down 2>4>4: 76 + 148; upsample 4>2: 74; up 4>2>2: 74 + 38; head 2>5: 15.
    """
    assert count_parameters(ClassicUNet(5, filters=(2, 4))) == 56 + 38 + 76 + 148 + 74 + 74 + 38 + 15


@pytest.mark.parametrize("description", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_logits_have_the_size_of_the_pixels(description):
    torch.manual_seed(1)
    network = build_network(description).eval()
    with torch.inference_mode():
        logits = network(torch.rand(2, 3, 64, 96))
    assert logits.min() < 0 < logits.max()  # raw scores, no activation after the last layer
    assert logits.shape == (2, description["classes"], 64, 96)
    assert logits.dtype == torch.float32 and logits.isfinite().all()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("classic", "ClassicUNet"), ("smp unet", "Unet"), ("transposed", "TransposedUNet")],
)
def test_the_class_is_the_one_asked_for(name, kind):
    assert type(build_network(ARCHITECTURES[name])).__name__ == kind


def test_options_of_the_classic_network():
    plain = build_network(SMALL)
    rich = build_network(ARCHITECTURES["classic norm dropout head"])

    def count(network, kind):
        return sum(isinstance(layer, kind) for layer in network.modules())

    # Three levels down and two up, two convolutions each.
    assert count(plain, nn.BatchNorm2d) == 0 and count(plain, nn.Dropout2d) == 0
    assert count(rich, nn.BatchNorm2d) == 10 and count(rich, nn.Dropout2d) == 5
    assert [layer.out_channels for layer in rich.head if isinstance(layer, nn.Conv2d)] == [6, 5, 3]
    assert [layer.out_channels for layer in plain.head if isinstance(layer, nn.Conv2d)] == [3]


@pytest.mark.parametrize("description", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_every_parameter_learns(description):
    """A layer that the forward pass forgets has no gradient."""
    network = build_network(description).train()
    network(torch.rand(2, 3, 64, 64)).square().sum().backward()
    forgotten = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert forgotten == []


def test_encoder_weights_in_a_config_are_never_fetched():
    network = build_network({**ARCHITECTURES["smp unet"], "encoder_weights": "imagenet"})
    assert type(network).__name__ == "Unet"
    assert isinstance(build_network({**ARCHITECTURES["transposed"], "encoder_weights": "imagenet"}), TransposedUNet)


@pytest.mark.parametrize("name", ["SegFormer", "nn.Linear", None, "__import__"])
def test_an_unknown_class(refusal, name):
    with refusal(WeightsError, f"class {name!r} is not known", "Unet, UnetPlusPlus, ClassicUNet or TransposedUNet"):
        build_network({"_model_class": name, "classes": 2})


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("description", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_round_trip(tmp_path, description):
    """What is loaded is what was saved, rounded to half precision: 11 bits of mantissa."""
    network = randomise(build_network(description))
    config = config_of(description, overlap=3, mean=(0.1, 0.2, 0.3), recipe={"epochs": 2}, metrics={"iou": 0.5})
    save_network(network, config, tmp_path / "new" / "folder")
    loaded, read = load_network(tmp_path / "new" / "folder")
    assert not loaded.training
    state = network.state_dict()
    assert loaded.state_dict().keys() == state.keys()
    for key, value in loaded.state_dict().items():
        assert value.dtype == state[key].dtype
        assert torch.allclose(value, state[key], rtol=2**-11, atol=0), key
    own = {key: value for key, value in read.network.items() if key != "encoder_weights"}
    assert own == description
    assert read.network.get("encoder_weights") is None
    assert replace(read, network={}) == replace(config, network={})


def test_the_files_of_a_folder(saved):
    assert sorted(path.name for path in saved.iterdir()) == ["SHA256SUMS", "config.json", "model.safetensors"]
    state = load_file(saved / "model.safetensors")
    assert {value.dtype for value in state.values()} == {torch.float16}
    document = json.loads((saved / "config.json").read_text(encoding="utf-8"))
    assert document["_model_class"] == "ClassicUNet" and document["filters"] == [4, 8, 16]
    assert document["_segmenter"]["classes"] == ["background", "pet", "border"]


def test_saving_again_replaces_both_files(saved):
    other = {**SMALL, "classes": 2}
    save_network(build_network(other), config_of(other), saved)
    network, config = load_network(saved)
    assert config.classes == ("background", "pet")
    assert network.head[-1].out_channels == 2


def test_smp_reads_our_folder(tmp_path):
    smp = pytest.importorskip("segmentation_models_pytorch")
    description = ARCHITECTURES["smp unet"]
    network = randomise(build_network(description))
    save_network(network, config_of(description), tmp_path)
    theirs = smp.from_pretrained(str(tmp_path)).eval()
    ours, _ = load_network(tmp_path)
    assert type(theirs) is smp.Unet
    pixels = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(theirs(pixels), ours(pixels))


def test_loading_starts_in_another_place(saved, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert load_config("saved") == load_config(saved)
    assert load_network("saved")[1].size == 64


def test_load_encoder(tmp_path, refusal):
    source, target = build_network(ARCHITECTURES["smp unet"]), build_network(ARCHITECTURES["transposed"])
    randomise(source)
    state = {key: value.contiguous() for key, value in source.encoder.state_dict().items()}
    save_file(state, tmp_path / "encoder.safetensors")
    load_encoder(target, tmp_path / "encoder.safetensors")
    for key, value in target.encoder.state_dict().items():
        assert torch.equal(value, state[key]), key
    uncounted = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    save_file(uncounted, tmp_path / "uncounted.safetensors")
    load_encoder(target, tmp_path / "uncounted.safetensors")  # old files lack the counts, which nothing uses
    first, second, *rest = [key for key in state if not key.endswith("num_batches_tracked")]
    save_file({key: state[key] for key in rest}, tmp_path / "part.safetensors")
    with refusal(WeightsError, "is no encoder for this network", "1 more"):
        load_encoder(target, tmp_path / "part.safetensors")


# ---------------------------------------------------------------- refusals


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_a_pickle_is_refused_and_not_run(saved, tmp_path, refusal):
    trap = str(tmp_path / "sprung")
    (saved / "SHA256SUMS").unlink()
    for write in (pickle.dump, torch.save):
        with (saved / "model.safetensors").open("wb") as file:
            write({"weights": Trap(trap)}, file)
        with refusal(WeightsError, "model.safetensors is damaged or not safetensors", "restore it or train again"):
            load_network(saved)
        assert not os.path.exists(trap)  # noqa: PTH110
    with (saved / "model.safetensors").open("rb") as file:
        torch.load(file, weights_only=False)
    assert os.path.exists(trap)  # noqa: PTH110  # the trap does work


def test_a_missing_folder(tmp_path, refusal):
    with refusal(WeightsError, "absent has no readable config.json", "give a folder", "python -m train."):
        load_network(tmp_path / "absent")


def test_a_file_instead_of_a_folder(saved, refusal):
    with refusal(WeightsError, "has no readable config.json", "give a folder"):
        load_network(saved / "model.safetensors")


def test_a_missing_config(saved, refusal):
    (saved / "config.json").unlink()
    with refusal(WeightsError, "has no readable config.json", "holds config.json and model.safetensors"):
        load_network(saved)


def test_missing_weights(saved, refusal):
    (saved / "model.safetensors").unlink()
    with refusal(WeightsError, "model.safetensors is missing", "restore it or run `python -m train.pets`"):
        load_network(saved)


@pytest.mark.parametrize("content", [b"", b"{", b"not json", b"\xff\xfe\0", b'{"a": 1,}'])
def test_a_config_that_is_not_json(saved, refusal, content):
    (saved / "config.json").write_bytes(content)
    with refusal(WeightsError, "config.json is not JSON", "restore it or train again"):
        load_network(saved)


@pytest.mark.parametrize(
    "content",
    ["[]", "7", '"a"', "null", "{}", '{"_segmenter": null}', '{"_segmenter": []}', '{"_segmenter": {"task": "pets"}}'],
)
def test_a_config_without_our_fields(saved, refusal, content):
    (saved / "config.json").write_text(content)
    with refusal(WeightsError, "config.json lacks the fields of this project under '_segmenter'", "restore it"):
        load_network(saved)


@pytest.mark.parametrize("field", ["task", "classes", "network_classes", "input_policy", "size"])
def test_a_config_that_lacks_one_field(saved, refusal, field):
    change_config(saved, lambda document: document["_segmenter"].pop(field))
    with refusal(WeightsError, "lacks the fields"):
        load_network(saved)


def test_optional_fields_may_lack(saved):
    for field in ("overlap", "mean", "std", "recipe", "metrics"):
        change_config(saved, lambda document, field=field: document["_segmenter"].pop(field))
    config = load_config(saved)
    assert (config.overlap, config.mean, config.std) == (0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_an_unknown_class_in_a_config(saved, refusal):
    change_config(saved, lambda document: document.update(_model_class="Transformer"))
    with refusal(WeightsError, "'Transformer' is not known"):
        load_network(saved)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"depth": 4}, "depth"),
        ({"filters": "wide"}, "ClassicUNet"),
        ({"classes": None}, "ClassicUNet"),
        ({"classes": -1}, "ClassicUNet"),
        ({"filters": []}, "ClassicUNet"),
        ({"_model_class": "TransposedUNet", "encoder_name": "resnet9000", "filters": 1}, "TransposedUNet"),
    ],
    ids=repr,
)
def test_arguments_that_build_no_network(saved, refusal, change, word):
    change_config(saved, lambda document: document.update(change))
    with refusal(WeightsError, "cannot be built", word):
        load_network(saved)


@pytest.mark.parametrize("encoder", ["resnet9000", 7])
def test_an_unknown_encoder(refusal, encoder):
    with refusal(WeightsError, "Unet", "cannot be built"):
        build_network({"_model_class": "Unet", "encoder_name": encoder, "classes": 2})


@pytest.mark.parametrize("length", [0, 4, 8, 100, 0.5, 0.9, -1])
def test_truncated_weights(saved, refusal, length):
    path = saved / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * length) if isinstance(length, float) else length])
    with refusal(WeightsError, "model.safetensors is damaged or not the file that SHA256SUMS", "restore both"):
        load_network(saved)
    (saved / "SHA256SUMS").unlink()
    with refusal(WeightsError, "model.safetensors is damaged or not safetensors", "restore it or train again"):
        load_network(saved)


def test_one_changed_bit_is_noticed(saved, refusal):
    path = saved / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with refusal(WeightsError, "is damaged or not the file that SHA256SUMS beside it lists"):
        load_network(saved)


@pytest.mark.parametrize("task", TASKS)
def test_the_shipped_weights_are_those_listed(task):
    read_weights(WEIGHTS / task, load_config(WEIGHTS / task))
    digest = hashlib.sha256((WEIGHTS / task / "model.safetensors").read_bytes()).hexdigest()
    assert (WEIGHTS / task / "SHA256SUMS").read_text() == f"{digest}  model.safetensors\n"


def test_a_header_that_claims_too_much(saved, refusal):
    (saved / "SHA256SUMS").unlink()
    (saved / "model.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")
    with refusal(WeightsError, "is damaged or not safetensors"):
        load_network(saved)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"filters": [4, 8, 12]}, "size mismatch"),
        ({"classes": 4}, "size mismatch"),
        ({"norm": True}, ""),
        ({"filters": [4, 8, 16, 32, 64, 128, 256]}, ""),
        ({"_model_class": "Unet", "encoder_name": "mobilenet_v2"}, ""),
    ],
    ids=repr,
)
def test_weights_of_another_network(saved, refusal, change, word):
    def update(document):
        if "_model_class" in change:
            document.pop("filters")
        document.update(change)

    change_config(saved, update)
    with refusal(WeightsError, "does not fit the network in config.json", "keep the two files of one run", word):
        load_network(saved)


# ---------------------------------------------------------------- probabilities


def maps_of(*probabilities):
    """Logits (1, M, 1, 1) whose softmax are these numbers."""
    return torch.tensor([math.log(value) for value in probabilities]).view(1, -1, 1, 1)


def probabilities_of(logits, config):
    return class_probabilities(map_probabilities(logits, config), config)


def test_temperature_softens_without_changing_the_order():
    hot = replace(config_of({"classes": 3}), temperature=2.0)
    found = map_probabilities(maps_of(0.1, 0.5, 0.4), hot).flatten()
    roots = torch.tensor([0.1, 0.5, 0.4]).sqrt()
    assert found.tolist() == pytest.approx((roots / roots.sum()).tolist())


def test_offsets_shift_the_odds_of_a_class_and_all_its_maps():
    plain = replace(config_of({"classes": 2}), offsets=(0.0, math.log(3)))
    assert map_probabilities(maps_of(0.5, 0.5), plain).flatten().tolist() == pytest.approx([0.25, 0.75])
    cores = config_of({"classes": 2}, network_classes=(0, 1, 1), offsets=(0.0, math.log(3)))
    assert map_probabilities(maps_of(0.6, 0.3, 0.1), cores).flatten().tolist() == pytest.approx([1 / 3, 0.5, 1 / 6])


def test_probabilities_of_plain_maps():
    config = config_of({"classes": 3})
    assert config.seed_map is None
    assert probabilities_of(maps_of(0.2, 0.5, 0.3), config).flatten().tolist() == pytest.approx([0.2, 0.5, 0.3])


@pytest.mark.parametrize(
    ("network_classes", "maps", "expected", "seed_map"),
    [
        ((0, 1, 1), (0.2, 0.5, 0.3), [0.2, 0.8], 1),
        ((0, 0, 1), (0.2, 0.5, 0.3), [0.7, 0.3], 2),
        ((0, 1, 1, 1), (0.4, 0.1, 0.2, 0.3), [0.4, 0.6], 1),
    ],
)
def test_maps_of_one_class_are_added(network_classes, maps, expected, seed_map):
    config = config_of({"classes": 2}, network_classes=network_classes)
    assert config.seed_map == seed_map
    assert probabilities_of(maps_of(*maps), config).flatten().tolist() == pytest.approx(expected)


def test_the_pixels_stay_in_their_places():
    config = config_of({"classes": 2}, network_classes=(0, 1, 1))
    logits = torch.zeros(2, 3, 4, 5, dtype=torch.float16)
    logits[1, 0, 2, 3] = 20
    probabilities = probabilities_of(logits, config)
    assert probabilities.shape == (2, 2, 4, 5) and probabilities.dtype == torch.float32
    assert probabilities.sum(1).flatten().tolist() == pytest.approx([1] * 40)
    assert probabilities[1, :, 2, 3].tolist() == pytest.approx([1, 0], abs=1e-6)
    assert probabilities[0, :, 2, 3].tolist() == pytest.approx([1 / 3, 2 / 3])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", "64"), ("size", 65), ("size", 0), ("size", True), ("size", 10**9), ("overlap", -1), ("overlap", None),
        ("mean", [0.5, 0.5]), ("std", [0.5, 0, 0.5]), ("temperature", 0), ("temperature", "warm"),
        ("offsets", [0.0]), ("offsets", [0.0, "more"]), ("offsets", None),
        ("input_policy", "guess"), ("network_classes", [0, 1, 9]), ("network_classes", 3), ("network_classes", [0, 0]),
        ("overlap", 64), ("min_object", -3), ("classes", None), ("classes", []), ("classes", [1, 2]),
        ("rounding", {"limits": [[0, 0]], "shifts": [[0]]}), ("rounding", {"limits": [[-1, 1]], "shifts": []}),
        ("seed_threshold", []), ("zoom", 0.5), ("zoom_below", "small"), ("zoom_below", 20),
        ("familiarity", {"judges": []}), ("familiarity", {"judges": [{"weights": [], "bias": 0.0}]}),
        ("familiarity", {"judges": [{"weights": [1.0], "bias": float("inf")}]}),
    ],
)  # fmt: skip
def test_a_config_that_no_model_can_have(saved, refusal, field, value):
    path = saved / "config.json"
    document = json.loads(path.read_text())
    document["_segmenter"][field] = value
    path.write_text(json.dumps(document))
    with refusal(WeightsError, f"config.json says {field} is", "restore it or train again"):
        load_config(saved)


@pytest.mark.parametrize(("field", "value"), [("size", "512"), ("zoom", "a"), ("zoom", None)])
def test_a_config_that_is_read_enlarged_by_nonsense(saved, refusal, field, value):
    change_config(saved, lambda document: document["_segmenter"].update(zoom_below=20, input_policy="tile", size=512))
    load_config(saved)
    change_config(saved, lambda document: document["_segmenter"].update({field: value}))
    with refusal(WeightsError, f"config.json says {field} is", "restore it or train again"):
        load_config(saved)


def test_a_config_nested_without_end(saved, refusal):
    (saved / "config.json").write_text("[" * 200_000)
    with refusal(WeightsError, "is not JSON"):
        load_config(saved)


def test_judges_of_another_network(refusal):
    judges = Familiarity((Judge((1.0, 2.0), 0.5), Judge((1.0,), 0.0)))
    assert judges.score(np.array([1.0, 1.0, 2.0])) == 2.0
    with refusal(WeightsError, "knows 3 features", "gives 4", "python -m train.calibrate"):
        judges.score(np.ones(4))
