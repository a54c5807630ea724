"""Read a whole dataset before hours are spent on it: `python -m train.TASK --check`."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from segmenter.metrics import IGNORE
from segmenter.threads import usable_cpus
from train.data import DataError, Example, different
from train.recipe import Recipe

MOST_NAMED = 20

Listing = Callable[[Path, str, Recipe], list[Example]]


def check(
    examples: Listing,
    splits: tuple[str, ...],
    recipe: Recipe,
    root: Path,
    class_ids: Callable[[np.ndarray], np.ndarray],
) -> None:
    """Read every picture and mask of ``splits`` once and say how many there are.

    ``class_ids`` turns what an example reads into class ids or 255. DataError names the files that are missing,
    damaged, of unlike size, that hold a value which their task has not, or say nothing of any pixel: the first 20 of
    them, and how many there are.
    """
    faults: list[str] = []
    for split in splits:
        found = different(examples(root, split, recipe))
        with ThreadPoolExecutor(usable_cpus()) as pool:
            work = pool.map(partial(fault_of, class_ids=class_ids), found)
            split_faults = [fault for fault in tqdm(work, split, len(found), unit=" pictures") if fault]
        print(f"{split}: {len(found)} pictures, {len(split_faults)} at fault", flush=True)
        faults += split_faults
    if faults:
        more = f"\nand {len(faults) - MOST_NAMED} more" if len(faults) > MOST_NAMED else ""
        raise DataError("\n".join(dict.fromkeys(faults[:MOST_NAMED])) + more)


def fault_of(example: Example, class_ids: Callable[[np.ndarray], np.ndarray]) -> str | None:
    """What is wrong with an example, naming its file; None where nothing is."""
    try:
        _, target = example.read()
    except DataError as error:
        return str(error)
    if (class_ids(target) == IGNORE).all():
        return f"the mask of {example.image} says of no pixel what it is; replace it."
    return None
