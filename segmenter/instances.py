"""From a mask to single, labelled objects."""

from __future__ import annotations

import numpy as np


def label_objects(mask: np.ndarray, seeds: np.ndarray | None = None, min_size: int = 1) -> np.ndarray:
    """Label the objects of a mask: int32 (H, W), 0 is background, 1... one number per object.

    ``mask`` and ``seeds`` are bool (H, W). Without seeds an object is a connected region. With seeds
    each connected seed grows, by a watershed on the distance to it, to its part of the mask; a region
    without a seed is one object. Objects of fewer than ``min_size`` pixels do not count, and seeds of
    fewer than a quarter of it part nothing: a core is about a third of its object.
    """
    from scipy import ndimage
    from skimage.segmentation import watershed

    regions, count = ndimage.label(mask)
    if count == 0:
        return regions.astype(np.int32)
    labels = regions
    if seeds is not None:
        markers, seed_count = ndimage.label(seeds & mask)
        markers[(_sizes(markers) * 4 < min_size)[markers]] = 0
        seeded = np.zeros(count + 1, bool)
        seeded[np.unique(regions[markers > 0])] = True
        lonely = mask & ~seeded[regions]
        markers[lonely] = regions[lonely] + seed_count
        labels = watershed(ndimage.distance_transform_edt(markers == 0), markers, mask=mask)
    kept = _sizes(labels) >= min_size
    kept[0] = False
    return np.where(kept, np.cumsum(kept), 0).astype(np.int32)[labels]


def _sizes(labels: np.ndarray) -> np.ndarray:
    """Pixels of each label, int (labels.max() + 1,)."""
    return np.bincount(labels.ravel())
