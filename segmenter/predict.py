"""The Segmenter: load a model once, predict many pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from segmenter.engine import Engine, choose_device
from segmenter.image import MAX_PIXELS, ImageError, ImageSource, auto_contrast, fit, read_image
from segmenter.networks import Config, WeightsError, class_probabilities, load_network, map_probabilities
from segmenter.result import Segmentation
from segmenter.tasks import Task, get_task
from segmenter.tiling import padded_window, run_tiles

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"
BATCH = 8
STRIP_PIXELS = 2_000_000  # probabilities are brought to full size in strips of about this many pixels


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A picture, what the network sees of it (H, W, 3), its input (h, w, 3) made of that, None if it takes several
    tiles, and the (height, width) of the picture inside that input."""

    image: np.ndarray
    seen: np.ndarray
    window: np.ndarray | None
    inside: tuple[int, int]

    @property
    def shape(self) -> tuple[int, ...] | None:
        return None if self.window is None else self.window.shape


class Segmenter:
    """One trained model. Make it with ``Segmenter.load``; predictions keep no state between calls."""

    def __init__(
        self,
        task: Task,
        network: nn.Module,
        config: Config,
        device: str = "cpu",
        max_pixels: int = MAX_PIXELS,
        flips: bool = False,
    ) -> None:
        if config.classes != task.class_names:
            raise WeightsError(
                f"the weights know the classes {config.classes}, the task {task.name} has {task.class_names}; "
                "give weights that were trained for it."
            )
        self.task, self.config, self.max_pixels = task, config, max_pixels
        # Photographs have an upright; pictures from above and through a microscope have none.
        upright = config.input_policy != "tile"
        axes = [[3]] if upright else [[3], [2], [2, 3]]  # of maps (B, M, H, W)
        self._flips = axes if flips else []
        self._engine = Engine(network, config.mean, config.std, device)

    @classmethod
    def load(
        cls,
        task: str | Task,
        weights: str | os.PathLike[str] | None = None,
        device: str = "auto",
        max_pixels: int = MAX_PIXELS,
        flips: bool = False,
    ) -> Segmenter:
        """Load a task's model.

        ``weights`` is a folder with ``config.json`` and ``model.safetensors``, by default
        ``weights/<task>``. ``device`` is "auto", "cpu" or "cuda". Pictures of more than ``max_pixels``
        are refused. ``flips`` averages over mirrored pictures: a little better, for twice the work on
        photographs and four times on pictures in tiles. Raises ValueError for an unknown task or device
        and WeightsError for weights that are missing, damaged or of another model.
        """
        found = get_task(task)
        chosen = choose_device(device)
        network, config = load_network(WEIGHTS / found.name if weights is None else weights)
        return cls(found, network, config, chosen, max_pixels, flips)

    def predict(self, image: ImageSource) -> Segmentation:
        """Segment one picture: a path, bytes, a PIL image or an (H, W, 3) uint8 array of any size.

        The result has the picture's own size. Raises ImageError for what is not such a picture.
        """
        return next(self.predict_many([image]))

    def predict_many(self, images: Iterable[ImageSource]) -> Iterator[Segmentation]:
        """Segment pictures in order, those whose network input has one shape in batches of up to 8.

        Raises ImageError at the first picture that cannot be read, after the results before it.
        """
        if isinstance(images, (str, bytes, os.PathLike, Image.Image)):
            raise ImageError(f"a single {type(images).__name__} came where several pictures go; put it into a list.")
        waiting: list[_Prepared] = []
        for source in images:
            try:
                prepared = self._prepare(read_image(source, self.max_pixels))
            except Exception:
                yield from self._batch(waiting)
                raise
            if waiting and (len(waiting) == BATCH or prepared.shape != waiting[0].shape):
                yield from self._batch(waiting)
                waiting = []
            if prepared.window is None:
                yield self._collect(prepared.image, *self._tiles(prepared.seen))
            else:
                waiting.append(prepared)
        yield from self._batch(waiting)

    def describe(self, image: ImageSource) -> np.ndarray:
        """What the encoder sees in a picture, float32 (F,), by which ``familiarity`` is judged (see
        ``WithDescription``). ImageError as in ``predict``."""
        prepared = self._prepare(read_image(image, self.max_pixels))
        if prepared.window is not None:
            found: np.ndarray = self._engine.run(prepared.window[None])[1][0]
            return found
        strips, descriptions = self._tiles(prepared.seen)
        for _ in strips:
            pass
        mean: np.ndarray = np.mean(descriptions, axis=0)
        return mean

    def familiarity(self, image: ImageSource) -> float | None:
        """How like those it learnt from a picture is (see ``Segmentation``); ImageError as in ``predict``."""
        known = self.config.familiarity
        return None if known is None else known.score(self.describe(image))

    def _prepare(self, image: np.ndarray) -> _Prepared:
        """Scale or pad a picture to the network's input, unless it takes several tiles."""
        size, policy = self.config.size, self.config.input_policy
        seen = auto_contrast(image) if self.config.auto_contrast else image
        if policy == "tile" and max(image.shape[:2]) > size:
            return _Prepared(image, seen, None, (0, 0))
        if policy == "tile":
            return _Prepared(image, seen, padded_window(seen, size), image.shape[:2])
        if policy == "stretch":
            square = Image.fromarray(seen).resize((size, size), Image.Resampling.BILINEAR)
            return _Prepared(image, seen, np.asarray(square), (size, size))
        return _Prepared(image, seen, *fit(seen, size))

    def _values(self, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """uint8 windows (B, h, w, 3) -> float32 class probabilities (B, C, h, w), with that of an object's
        core as one more map where the network has it, and the windows' descriptions (B, F)."""
        logits, descriptions = self._engine.run(windows)
        maps = map_probabilities(logits, self.config)
        for axes in self._flips:
            mirrored = np.flip(windows, tuple(axis - 1 for axis in axes))
            again, _ = self._engine.run(np.ascontiguousarray(mirrored))
            maps = maps + map_probabilities(again, self.config).flip(axes)
        maps = maps / (1 + len(self._flips))
        values = class_probabilities(maps, self.config)
        if self.config.seed_map is not None:
            values = torch.cat([values, maps[:, self.config.seed_map, None]], dim=1)
        return values.cpu().numpy(), descriptions

    def _batch(self, waiting: list[_Prepared]) -> Iterator[Segmentation]:
        if not waiting:
            return
        windows = np.stack([prepared.window for prepared in waiting if prepared.window is not None])
        for prepared, values, description in zip(waiting, *self._values(windows), strict=True):
            height, width = prepared.inside
            image = prepared.image
            yield self._collect(image, enlarge(values[:, :height, :width], *image.shape[:2]), [description])

    def _tiles(self, image: np.ndarray) -> tuple[Iterator[tuple[int, np.ndarray]], list[np.ndarray]]:
        """The strips of a picture in tiles, and a list that holds the tiles' descriptions after the last strip."""
        descriptions: list[np.ndarray] = []

        def run(windows: np.ndarray) -> np.ndarray:
            values, found = self._values(windows)
            descriptions.extend(found)
            return values

        return run_tiles(run, image, self.config.size, self.config.overlap, BATCH), descriptions

    def _collect(
        self, image: np.ndarray, strips: Iterator[tuple[int, np.ndarray]], descriptions: list[np.ndarray]
    ) -> Segmentation:
        """Choose the class of every pixel, strip by strip; ``descriptions`` are complete after the last."""
        classes = len(self.config.classes)
        class_ids = np.empty(image.shape[:2], np.uint8)
        confidence = np.empty(image.shape[:2], np.float32)
        seeds = None if self.config.seed_map is None else np.empty(image.shape[:2], bool)
        for top, values in strips:
            rows = slice(top, top + values.shape[1])
            probabilities = values[:classes]
            chosen = probabilities.argmax(0)
            class_ids[rows] = chosen
            confidence[rows] = np.take_along_axis(probabilities, chosen[None], 0)[0].clip(0, 1)
            if seeds is not None:
                seeds[rows] = values[classes] > self.config.seed_threshold
        known = self.config.familiarity
        familiarity = None if known is None else known.score(np.mean(descriptions, axis=0))
        return Segmentation(image, class_ids, confidence, self.task, seeds, self.config.min_object, familiarity)


def enlarge(values: np.ndarray, height: int, width: int) -> Iterator[tuple[int, np.ndarray]]:
    """Scale values (C, h, w) bilinearly to (C, height, width), pixel centres aligned.

    Yields strips (top row, values (C, rows, width)) from top to bottom.
    """
    if values.shape[1:] == (height, width):
        yield 0, values
        return
    rows_per_strip = max(1, STRIP_PIXELS // width)
    source = torch.from_numpy(np.ascontiguousarray(values))
    centres = (torch.arange(height) + 0.5) * (source.shape[1] / height) - 0.5
    centres = centres.clamp(0, source.shape[1] - 1)
    above = centres.floor().long()
    below = (above + 1).clamp(max=source.shape[1] - 1)
    share = (centres - above).view(1, -1, 1)
    widen = partial(torch.nn.functional.interpolate, mode="linear", align_corners=False)
    for top in range(0, height, rows_per_strip):
        rows = slice(top, top + rows_per_strip)
        strip = torch.lerp(source[:, above[rows]], source[:, below[rows]], share[:, rows])
        yield top, widen(strip, size=width).numpy()
