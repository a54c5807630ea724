"""Mutants of good files: a few bytes turned, cut out, doubled or taken from another file, the same for a seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

TELLING = (0, 1, 0x7F, 0x80, 0xFF)  # bytes at which counts and signs change


def mutants(files: Sequence[bytes], count: int, seed: int = 0) -> Iterator[bytes]:
    """``count`` mutants of ``files``."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        data = bytearray(files[random.integers(len(files))])
        for _ in range(random.integers(1, 9)):
            _mutate(data, files[random.integers(len(files))], random)
        yield bytes(data)


def _mutate(data: bytearray, other: bytes, random: np.random.Generator) -> None:
    # Half of the changes are in the first bytes, where the headers are.
    end = len(data) if random.random() < 0.5 else min(len(data), 256)
    at = int(random.integers(end + 1))
    length = int(2 ** random.uniform(0, 6))
    match random.integers(7):
        case 0:
            data[at : at + length] = b""
        case 1:
            data[at:at] = data[at : at + length]
        case 2:
            data[at : at + length] = random.bytes(length)
        case 3:
            start = int(random.integers(max(1, len(other))))
            data[at : at + length] = other[start : start + length]
        case 4:
            data[at : at + 1] = bytes([TELLING[random.integers(len(TELLING))]])
        case 5:
            data[at : at + 4] = int(random.integers(2**32)).to_bytes(4, "big" if random.random() < 0.5 else "little")
        case 6:
            del data[len(data) - length :]
