"""Labelled regions in short, exact forms: outlines along pixel edges and COCO's run lengths. Labels in, numbers out.

``labels`` is an integer array (H, W) throughout: 0 is background, 1, 2, 3... are the regions.
"""

from __future__ import annotations

import numpy as np

# Ways along pixel edges, clockwise on the screen: a turn to the right adds one.
LEFT, RIGHT, WAYS = 3, 1, 4


def rings(labels: np.ndarray) -> list[list[np.ndarray]]:
    """Trace every region along the edges of its pixels.

    Each region must hang together by the sides of its pixels. The rings of region i stand at i - 1, the
    outer one first, its holes after it. A ring is int64 (N, 2) of its corners (x, y): x to the right, y down,
    (0, 0) the picture's upper left corner, the last point the first again. Outer rings have a positive area
    by the shoelace formula, holes a negative one; together they make a region's number of pixels. No ring
    meets itself and two touch in single points at most, as OGC Simple Features (06-103r4, 6.1.11) wants.
    """
    starts, following, regions, uppermost = _sides(labels)
    points = np.stack(np.divmod(starts, labels.shape[1] + 1)[::-1], axis=1)
    found: list[list[np.ndarray]] = [[] for _ in range(int(labels.max(initial=0)))]
    seen = bytearray(len(following))
    # Every ring has a side that runs to the right, and a region's first one is on its outer ring.
    for first in range(uppermost):
        if seen[first]:
            continue
        ring, side = [], first
        while not seen[side]:
            seen[side] = True
            ring.append(side)
            side = following[side]
        found[regions[first] - 1].append(points[[*ring, first]])
    return found


def _sides(labels: np.ndarray) -> tuple[np.ndarray, list[int], list[int], int]:
    """The straight sides of all rings, each with its region on the right hand.

    Returns the corner where each begins (as an index into the (H + 1, W + 1) corners of the pixels), the
    number of the side that follows it, its region, and how many of them run to the right: they are the
    first, from top to bottom.
    """
    padded = np.pad(labels, 1)
    corners = np.arange((labels.shape[0] + 1) * (labels.shape[1] + 1)).reshape(padded.shape[0] - 1, -1)
    codes, next_codes, regions = [], [], []
    for way in range(WAYS):
        # Turned so that this way runs to the right. A pixel has a side on its top where the one above differs.
        turned, grid = np.rot90(padded, way), np.rot90(corners, way)
        above, below = turned[:-1], turned[1:]
        edges = (below > 0) & (below != above)
        before, after = edges[:, :-1], edges[:, 1:]  # the edges that end and begin in a corner
        straight = before & after & (below[:, :-1] == below[:, 1:])
        begins, ends = after & ~straight, before & ~straight
        # Along a line sides begin and end in turns, so the n-th of both belong together.
        codes.append(grid[begins] * WAYS + way)
        # Where the pixel ahead on the left is of the same region, go round it: diagonal pixels are joined there,
        # so that what lies on the other side does not meet itself.
        turn = np.where(above[:, 1:][ends] == below[:, :-1][ends], LEFT, RIGHT)
        next_codes.append(grid[ends] * WAYS + (way + turn) % WAYS)
        regions.append(below[:, 1:][begins])
    code = np.concatenate(codes)
    order = np.argsort(code)
    following = order[np.searchsorted(code, np.concatenate(next_codes), sorter=order)]
    return code // WAYS, following.tolist(), np.concatenate(regions).tolist(), codes[0].size


def run_lengths(labels: np.ndarray) -> list[list[int]]:
    """The uncompressed RLE of every region, that of region i at i - 1.

    As COCO counts: down the columns, first pixels outside the region, then inside, and so on in turns;
    what remains outside at the end is counted too (pycocotools, common/maskApi.h).
    """
    flat = labels.ravel(order="F")
    starts = np.flatnonzero(np.diff(flat, prepend=-1))
    stops = np.append(starts[1:], flat.size)
    order = np.argsort(flat[starts], kind="stable")
    bounds = np.stack([starts[order], stops[order]], axis=1)
    limits = np.searchsorted(flat[starts[order]], np.arange(1, labels.max(initial=0) + 2))
    counts = []
    for runs in np.split(bounds, limits)[1:-1]:
        edges = runs.ravel()
        rest = [] if edges.size and edges[-1] == flat.size else [flat.size]
        counts.append(np.diff(edges, prepend=0, append=rest).tolist())
    return counts
