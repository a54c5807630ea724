"""The engine on CUDA; skipped where there is none, but for what it does to a network before."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import numpy as np
import pytest
import torch

from segmenter.engine import cuda_available, load_engine
from segmenter.engine_cuda import CAPTURED, CudaEngine, halved, without_norms
from segmenter.networks import build_network, load_network
from segmenter.predict import WEIGHTS
from segmenter.tasks import TASKS

on_cuda = pytest.mark.skipif(not cuda_available(), reason="needs an NVIDIA GPU")


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.mark.parametrize("task", TASKS)
def test_a_network_without_norms_computes_the_same(task):
    network, _ = load_network(WEIGHTS / task)
    pixels = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    fused = without_norms(deepcopy(network))
    kinds = [type(layer).__name__ for layer in fused.modules()]
    assert "BatchNorm2d" not in kinds
    with torch.inference_mode():
        expected, found = network(pixels), fused(pixels)
    assert torch.allclose(expected, found, atol=1e-3)
    assert not torch.equal(expected, torch.zeros_like(expected))


def test_statistics_stay_in_32_bits_where_everything_else_is_halved():
    network = halved(build_network({"_model_class": "ClassicUNet", "classes": 2, "filters": [8, 16], "norm": True}))
    types = {type(layer).__name__: layer.weight.dtype for layer in network.modules() if hasattr(layer, "weight")}
    assert types["BatchNorm2d"] == torch.float32
    assert types["Conv2d"] == types["ConvTranspose2d"] == torch.float16


@on_cuda
@pytest.mark.parametrize("task", TASKS)
def test_cuda_agrees_with_the_exact_network(task):
    exact, _ = load_engine(WEIGHTS / task, "cpu", "torch")
    fast, _ = load_engine(WEIGHTS / task, "cuda")
    assert isinstance(fast, CudaEngine)
    windows = [noise(64, 96), noise(64, 96, seed=1), noise(96, 64)]
    for (values, description), (other, of_other) in zip(exact.run(windows), fast.run(windows), strict=True):
        assert np.abs(values - other).max() < 0.03
        assert np.abs(values - other).mean() < 0.002
        assert np.abs(description - of_other).max() < 0.02 * np.abs(description).max()
    for description, of_other in zip(exact.describe(windows), fast.describe(windows), strict=True):
        assert np.abs(description - of_other).max() < 0.02 * np.abs(description).max()


@on_cuda
def test_a_captured_network_computes_as_a_started_one():
    engine, _ = load_engine(WEIGHTS / "cars", "cuda")
    few = [noise(64, 64, seed=seed) for seed in range(CAPTURED)]
    many = few * 3
    first, again = engine.run(few), engine.run(few)
    for (values, _), (other, _), (started, _) in zip(first, again, engine.run(many), strict=False):
        assert np.array_equal(values, other)
        assert np.abs(values - started).max() < 0.02


@on_cuda
def test_threads_get_their_own_results():
    engine, _ = load_engine(WEIGHTS / "cars", "cuda")
    windows = [noise(64, 32 * (1 + seed % 3), seed=seed) for seed in range(12)]
    expected = [engine.run([window])[0][0] for window in windows]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda number: engine.run([windows[number % 12]])[0][0], range(240)))
    for number, values in enumerate(found):
        assert np.array_equal(values, expected[number % 12])


@on_cuda
def test_graphs_are_kept_for_a_few_shapes_only():
    engine, _ = load_engine(WEIGHTS / "cars", "cuda")
    for width in range(1, 25):
        engine.run([noise(32, 32 * width)])
    assert len(engine._graphs) == 16
