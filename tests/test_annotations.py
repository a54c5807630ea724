import contextlib
import io
import json
import math

import numpy as np
import pytest
from generated_results import SHAPES, result_of, results, shaped_result
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO
from rasterio.features import rasterize
from rasterio.transform import Affine
from shapely.geometry import shape
from shapely.validation import explain_validity

from segmenter.annotations import to_coco, to_geojson
from segmenter.measure import regions
from segmenter.tasks import TASKS

NORTH_UP = (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_600_000.0)
NORTH_DOWN = (10.0, 0.0, 500_000.0, 0.0, 10.0, 5_600_000.0)
TURNED = (0.3, -0.4, -7.25, 0.4, 0.3, 51.5)


def read_coco(document):
    """The dataset as pycocotools reads it from a file."""
    dataset = COCO()
    dataset.dataset = json.loads(json.dumps(document))
    with contextlib.redirect_stdout(io.StringIO()):
        dataset.createIndex()
    return dataset


def check_coco(result, polygons):
    """pycocotools gives the class ids again, with every pixel in one annotation only."""
    dataset = read_coco(to_coco(result, "photo.jpg", polygons))
    (image,) = dataset.loadImgs(dataset.getImgIds())
    assert (image["height"], image["width"]) == result.class_ids.shape and image["file_name"] == "photo.jpg"
    covered = np.zeros(result.class_ids.shape, int)
    for class_id, name in enumerate(result.task.class_names[1:], start=1):
        (category,) = dataset.getCatIds(catNms=[name])
        assert category == class_id
        mask = np.zeros(result.class_ids.shape, int)
        for annotation in dataset.loadAnns(dataset.getAnnIds(catIds=[category])):
            part = dataset.annToMask(annotation)
            assert annotation["area"] == part.sum()
            rows, columns = np.nonzero(part)
            left, top, width, height = annotation["bbox"]
            assert (left, top) == (columns.min(), rows.min())
            assert (width, height) == (np.ptp(columns) + 1, np.ptp(rows) + 1)
            assert annotation["score"] == pytest.approx(result.confidence[part > 0].mean())
            mask += part
        assert (mask == (result.class_ids == class_id)).all()
        covered += mask
    assert covered.max(initial=0) <= 1


@pytest.mark.parametrize("polygons", [False, True])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", SHAPES)
def test_coco_of_hard_shapes(name, task, polygons):
    check_coco(shaped_result(name, task), polygons)


@given(results(side=16), st.booleans())
def test_coco_of_anything(result, polygons):
    """Polygons too: along the edges of pixels the rasteriser of pycocotools loses none."""
    check_coco(result, polygons)


def test_coco_by_hand():
    result = result_of([[0, 1, 1], [0, 0, 2]])
    document = to_coco(result, "cat.jpg", polygons=True)
    assert document["categories"] == [
        {"id": 1, "name": "pet", "supercategory": "pets"},
        {"id": 2, "name": "border", "supercategory": "pets"},
    ]
    assert [entry["segmentation"] for entry in document["annotations"]] == [
        [[1, 0, 3, 0, 3, 1, 1, 1]],
        [[2, 1, 3, 1, 3, 2, 2, 2]],
    ]
    assert [entry["id"] for entry in document["annotations"]] == [1, 2]
    assert [entry["bbox"] for entry in document["annotations"]] == [[1, 0, 2, 1], [2, 1, 1, 1]]
    assert {entry["iscrowd"] for entry in document["annotations"]} == {0}


def test_coco_counts_are_text():
    (entry,) = to_coco(result_of([[0, 1], [0, 1]]), polygons=False)["annotations"]
    assert entry["segmentation"] == {"size": [2, 2], "counts": "22"}


def test_polygons_have_no_holes():
    document = to_coco(shaped_result("hole", "water"), polygons=True)
    assert [type(entry["segmentation"]) for entry in document["annotations"]] == [dict, list]


@pytest.mark.parametrize("polygons", [False, True])
def test_annotations_are_the_objects(polygons):
    """What is too small to count is a crowd, in RLE as COCO has crowds, and comes after the objects."""
    result = result_of([[1, 1, 0, 1], [0, 0, 0, 0], [1, 1, 0, 1]], "nuclei", min_object=2)
    found = to_coco(result, polygons=polygons)["annotations"]
    assert [(entry["id"], entry["area"], entry["iscrowd"]) for entry in found] == [
        (1, 2, 0),
        (2, 2, 0),
        (3, 1, 1),
        (4, 1, 1),
    ]
    assert [type(entry["segmentation"]) for entry in found] == [list if polygons else dict] * 2 + [dict] * 2


def check_geojson(result, transform=None):
    """rasterio gives every region again from polygons that shapely finds valid and as large as their pixels."""
    document = json.loads(json.dumps(to_geojson(result, transform)))
    assert document["type"] == "FeatureCollection"
    labels, found = regions(result)
    assert len(document["features"]) == len(found)
    affine = Affine(*(transform or (1, 0, 0, 0, 1, 0)))
    pixel = abs(affine.a * affine.e - affine.b * affine.d)
    for i, (feature, region) in enumerate(zip(document["features"], found, strict=True), start=1):
        assert feature["type"] == "Feature" and feature["geometry"]["type"] == "Polygon"
        assert feature["properties"] == {
            "class": result.task.class_names[region.class_id],
            "id": region.id,
            "pixels": region.pixels,
            "confidence": region.confidence,
        }
        assert all(ring[0] == ring[-1] for ring in feature["geometry"]["coordinates"])
        polygon = shape(feature["geometry"])
        assert polygon.is_valid, explain_validity(polygon)
        assert polygon.area == pytest.approx(region.pixels * pixel, rel=1e-6)
        assert polygon.exterior.is_ccw and not any(hole.is_ccw for hole in polygon.interiors)
        again = rasterize([feature["geometry"]], labels.shape, transform=affine)
        assert (again == (labels == i)).all()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", SHAPES)
def test_geojson_of_hard_shapes(name, task):
    check_geojson(shaped_result(name, task))


@given(results(side=12), st.sampled_from([None, NORTH_UP, NORTH_DOWN, TURNED]))
def test_geojson_of_anything(result, transform):
    check_geojson(result, transform)


def test_geojson_in_pixels_by_hand():
    document = to_geojson(result_of([[0, 0], [0, 1]], "water"))
    assert document["features"][0]["geometry"]["coordinates"] == [[[1, 1], [2, 1], [2, 2], [1, 2], [1, 1]]]
    assert "crs" not in document


def test_geojson_on_the_map_by_hand():
    """North is up: the ring goes round the other way than on the screen."""
    document = to_geojson(result_of([[0, 1]], "water"), NORTH_UP, "EPSG:32633")
    assert document["features"][0]["geometry"]["coordinates"] == [
        [
            [500_010, 5_600_000],
            [500_010, 5_599_990],
            [500_020, 5_599_990],
            [500_020, 5_600_000],
            [500_010, 5_600_000],
        ]
    ]
    assert document["crs"] == {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}


def test_geojson_takes_an_affine():
    result = result_of([[0, 1]], "water")
    assert to_geojson(result, Affine(*NORTH_UP)) == to_geojson(result, NORTH_UP)


@pytest.mark.parametrize(
    ("crs", "name"),
    [
        ("epsg:3857", "urn:ogc:def:crs:EPSG::3857"),
        ("EPSG:4326", "urn:ogc:def:crs:OGC:1.3:CRS84"),
        ('LOCAL_CS["field"]', 'LOCAL_CS["field"]'),
    ],
)
def test_names_of_crs(crs, name):
    assert to_geojson(result_of([[1]]), NORTH_UP, crs)["crs"]["properties"]["name"] == name


@pytest.mark.parametrize(
    "transform",
    [(1, 0, 0, 0, 1), (0, 0, 5, 0, 0, 5), (1, 2, 0, 2, 4, 0), (1, 0, math.nan, 0, 1, 0), (math.inf, 0, 0, 0, 1, 0)],
)
def test_a_transform_is_an_affine_map(refusal, transform):
    with refusal(ValueError, "six finite numbers", str(transform)):
        to_geojson(result_of([[1]]), transform)


def test_a_crs_needs_a_transform(refusal):
    with refusal(ValueError, "EPSG:32633", "without a transform"):
        to_geojson(result_of([[1]]), crs="EPSG:32633")
