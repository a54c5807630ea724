"""The endpoints of the running page, called by the real client over the network, with the real models."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from page_fakes import BAD_FILES
from page_server import sample
from PIL import Image

from page.examples import lakes_truth
from segmenter import TASKS

pytest_plugins = ["page_server"]


@pytest.fixture(scope="module")
def client(server: str, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return Client(server, verbose=False, download_files=str(tmp_path_factory.mktemp("answers")))


@pytest.mark.parametrize("task", TASKS)
def test_segment_answers(client: Client, task: str) -> None:
    overlay, mask_path, rows, facts, files = client.predict(task, handle_file(sample(task)), api_name="/segment")
    size_wh = Image.open(sample(task)).size
    mask = Image.open(mask_path)
    class_ids = np.asarray(mask)
    assert mask.mode == "P" and mask.size == size_wh and class_ids.max() < len(TASKS[task].classes)
    assert mask.getpalette()[3:6] == list(TASKS[task].classes[1].color)
    assert Image.open(overlay).size == size_wh
    assert [row["class"] for row in rows] == list(TASKS[task].class_names)
    assert [row["pixels"] for row in rows] == np.bincount(class_ids.ravel(), minlength=len(rows)).tolist()
    assert sum(row["percent"] for row in rows) == pytest.approx(100, abs=0.01)
    assert set(facts) == {"sentence", "objects", "notice", "area"} and not files
    assert (facts["objects"] is not None) == TASKS[task].has_objects


def test_segment_gives_the_formats_asked_for(client: Client) -> None:
    *_, facts, files = client.predict(
        "nuclei", handle_file(sample("nuclei")), ["coco", "geojson"], 0.25, api_name="/segment"
    )
    coco, geojson = (json.loads(Path(file).read_text()) for file in files)
    counted = [entry for entry in coco["annotations"] if not entry["iscrowd"]]
    assert len(counted) == facts["objects"] > 10 and len(geojson["features"]) >= facts["objects"]
    assert facts["area"].endswith("µm²")


def test_segment_batch_answers(client: Client, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("Dear diary")
    files = [handle_file(sample("pets")), handle_file(tmp_path / "bad.png")]
    path, rows = client.predict("pets", files, api_name="/segment_batch")
    assert [row["problem"] is None for row in rows] == [True, False]
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == ["cat-pets-mask.png", "cat-pets-overlay.png", "stats.csv"]


def test_score_answers(client: Client, tmp_path: Path) -> None:
    drawn, truth = lakes_truth(tmp_path)
    report, errors = client.predict("water", handle_file(drawn), handle_file(truth), api_name="/score")
    assert np.sum(report["confusion"]) == 512 * 512 and report["iou"]["water"] > 0.5
    assert Image.open(errors).size == (512, 512)


def test_suggest_answers(client: Client) -> None:
    found = client.predict(handle_file(sample("pets")), api_name="/suggest")
    assert set(found) == {"task", "reason", "familiarity"} and found["task"] == "pets"


@pytest.mark.parametrize(("name", "content", "message"), BAD_FILES)
def test_segment_names_a_bad_file(
    client: Client, tmp_path: Path, name: str, content: Callable[[Path], bytes], message: str
) -> None:
    (tmp_path / name).write_bytes(content(tmp_path))
    with pytest.raises(AppError, match=re.escape(message)):
        client.predict("pets", handle_file(tmp_path / name), api_name="/segment")


def test_the_endpoints_are_documented_and_no_other_is_public(client: Client) -> None:
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    assert sorted(endpoints) == ["/score", "/segment", "/segment_batch", "/suggest"]
    for name, endpoint in endpoints.items():
        assert endpoint["parameters"] and endpoint["returns"], name
        assert all(parameter["parameter_name"] for parameter in endpoint["parameters"]), name
    names = [parameter["parameter_name"] for parameter in endpoints["/segment"]["parameters"]]
    assert names == ["task", "picture", "formats", "pixel_size"]
