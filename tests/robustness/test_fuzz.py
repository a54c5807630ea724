"""Mutated pictures and weights raise nothing but the project's own errors."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from segmenter import ImageError, WeightsError
from segmenter.config import CHECKSUM_FILE, CONFIG_FILE, WEIGHTS_FILE, Config, load_config
from segmenter.geo import GeoError, Georeference, read_georeference
from segmenter.image import read_image
from segmenter.networks import build_network, load_network, save_network

from .corpus import KINDS, assert_sentence, content
from .mutate import mutants

pytestmark = pytest.mark.robustness

Reading = TypeVar("Reading")
FEW, MANY = 300, 10_000
amounts = pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])


def readings(files: Iterable[bytes], read: Callable[[bytes], Reading], refusal: type[Exception]) -> Iterator[Reading]:
    """What comes of the files that can be read; the others are refused in one sentence, and nothing else happens."""
    for number, data in enumerate(files):
        try:
            found = read(data)
        except refusal as error:
            assert_sentence(str(error))
        except Exception as error:
            pytest.fail(f"mutant {number} raised {type(error).__name__}: {error}")
        else:
            yield found


@amounts
def test_pictures(count: int) -> None:
    """Of every kind whose file is small, good and bad."""
    files = [data for kind in KINDS if not kind.heavy and 0 < len(data := content(kind)) < 20_000]
    read = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the decoders, about what they find
        for image in readings(mutants(files, count), read_image, ImageError):
            assert image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8
            read += 1
    assert 0.05 * count < read < 0.95 * count  # the mutants are neither all good nor all bad


@amounts
def test_geotiffs(tmp_path: Path, count: int) -> None:
    rasterio = pytest.importorskip("rasterio")
    path = tmp_path / "lake.tif"
    files = []
    for crs, origin in (("EPSG:32633", (500_000, 4_600_000)), ("EPSG:4326", (12, 42)), ("EPSG:3857", (1e6, 5e6))):
        place = rasterio.transform.from_origin(*origin, 10, 10)
        with rasterio.open(path, "w", "GTiff", 4, 3, 1, crs, place, "uint8") as dataset:
            dataset.write(np.zeros((1, 3, 4), np.uint8))
        files.append(path.read_bytes())

    def read(data: bytes) -> Georeference | None:
        path.write_bytes(data)
        return read_georeference(path)

    found = 0
    for place in readings(mutants(files, count // 5), read, GeoError):
        assert place is None or place.metres is None or 0 < place.metres < np.inf
        found += place is not None
    assert found > count // 50


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a tiny network, without their checksum, which would catch every mutant."""
    folder = tmp_path_factory.mktemp("weights")
    network = {"_model_class": "ClassicUNet", "classes": 2, "filters": [4, 8]}
    config = Config("cars", network, ("background", "car"), (0, 1), "fit", 32)
    save_network(build_network(network), replace(config), folder)
    (folder / CHECKSUM_FILE).unlink()
    load_network(folder)
    return folder


def refused(weights: Path, name: str, count: int) -> Iterator[Exception]:
    """The errors of loading with mutants of one of the files in the place of it."""
    good = (weights / name).read_bytes()
    try:
        for data in mutants([good], count):
            (weights / name).write_bytes(data)
            try:
                load_config(weights) if name == CONFIG_FILE else load_network(weights)
            except Exception as error:
                yield error
    finally:
        (weights / name).write_bytes(good)


@pytest.mark.parametrize("name", [WEIGHTS_FILE, CONFIG_FILE])
@amounts
def test_weights(weights: Path, name: str, count: int) -> None:
    errors = list(refused(weights, name, count // 5))
    assert len(errors) > count // 20
    for error in errors:
        assert type(error) is WeightsError, f"{type(error).__name__}: {error}"
        assert "\n" not in str(error) and str(error).endswith(".")
