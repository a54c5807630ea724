"""Read a whole dataset before hours are spent on it: `python -m train.TASK --check`."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from segmenter.threads import usable_cpus
from train.data import DataError, Example, different
from train.recipe import Recipe

MOST_NAMED = 20

Listing = Callable[[Path, str, Recipe], list[Example]]


def check(examples: Listing, splits: tuple[str, ...], recipe: Recipe, root: Path) -> None:
    """Read every picture and mask of ``splits`` once and say how many there are.

    DataError names the files that are missing, damaged or of unlike size, and trimaps of other values than theirs: the
    first 20 of them, and how many there are.
    """
    faults: list[str] = []
    for split in splits:
        found = different(examples(root, split, recipe))
        with ThreadPoolExecutor(usable_cpus()) as pool:
            work = pool.map(fault_of, found)
            split_faults = [fault for fault in tqdm(work, split, len(found), unit=" pictures") if fault]
        print(f"{split}: {len(found)} pictures, {len(split_faults)} at fault", flush=True)
        faults += split_faults
    if faults:
        more = f"\nand {len(faults) - MOST_NAMED} more" if len(faults) > MOST_NAMED else ""
        raise DataError("\n".join(dict.fromkeys(faults[:MOST_NAMED])) + more)


def fault_of(example: Example) -> str | None:
    """What is wrong with an example, naming its file; None where nothing is."""
    try:
        example.read()
    except DataError as error:
        return str(error)
    return None
