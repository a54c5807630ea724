import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segmenter.tiling import blend_window, padded_window, run_tiles, tile_rows, tile_starts


class Identity:
    """Gives the windows back as values, and remembers the shapes of each row."""

    def __init__(self):
        self.shapes = []

    def __call__(self, windows):
        assert all(window.dtype == np.uint8 for window in windows)
        self.shapes.append([window.shape for window in windows])
        return [window.transpose(2, 0, 1).astype(np.float32) for window in windows]


def put_together(strips):
    """The strips below one another; each must start where the last one ended."""
    rows = []
    for top, values in strips:
        assert top == sum(strip.shape[1] for strip in rows)
        assert values.shape[1] > 0
        rows.append(values)
    return np.concatenate(rows, axis=1)


# ---------------------------------------------------------------- starts


@pytest.mark.parametrize(
    ("length", "tile", "overlap", "starts"),
    [
        (1, 64, 16, [0]),
        (64, 64, 16, [0]),
        (65, 64, 16, [0, 1]),
        (112, 64, 16, [0, 48]),
        (113, 64, 16, [0, 24, 49]),  # 24.5, to even
        (128, 64, 0, [0, 64]),
        (129, 64, 0, [0, 32, 65]),  # 32.5, to even
        (10, 4, 2, [0, 2, 4, 6]),
        (5, 4, 3, [0, 1]),
    ],
)
def test_tile_starts(length, tile, overlap, starts):
    assert tile_starts(length, tile, overlap) == starts


@given(length=st.integers(1, 3000), tile=st.integers(1, 300), share=st.floats(0, 0.999))
@settings(max_examples=300)
def test_starts_cover_the_side_and_overlap(length, tile, share):
    overlap = int(tile * share)
    starts = tile_starts(length, tile, overlap)
    assert starts[0] == 0
    assert starts[-1] == max(0, length - tile)
    steps = np.diff(starts)
    assert (steps > 0).all()
    assert (steps <= tile - overlap).all()
    # No fewer tiles would do: n tiles reach tile + (n - 1) * stride.
    assert len(starts) == 1 or tile + (len(starts) - 2) * (tile - overlap) < length


@pytest.mark.parametrize(("tile", "overlap"), [(64, 64), (64, 65), (64, -1), (0, 0)])
def test_an_impossible_overlap(refusal, tile, overlap):
    with refusal(ValueError, f"overlap is {overlap} and tile {tile}", "from 0 to below the tile"):
        tile_starts(100, tile, overlap)


# ---------------------------------------------------------------- windows


def test_blend_window_by_hand():
    expected = np.outer([1 / 2, 1, 1, 1 / 2], [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3])
    assert blend_window(4, 5) == pytest.approx(expected)
    assert blend_window(1, 1).tolist() == [[1]]
    assert blend_window(2, 1).tolist() == [[1], [1]]


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 2), (3, 8), (64, 64), (65, 31), (512, 512)])
def test_blend_window_is_positive_and_symmetric(shape):
    window = blend_window(*shape)
    assert window.shape == shape and window.dtype == np.float32
    assert window.min() > 0 and window.max() == 1
    assert (window == window[::-1]).all() and (window == window[:, ::-1]).all()
    assert (np.diff(window[: (shape[0] + 1) // 2], axis=0) >= 0).all()


def test_padding_mirrors_right_and_below():
    image = np.zeros((2, 3, 3), np.uint8)
    image[..., 0] = [[1, 2, 3], [4, 5, 6]]
    window = padded_window(image, 64)
    assert window.shape == (32, 32, 3)
    assert window[0, :8, 0].tolist() == [1, 2, 3, 3, 2, 1, 1, 2]
    assert window[:6, 0, 0].tolist() == [1, 4, 4, 1, 1, 4]


@pytest.mark.parametrize(
    ("size", "padded"),
    [((1, 1), (32, 32)), ((32, 33), (32, 64)), ((64, 64), (64, 64)), ((63, 1), (64, 32))],
)
def test_padding_to_multiples_of_32(noise, size, padded):
    image = noise(*size)
    window = padded_window(image, 64)
    assert window.shape == (*padded, 3)
    assert (window[: size[0], : size[1]] == image).all()


# ---------------------------------------------------------------- the identity network

SIZES = [
    (1, 1),
    (1, 64),
    (1, 200),
    (200, 1),
    (31, 33),
    (63, 64),
    (64, 64),
    (64, 65),
    (65, 64),
    (65, 65),
    (97, 101),
    (128, 128),
    (113, 127),
    (211, 50),
    (50, 211),
    (307, 193),
]


@pytest.mark.parametrize("overlap", [0, 16, 63])
@pytest.mark.parametrize("size", SIZES)
def test_identity_gives_the_image_back(noise, size, overlap):
    image = noise(*size) if overlap < 63 else noise(min(size[0], 80), min(size[1], 80))
    run = Identity()
    values = put_together(run_tiles(run, image, 64, overlap))
    assert values.dtype == np.float32
    assert values.shape == (3, *image.shape[:2])
    assert np.abs(values - image.transpose(2, 0, 1)).max() < 1e-3
    for height, width, bands in (shape for row in run.shapes for shape in row):
        assert bands == 3
        assert height % 32 == 0 and width % 32 == 0 and height <= 64 and width <= 64


@given(
    height=st.integers(1, 120),
    width=st.integers(1, 120),
    tile=st.sampled_from([32, 64]),
    overlap=st.integers(0, 30),
)
@settings(max_examples=60)
def test_identity_at_any_size(height, width, tile, overlap):
    image = np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), np.uint8)
    values = put_together(run_tiles(Identity(), image, tile, overlap))
    assert np.abs(values - image.transpose(2, 0, 1)).max() < 1e-3


def test_a_constant_network_stays_constant(noise):
    """Weights that are not divided out would show as seams."""
    strips = run_tiles(lambda windows: np.full((len(windows), 1, 64, 64), 0.25, np.float32), noise(150, 170), 64, 20)
    assert put_together(strips) == pytest.approx(0.25, abs=1e-6)


def test_two_tiles_are_blended_by_their_weights():
    """Tiles of 32 at columns 0 and 16 answer 0 and 1; column 24 has weights 8 and 9, column 16 16 and 1."""

    def run(windows):
        return [np.full((1, 32, 32), answer, np.float32) for answer, _ in enumerate(windows)]

    values = put_together(run_tiles(run, np.zeros((32, 48, 3), np.uint8), 32, 16))
    assert (values[0, :, :16] == 0).all() and (values[0, :, 32:] == 1).all()
    assert values[0, :, 16] == pytest.approx(1 / 17)
    assert values[0, :, 24] == pytest.approx(9 / 17)
    assert values[0, :, 31] == pytest.approx(16 / 17)


def test_a_row_of_tiles_runs_at_once(noise):
    """64 rows, 304 columns, stride 48: six tiles."""
    run = Identity()
    list(run_tiles(run, noise(64, 304), 64, 16))
    assert run.shapes == [[(64, 64, 3)] * 6]


def test_a_wide_row_runs_in_parts(noise):
    """32 columns a step: 100 tiles, of which 64 and 36 are made at once, and put together as ever."""
    run, image = Identity(), noise(40, 32 * 101)
    (strip,) = run_tiles(run, image, 64, 32)
    assert [len(shapes) for shapes in run.shapes] == [64, 36]
    assert strip[1].transpose(1, 2, 0) == pytest.approx(image, abs=1e-3)
    assert [len(windows) for windows in tile_rows(image, 64, 32)] == [64, 36]


def test_strips_are_at_most_a_tile_tall_and_come_one_by_one(noise):
    """Rows 0, 48, 96, 144 and 192: five rows of tiles, and none runs before it is asked for."""
    run = Identity()
    strips = run_tiles(run, noise(256, 40), 64, 16)
    assert run.shapes == []
    heights = []
    for number, (_, values) in enumerate(strips, 1):
        assert len(run.shapes) == number
        heights.append(values.shape[1])
    assert heights == [48, 48, 48, 48, 64]


def test_earlier_strips_are_not_overwritten(noise):
    image = noise(200, 70)
    kept = [(top, values, values.copy()) for top, values in run_tiles(Identity(), image, 64, 16)]
    assert all((values == copy).all() for _, values, copy in kept)
