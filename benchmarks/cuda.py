"""On CUDA, or the CPU where there is none: pictures a second at 256x256 by batch, and what training waits for.

What an H100 gave stands in [cuda.md](cuda.md).
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import parser, table
from benchmarks.pictures import generated
from segmenter.engine import choose_device, cuda_available, load_engine
from segmenter.engine_cuda import CudaEngine
from segmenter.folded import Convolution
from segmenter.inference import Decoder, Encoder
from segmenter.networks import build_network, load_network
from segmenter.predict import WEIGHTS
from segmenter.tasks import TASKS
from segmenter.threads import usable_cpus

BATCHES = (1, 8, 64, 256)
SIDE = 256


def device_name() -> str:
    return torch.cuda.get_device_name() if cuda_available() else "no GPU here: the CPU"


def synchronised(work: Callable[[], Any], rounds: int) -> float:
    """Seconds for one of so many rounds of work, after three to warm up."""
    for number in range(3 + rounds):
        if number == 3:
            if cuda_available():
                torch.cuda.synchronize()
            before = time.perf_counter()
        work()
    if cuda_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - before) / rounds


def limits() -> tuple[float, float]:
    """What the GPU reaches in half precision: operations a second of a product, bytes a second of a copy."""
    matrix = torch.randn(8192, 8192, device="cuda", dtype=torch.float16)
    long = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    copy = torch.empty_like(long)
    operations = 2 * len(matrix) ** 3 / synchronised(lambda: matrix @ matrix, 10)
    return operations, 2 * len(long) / synchronised(lambda: copy.copy_(long), 10)


def least_work(folder: Path) -> tuple[float, float]:
    """Operations of a network as the engines run it for one window, and the fewest bytes that its convolutions move:
    what each reads and writes, once, in half precision."""
    network, config = load_network(folder)
    encoder, decoder = Encoder(network, config).eval(), Decoder(network, config).eval()
    moved = 0

    def count(module: nn.Module, given: tuple[torch.Tensor, ...], found: torch.Tensor) -> None:
        nonlocal moved
        moved += 2 * (given[0].numel() + found.numel())

    for module in (*encoder.modules(), *decoder.modules()):
        if isinstance(module, (nn.Conv2d, Convolution)):
            module.register_forward_hook(count)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        decoder(*encoder(torch.zeros(1, SIDE, SIDE, 3, dtype=torch.uint8))[encoder.describes :])
    return float(counter.get_total_flops()), float(moved)


def prediction(quick: bool) -> str:
    device = choose_device("auto")
    engine, _ = load_engine(WEIGHTS / "cars", device)
    text, least = f"{device_name()}, engine {engine.name}", 0.0
    if device == "cuda":
        operations, bandwidth = limits()
        flops, traffic = least_work(WEIGHTS / "cars")
        least = max(flops / operations, traffic / bandwidth)
        text += f", measured limits {operations / 1e12:.1f} TFLOP/s and {bandwidth / 1e9:.0f} GB/s; a picture takes at "
        text += f"least {flops / 1e9:.1f} GFLOP and {traffic / 1e6:.0f} MB, {1e6 * least:.0f} us"
    rows = []
    for batch in BATCHES[: 2 if quick else None]:
        engine.batch = batch
        windows = [generated(SIDE, SIDE, number) for number in range(batch)]
        seconds = synchronised(lambda w=windows: engine.run(w), max(2, (512 if device == "cuda" else 64) // batch))  # type: ignore[misc]
        row = [str(batch), f"{batch / seconds:.0f}", f"{1000 * seconds:.2f}"]
        if isinstance(engine, CudaEngine):
            given = torch.stack([torch.from_numpy(window) for window in windows]).to(device)
            with torch.inference_mode():
                alone = synchronised(lambda g=given: engine._both(g), max(5, 256 // batch))  # type: ignore[misc]
            row += [f"{batch / alone:.0f}", f"{100 * least * batch / alone:.0f}%"]
        rows.append(row)
    head = ["batch", "pictures a second, from and to the host", "ms for a batch", "on the device alone", "of its limit"]
    return f"{text}:\n\n" + table(head[: len(rows[0])], rows)


def training(data: str, quick: bool) -> str:
    """Pictures a second that the loader gives without a network, and that the network takes without a loader."""
    rows = []
    for task in TASKS:
        brought = importlib.import_module(f"train.{task}").TRAINING
        recipe = brought.recipes["default"]
        steps = 4 if quick or not cuda_available() else 20
        pictures, loads = loading(brought, recipe, data, steps)
        learns = learning(brought, recipe, steps)
        slower = min(loads, learns)
        limit = "the loader" if loads < learns else "the network"
        row = [task, f"{recipe.batch} of {recipe.crop}x{recipe.crop}", f"{loads:.0f}", f"{learns:.0f}", limit]
        rows.append([*row, f"{recipe.repeat * pictures / slower:.0f}"])
    head = ["recipe", "batch", f"loaded by {usable_cpus()} workers, a second", "learnt a second", "waits for"]
    return f"Training, {device_name()}:\n\n" + table([*head, "s for an epoch"], rows)


def loading(brought: Any, recipe: Any, data: str, steps: int) -> tuple[int, float]:
    """How many pictures a task has to learn from, and how many the loader gives a second."""
    from train.augment import training_transform
    from train.data import EpochShuffle, Examples, collate, data_root

    examples = brought.examples(data_root(data), "train", recipe)
    transform = training_transform(recipe, brought.task.input_policy, brought.to_network_target)
    pictures = Examples(examples, transform, 100, recipe.seed)
    order = EpochShuffle(len(pictures), 0)
    batches = iter(DataLoader(pictures, recipe.batch, sampler=order, num_workers=usable_cpus(), collate_fn=collate))
    for _ in range(2 * usable_cpus()):  # what the workers load ahead
        next(batches)
    steps = max(steps, 2 * usable_cpus())
    before = time.perf_counter()
    for _ in range(steps):
        next(batches)
    return len(examples), steps * recipe.batch / (time.perf_counter() - before)


def learning(brought: Any, recipe: Any, steps: int) -> float:
    """How many pictures a second a training step takes, of one batch again and again."""
    from train.fit import running_mean
    from train.module import SegmentationModule

    device = choose_device("auto")
    config = brought.config(recipe)
    teacher = (build_network(config.network).to(device).eval(), config) if recipe.teacher else None
    module = SegmentationModule(build_network(config.network), recipe, config, teacher=teacher).to(device).train()
    mean = AveragedModel(module, multi_avg_fn=partial(running_mean, recipe.ema), use_buffers=True)
    module.log = lambda *given, **named: None  # type: ignore[method-assign,assignment]
    optimiser = torch.optim.AdamW(module.network.parameters())
    shape = (recipe.batch, recipe.crop, recipe.crop)
    batch = {
        "image": torch.randint(256, (*shape, 3), dtype=torch.uint8, device=device),
        "target": torch.randint(2, shape, device=device),
    }

    def step() -> None:
        with torch.autocast(device, torch.bfloat16):
            loss = module.training_step(batch, 0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        mean.update_parameters(module)

    return recipe.batch / synchronised(step, steps)


def main(arguments: list[str] | None = None) -> str:
    options = parser(__doc__).parse_args(arguments)
    text = prediction(options.quick)
    return text if options.data is None else f"{text}\n\n{training(options.data, options.quick)}"


if __name__ == "__main__":
    print(main())
