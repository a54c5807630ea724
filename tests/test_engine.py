"""Engines: which one is chosen, that all say the same, and the cache of converted networks."""

import logging
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ColourNetwork, make_config
from page_server import sample

from segmenter import Segmenter, WeightsError, engine, engine_openvino
from segmenter.config import load_config
from segmenter.engine import choose_device, load_engine
from segmenter.engine_openvino import OpenVinoEngine, converted, is_whole
from segmenter.engine_torch import TorchEngine
from segmenter.networks import build_network, load_network, save_network
from segmenter.predict import WEIGHTS
from segmenter.tasks import TASKS
from segmenter.threads import cgroup_share, usable_cpus

SMALL = {"_model_class": "Unet", "encoder_name": "mobilenet_v2", "decoder_channels": [8, 8, 8, 4, 4], "classes": 3}
CLASSIC = {"_model_class": "ClassicUNet", "filters": [4, 8], "classes": 3}
on_linux = pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Linux alone tells what is in memory")
SHAPES = [(64, 64), (32, 96), (64, 64), (96, 32)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A small network's weights, and an empty cache."""
    monkeypatch.setattr(engine_openvino, "cache_folder", lambda: tmp_path / "cache")
    save(tmp_path / "weights", SMALL)
    return tmp_path / "weights"


def save(path, network, seed=0):
    torch.manual_seed(seed)
    save_network(build_network(network), make_config(network=network), path)


@pytest.fixture
def windows(noise):
    return [noise(*shape, seed=number) for number, shape in enumerate(SHAPES)]


# ---------------------------------------------------------------- which one


def test_choose_device(monkeypatch):
    monkeypatch.setattr(engine, "cuda_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == "cpu"
    monkeypatch.setattr(engine, "cuda_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert choose_device("auto") == choose_device("cuda") == "cuda"
    assert choose_device("cuda:1") == "cuda:1"
    assert choose_device("cpu") == "cpu"


@pytest.mark.parametrize(
    ("device", "devices"), [("cuda", 0), ("cuda:0", 0), ("cuda:2", 2), ("cuda:x", 2), ("mps", 0), ("gpu", 2), ("", 0)]
)
def test_a_device_that_is_not_here(monkeypatch, refusal, device, devices):
    monkeypatch.setattr(engine, "cuda_available", lambda: devices > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: devices)
    with refusal(ValueError, f"device {device!r} is not available here", "use 'cpu', or 'auto'"):
        choose_device(device)


def test_an_unknown_engine(folder, refusal):
    with refusal(ValueError, "unknown engine 'onnx'", "auto, openvino, torch"):
        load_engine(folder, "cpu", "onnx")


def test_openvino_is_not_for_gpus(folder, refusal, monkeypatch):
    monkeypatch.setattr(engine, "cuda_devices", lambda: ["cuda"])
    monkeypatch.setattr(engine, "cuda_available", lambda: True)
    with refusal(ValueError, "the engine openvino runs on the CPU, not on cuda"):
        load_engine(folder, "cuda", "openvino")


def test_the_cpu_has_openvino_and_the_name_decides(folder, monkeypatch):
    monkeypatch.setattr(engine, "cuda_available", lambda: True)
    assert load_engine(folder, engine="openvino")[0].name == "openvino"
    assert load_engine(folder, "cpu")[0].name == "openvino"
    assert load_engine(folder, "cpu", "torch")[0].name == "torch"


@pytest.mark.parametrize("error", [RuntimeError("no such layer"), ImportError("no openvino"), OSError("disk")])
def test_a_failing_openvino_leaves_one_line_and_pytorch(folder, monkeypatch, caplog, error):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(engine_openvino, "OpenVinoEngine", fail)
    with caplog.at_level(logging.WARNING):
        found, _ = load_engine(folder, "cpu")
    assert found.name == "torch"
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        f"OpenVINO is not used ({type(error).__name__}: {error}); PyTorch is, and slower."
    ]
    with pytest.raises(type(error)):
        load_engine(folder, "cpu", "openvino")


@pytest.mark.parametrize("cached", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_prediction_needs_no_pytorch_in_its_process(folder, cached):
    """Not even to convert a network: that is done by a process of its own."""
    if cached:
        load_engine(folder, "cpu")
    code = (
        "import sys, pathlib, numpy as np\n"
        "from segmenter import Segmenter, engine_openvino\n"
        f"engine_openvino.cache_folder = lambda: pathlib.Path({str(folder.parent / 'cache')!r})\n"
        f"result = Segmenter.load('pets', {str(folder)!r}).predict(np.zeros((40, 50, 3), np.uint8))\n"
        "assert result.class_ids.shape == (40, 50)\n"
        "heavy = {'torch', 'torchvision', 'segmentation_models_pytorch', 'gradio', 'openvino_telemetry.main'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)


def test_where_no_process_can_be_begun_the_network_is_converted_here(folder, monkeypatch):
    monkeypatch.setattr(engine_openvino, "pytorch_is_here", lambda: False)
    monkeypatch.setattr(sys, "executable", "false")
    _, config = load_network(folder)
    assert is_whole(converted(folder, config))


# ---------------------------------------------------------------- what they say


@pytest.mark.parametrize("network", [SMALL, CLASSIC], ids=["unet", "classic"])
def test_openvino_says_what_pytorch_says(folder, windows, network):
    save(folder, network)
    exact, _ = load_engine(folder, "cpu", "torch")
    fast, _ = load_engine(folder, "cpu", "openvino")
    for (values, description), (others, other), window in zip(
        exact.run(windows), fast.run(windows), windows, strict=True
    ):
        assert values.shape == others.shape == (3, *window.shape[:2]) and others.dtype == np.float32
        assert others == pytest.approx(values, abs=0.02)  # bfloat16 where the processor has it
        assert other == pytest.approx(description, abs=1e-4)
        assert others.sum(0) == pytest.approx(1, abs=1e-3)
    for (_, description), alone in zip(fast.run(windows), fast.describe(windows), strict=True):
        assert (description == alone).all()


def test_a_window_has_the_same_bytes_in_any_company(folder, windows):
    for name in ("openvino", "torch"):
        found, _ = load_engine(folder, "cpu", name)
        together = found.run(windows)
        for window, (values, description) in zip(windows, together, strict=True):
            ((again, same),) = found.run([window])
            assert (again == values).all() and (same == description).all()


def test_results_are_not_overwritten_by_later_ones(folder, windows):
    found, _ = load_engine(folder, "cpu", "openvino")
    ((values, description),) = found.run(windows[:1])
    kept = values.copy(), description.copy()
    found.run(windows)
    assert (values == kept[0]).all() and (description == kept[1]).all()


def resident(folder):
    """Megabytes of a folder's files that are in this process's memory."""
    inside, total = False, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split()[0]:
            inside = str(folder) in line
        elif line.startswith("Rss:"):
            total += inside * int(line.split()[1])
    return total / 1024


@on_linux
def test_the_memory_of_mapped_weights_is_given_back(folder, windows, monkeypatch):
    cached = converted(folder, load_config(folder))
    with monkeypatch.context() as patch:
        patch.setattr(engine_openvino, "give_back", lambda addresses: None)
        kept = OpenVinoEngine(cached)
        expected = kept.run(windows)
        assert resident(cached) > 5
        del kept
    ready = OpenVinoEngine(cached)
    for _ in range(2):
        for (found, _), (same, _) in zip(ready.run(windows), expected, strict=True):
            assert np.array_equal(found, same)
    assert resident(cached) < 3


def test_what_was_just_described_is_not_encoded_again(folder, windows, monkeypatch):
    ready = OpenVinoEngine(converted(folder, load_config(folder)))
    expected = ready.run(windows)
    encoded = []
    encode = ready._encode
    monkeypatch.setattr(ready, "_encode", lambda window: (encoded.append(window.shape), encode(window)))
    ready.run(windows[:1] * 2)
    assert len(encoded) == 2  # a picture that comes again is read again
    (description,) = ready.describe(windows[:1])
    (values, again), *_ = ready.run([windows[0].copy(), *windows[:1]])
    assert len(encoded) == 4
    assert np.array_equal(values, expected[0][0]) and np.array_equal(again, description)
    ready.describe(windows[:1])
    assert np.array_equal(ready.run(windows[1:2])[0][0], expected[1][0])
    assert len(encoded) == 6


def test_features_are_forgotten_where_the_encoder_fails(folder, windows, monkeypatch):
    ready = OpenVinoEngine(converted(folder, load_config(folder)))
    ready.describe(windows[:1])
    assert ready._known is not None
    with pytest.raises(RuntimeError):
        ready.run([windows[1][..., :2]])  # two bands, which the encoder refuses
    assert ready._known is None


ONE_GOES = """
import sys
import numpy as np
from segmenter.engine import load_engine
gone, _ = load_engine(sys.argv[1], "cpu", "openvino")
gone.run([np.zeros((64, 64, 3), np.uint8)])
stays, _ = load_engine(sys.argv[1], "cpu", "openvino")
del gone
arrays = []
for number in range(1, 20):
    arrays.append(np.full(300_000 * number, 7, np.uint8))
    stays.run([np.zeros((64, 32 * number, 3), np.uint8)])
    assert all((array == 7).all() for array in arrays)
"""


@on_linux
def test_memory_of_an_engine_that_is_gone_is_left_alone():
    """What takes its place at the same addresses belongs to others; emptied, it ends the process."""
    command = [sys.executable, "-c", ONE_GOES, str(WEIGHTS / "cars")]
    done = subprocess.run(command, cwd=WEIGHTS.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


MANY_SHAPES = """
import sys
import numpy as np
from segmenter.engine import load_engine
from tests.robustness.limits import status
engine, _ = load_engine(sys.argv[1], "cpu", "openvino")
shapes = [(32 * height, 32 * width) for height in range(1, 11) for width in range(1, 11)]
for number, index in enumerate(np.random.default_rng(0).permutation(len(shapes))):
    if number == 40:
        before = status("VmRSS")
    engine.run([np.zeros((*shapes[index], 3), np.uint8)])
print((status("VmRSS") - before) / 2**20)
"""


@pytest.mark.slow
@on_linux
def test_windows_of_many_shapes_do_not_fill_the_memory():
    """Without a limit the kernels of 60 more shapes are 300 MB."""
    command = [sys.executable, "-c", MANY_SHAPES, str(WEIGHTS / "nuclei")]
    done = subprocess.run(command, cwd=WEIGHTS.parent, check=True, capture_output=True, text=True)
    assert float(done.stdout) < 50


def test_a_cuda_engine_would_stack_windows_of_one_shape(windows):
    """Shapes a, b, a, c of which none follows its like, then three alike in batches of two."""
    network = ColourNetwork(3)
    found = TorchEngine(network, make_config())
    found.batch = 2
    found.run([*windows, *[windows[0]] * 3])
    assert [shape[0] for shape in network.shapes] == [1, 1, 1, 1, 2, 1]


def test_the_network_runs_in_evaluation_mode():
    network = ColourNetwork(3).train()
    TorchEngine(network, make_config()).run([np.zeros((32, 32, 3), np.uint8)])
    assert network.modes == [False]


@pytest.mark.parametrize("task", TASKS)
def test_the_committed_models_agree_whatever_the_engine(task):
    picture = sample(task)
    models = [Segmenter.load(task, device="cpu", engine=name) for name in ("torch", "openvino")]
    assert [model._engine.name for model in models] == ["torch", "openvino"]
    exact, fast = (model.predict(picture) for model in models)
    assert (exact.class_ids == fast.class_ids).mean() >= 0.999
    assert np.abs(exact.confidence - fast.confidence).mean() < 0.002
    assert exact.familiarity == pytest.approx(fast.familiarity, abs=1e-2)


# ---------------------------------------------------------------- the cache

OFTEN_DAMAGED = {("encoder.bin", "cut"), ("decoder.xml", "gone"), ("checksums", "noise")}  # the others are slow


def test_a_network_is_converted_once(folder, monkeypatch):
    _, config = load_network(folder)
    first = converted(folder, config)
    assert is_whole(first)
    monkeypatch.setattr(engine_openvino, "convert", None)
    assert converted(folder, config) == first


def test_other_weights_and_another_config_are_other_entries(folder):
    _, config = load_network(folder)
    first = converted(folder, config)
    save(folder, SMALL, seed=1)
    second = converted(folder, config)
    (folder / "config.json").write_text(
        (folder / "config.json").read_text().replace('"temperature": 1.0', '"temperature": 2.0')
    )
    third = converted(folder, load_config(folder))
    assert len({first, second, third}) == 3 and all(map(is_whole, (first, second, third)))


def test_what_is_no_part_of_the_network_makes_no_other_entry(folder):
    _, config = load_network(folder)
    other = replace(config, seed_threshold=0.3, min_object=99, metrics={"minutes": 1})
    assert converted(folder, config) == converted(folder, other)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        pytest.param(name, damage, marks=[] if (name, damage) in OFTEN_DAMAGED else pytest.mark.slow)
        for name in ("encoder.bin", "decoder.bin", "decoder.xml", "checksums")
        for damage in ("cut", "gone", "noise")
    ],
)
def test_a_damaged_entry_is_made_again(folder, name, damage):
    _, config = load_network(folder)
    file = converted(folder, config) / name
    whole = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"\xff" * len(whole))
    again = converted(folder, config)
    assert is_whole(again) and abs((again / name).stat().st_size - len(whole)) < 9  # models are numbered in their names
    assert [path.name for path in again.parent.iterdir()] == [again.name]  # nothing half made is left


@pytest.mark.parametrize("error", [WeightsError("of another shape"), OSError(28, "No space left"), KeyboardInterrupt()])
def test_a_conversion_that_fails_leaves_nothing(folder, tmp_path, monkeypatch, error):
    def fail(weights, made, rounded):
        (made / "encoder.bin").write_bytes(b"half")
        raise error

    monkeypatch.setattr(engine_openvino, "_write_parts", fail)
    with pytest.raises(type(error)):
        converted(folder, load_network(folder)[1])
    assert not list((tmp_path / "cache").iterdir())


def test_what_another_process_was_faster_with_stays(folder, monkeypatch):
    _, config = load_network(folder)
    first = converted(folder, config)
    before = (first / "encoder.bin").stat().st_ino
    assert engine_openvino.convert(folder, first, False) == first
    assert (first / "encoder.bin").stat().st_ino == before


def test_what_goes_while_the_cache_is_swept_is_no_failure(folder, monkeypatch):
    """Another thread gives its entry its name between the list and the look at it."""

    def gone(parent, count):
        raise FileNotFoundError(2, "No such file or directory", "making-x")

    monkeypatch.setattr(engine_openvino, "keep_newest", gone)
    assert is_whole(converted(folder, load_network(folder)[1]))


def test_a_cache_that_cannot_be_written_costs_the_cache_only(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(engine_openvino, "cache_folder", lambda: tmp_path / "file")
    assert load_engine(folder, "cpu", "openvino")[0].run([np.zeros((32, 32, 3), np.uint8)])


def test_the_cache_is_bounded(folder, monkeypatch):
    """Those that were used last are kept."""
    monkeypatch.setattr(engine_openvino, "MOST_CACHED", 2)
    _, config = load_network(folder)
    found = []
    for seed in (0, 1, 2, 1, 3):
        save(folder, CLASSIC, seed)
        found.append(converted(folder, config))
        time.sleep(0.02)  # the clock of files goes in steps
    assert found[1] == found[3]
    assert [is_whole(found[index]) for index in (0, 1, 2, 4)] == [False, True, False, True]


def test_missing_weights_are_named(folder, refusal):
    (folder / "model.safetensors").unlink()
    with refusal(WeightsError, "model.safetensors is missing", "python -m train.pets"):
        load_engine(folder, "cpu")


def test_the_cache_is_the_users():
    assert engine_openvino.cache_folder().name == "openvino" and engine_openvino.cache_folder().is_absolute()
    assert not engine_openvino.cache_folder().is_relative_to(WEIGHTS.parent)


@on_linux
def test_the_cache_is_where_the_user_has_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert engine_openvino.cache_folder() == tmp_path / "segmenter" / "openvino"


# ---------------------------------------------------------------- threads


@pytest.mark.parametrize(
    ("files", "share"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, float("inf")),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, float("inf")),
        ({"cpu.max": "nonsense"}, float("inf")),
        ({}, float("inf")),
    ],
)
def test_the_share_of_a_container(tmp_path, monkeypatch, files, share):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: range(64), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cgroup_share(tmp_path) == share
    assert usable_cpus(tmp_path) == min(64, np.ceil(share))
