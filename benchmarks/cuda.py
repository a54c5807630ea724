"""On CUDA, or the CPU where there is none: pictures a second at 256x256 by batch, and what loading gives."""

from __future__ import annotations

import importlib
import time

import torch
from torch.utils.data import DataLoader

from benchmarks.measure import parser, table
from benchmarks.pictures import generated
from segmenter.engine import cuda_available, load_engine
from segmenter.predict import WEIGHTS
from segmenter.tasks import TASKS
from segmenter.threads import usable_cpus

BATCHES = (1, 8, 64, 256)


def network(quick: bool) -> str:
    device = "cuda" if cuda_available() else "cpu"
    engine, _ = load_engine(WEIGHTS / "cars", device)
    rows = []
    for batch in BATCHES[: 2 if quick else None]:
        engine.batch = batch
        windows = [generated(256, 256, number) for number in range(batch)]
        engine.run(windows)
        rounds = max(2, (512 if device == "cuda" else 64) // batch)
        before = time.perf_counter()
        for _ in range(rounds):
            engine.run(windows)
        rows.append([str(batch), f"{rounds * batch / (time.perf_counter() - before):.0f}"])
    name = torch.cuda.get_device_name() if device == "cuda" else "no GPU here: the CPU"
    return f"{name}, engine {engine.name}:\n\n" + table(["batch", "pictures a second"], rows)


def loading(data: str, quick: bool) -> str:
    """Pictures a second that the loader gives, without a network: what a faster GPU would wait for."""
    from train.augment import training_transform
    from train.data import EpochShuffle, Examples, collate, data_root

    rows = []
    for task in TASKS:
        training = importlib.import_module(f"train.{task}").TRAINING
        recipe = training.recipes["default"]
        examples = training.examples(data_root(data), "train", recipe)
        transform = training_transform(recipe, training.task.input_policy, training.to_network_target)
        pictures = Examples(examples, transform, 1, recipe.seed)
        loader = DataLoader(
            pictures,
            recipe.batch,
            sampler=EpochShuffle(len(pictures), 0),
            num_workers=usable_cpus(),
            collate_fn=collate,
        )
        steps = 4 if quick else 30
        batches = iter(loader)
        next(batches)
        before = time.perf_counter()
        for _ in range(steps):
            next(batches)
        rate = steps * recipe.batch / (time.perf_counter() - before)
        rows.append([task, str(usable_cpus()), f"{rate:.0f}", f"{len(examples) / rate:.0f}"])
    return table(["recipe", "workers", "pictures a second", "s for an epoch of loading alone"], rows)


def main(arguments: list[str] | None = None) -> str:
    options = parser(__doc__).parse_args(arguments)
    text = network(options.quick)
    return text if options.data is None else f"{text}\n\n{loading(options.data, options.quick)}"


if __name__ == "__main__":
    print(main())
