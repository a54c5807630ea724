"""Segment photographs with four trained U-Nets.

>>> from segmenter import Segmenter
>>> result = Segmenter.load("pets").predict("cat.jpg")
>>> result.coverage()
"""

from segmenter.config import WeightsError
from segmenter.image import ImageError
from segmenter.predict import Segmenter, Stopped
from segmenter.result import ClassStats, Segmentation
from segmenter.tasks import TASKS

__all__ = ["TASKS", "ClassStats", "ImageError", "Segmentation", "Segmenter", "Stopped", "WeightsError"]
