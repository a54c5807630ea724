"""The Segmenter: load a model once, predict many pictures."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from segmenter.config import Config, WeightsError
from segmenter.engine import Engine, load_engine
from segmenter.enlarge import choose, enlarged_classes, likeliest, resized
from segmenter.fitting import auto_contrast, fit, magnified, middle
from segmenter.image import MAX_PIXELS, ImageError, ImageSource, read_image
from segmenter.result import Segmentation
from segmenter.tasks import Task, get_task
from segmenter.threads import usable_cpus
from segmenter.tiling import MULTIPLE, padded_window, run_tiles, tile_rows

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"

GROUP_PIXELS = 50_000_000  # of pictures that wait for each other, 150 MB

Item = TypeVar("Item")
Found = TypeVar("Found")


class Stopped(Exception):
    """A prediction was given up, as it was asked to be."""


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A picture, what the network sees of it (H, W, 3), its input (h, w, 3) made of that, None if it takes several
    tiles, and the (height, width) of the picture inside that input."""

    image: np.ndarray
    seen: np.ndarray
    window: np.ndarray | None
    inside: tuple[int, int]


class Segmenter:
    """One trained model. Make it with ``Segmenter.load``; predictions keep no state between calls."""

    def __init__(
        self, task: Task, engine: Engine, config: Config, max_pixels: int = MAX_PIXELS, flips: bool = False
    ) -> None:
        if config.classes != task.class_names:
            raise WeightsError(
                f"the weights know the classes {config.classes}, the task {task.name} has {task.class_names}; "
                "give weights that were trained for it."
            )
        self.task, self.config, self.max_pixels = task, config, max_pixels
        # Photographs have an upright; pictures from above and through a microscope have none.
        upright = config.input_policy != "tile"
        axes = [(1,)] if upright else [(1,), (0,), (0, 1)]  # of windows (h, w, 3)
        self._flips = axes if flips else []
        self._engine = engine
        self._foreground = len(config.classes) - 1

    @classmethod
    def load(
        cls,
        task: str | Task,
        weights: str | os.PathLike[str] | None = None,
        device: str = "auto",
        max_pixels: int = MAX_PIXELS,
        flips: bool = False,
        engine: str = "auto",
    ) -> Segmenter:
        """Load a task's model.

        ``weights`` is a folder with ``config.json`` and ``model.safetensors``, by default
        ``weights/<task>``. ``device`` is "auto", "cpu" or "cuda". Pictures of more than ``max_pixels``
        are refused. ``flips`` averages over mirrored pictures: a little better, for twice the work on
        photographs and four times on pictures in tiles. ``engine`` is "auto" (CUDA, else OpenVINO, else
        PyTorch), "openvino" or "torch"; masks agree in 99.9% of pixels and more. Raises ValueError for an
        unknown task, device or engine, WeightsError for weights that are missing, damaged or of another model,
        and ImportError, OSError or RuntimeError where "openvino" is named and missing or failing.
        """
        found = get_task(task)
        ready, config = load_engine(WEIGHTS / found.name if weights is None else weights, device, engine)
        return cls(found, ready, config, max_pixels, flips)

    def predict(self, image: ImageSource, stop: Callable[[], bool] | None = None) -> Segmentation:
        """Segment one picture: a path, bytes, a PIL image or an (H, W, 3) uint8 array of any size.

        The result has the picture's own size. ``stop`` is asked before every row of tiles, where a picture takes
        several or is read enlarged, whether the result is not wanted any more. Raises ImageError for what is not such
        a picture, Stopped where ``stop`` says so.
        """
        return self._finish([self._prepare(read_image(image, self.max_pixels))], stop)[0]

    def predict_many(self, images: Iterable[ImageSource]) -> Iterator[Segmentation]:
        """Segment pictures in order; while the network reads one, others are decoded and finished beside it.

        The results are those of ``predict``. More pictures than were asked for are taken from ``images``: a few, on
        CUDA two batches, which are smaller where the pictures are large.
        Raises ImageError at the first picture that cannot be read, after the results before it.
        """
        if isinstance(images, (str, bytes, os.PathLike, Image.Image)):
            raise ImageError(f"a single {type(images).__name__} came where several pictures go; put it into a list.")
        threads = usable_cpus() + 1
        pool = ThreadPoolExecutor(threads)
        try:
            prepared = _ahead(
                pool,
                lambda read: self._prepare(read()),
                map(self._reader, images),
                max(threads, min(self._engine.batch, 2 * threads)),
            )
            for results in _ahead(pool, self._finish, _in_groups(prepared, self._engine.batch), 2):
                yield from results
        finally:
            pool.shutdown(cancel_futures=True)

    def describe(self, image: ImageSource) -> np.ndarray:
        """What the encoder sees in a picture, float32 (F,), by which ``familiarity`` is judged (see
        ``segmenter.inference.Encoder``). ImageError as in ``predict``."""
        prepared = self._prepare(read_image(image, self.max_pixels))
        if self.config.zoom_below:
            prepared = self._middle(prepared)
        if prepared.window is not None:
            return self._engine.describe([prepared.window])[0]
        rows = tile_rows(prepared.seen, self.config.size, self.config.overlap)
        descriptions = [found for windows in rows for found in self._engine.describe(windows)]
        mean: np.ndarray = np.mean(descriptions, axis=0)
        return mean

    def familiarity(self, image: ImageSource) -> float | None:
        """How like those it learnt from a picture is (see ``Segmentation``); ImageError as in ``predict``."""
        known = self.config.familiarity
        return None if known is None else known.score(self.describe(image))

    def _reader(self, image: ImageSource) -> Callable[[], np.ndarray]:
        """What reads a picture; an array or a PIL image is read at once, as its owner may put the next one into it."""
        if not isinstance(image, (np.ndarray, Image.Image)):
            return partial(read_image, image, self.max_pixels)
        taken = read_image(image, self.max_pixels)
        return lambda: taken

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

    def _middle(self, prepared: _Prepared) -> _Prepared:
        """What of a picture one tile holds: its middle, or all of it."""
        if prepared.window is not None:
            return prepared
        size = self.config.size
        seen = middle(prepared.seen, size)
        return _Prepared(middle(prepared.image, size), seen, padded_window(seen, size), seen.shape[:2])

    def _values(self, windows: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        """The maps and description of each window, without the map of class 0, whose probability is what the others
        leave of 1; averaged over the mirrored windows where that is asked for."""
        found = [(values[1:], description) for values, description in self._engine.run(windows)]
        if not self._flips:
            return found
        for axes in self._flips:
            again = self._engine.run([np.flip(window, axes) for window in windows])
            for (values, _), (mirrored, _) in zip(found, again, strict=True):
                values += np.flip(mirrored[1:], tuple(axis + 1 for axis in axes))
        for values, _ in found:
            values /= 1 + len(self._flips)
        return found

    def _finish(self, waiting: list[_Prepared], stop: Callable[[], bool] | None = None) -> list[Segmentation]:
        """Run the network on prepared pictures, those that fit into one window at once."""
        looks = [self._middle(prepared) if self.config.zoom_below else prepared for prepared in waiting]
        of_windows = iter(self._values([look.window for look in looks if look.window is not None]))
        results = []
        for prepared, look in zip(waiting, looks, strict=True):
            if look.window is None:
                results.append(self._tiles(prepared, stop))
            else:
                results.append(self._closer(prepared, self._one(look, *next(of_windows)), stop))
        return results

    def _one(self, prepared: _Prepared, values: np.ndarray, description: np.ndarray) -> Segmentation:
        """The result of a picture in one window."""
        known = values[:, : prepared.inside[0], : prepared.inside[1]]
        size = prepared.image.shape[:2]
        if known.shape[1:] == size:
            return self._collect(prepared.image, iter([(0, known)]), [description])
        probabilities, core = known[: self._foreground], known[self._foreground :]
        class_ids = enlarged_classes(probabilities, *size)
        confidence = partial(
            likeliest, probabilities.copy(), *size
        )  # takes longer than the classes, and not everybody asks
        seeds = None if self.config.seed_map is None else resized(core, *size)[0] > self.config.seed_threshold
        return self._result(prepared.image, class_ids, confidence, seeds, [description])

    def _closer(self, prepared: _Prepared, look: Segmentation, stop: Callable[[], bool] | None) -> Segmentation:
        """The result of a picture after a first look at its middle: the look itself where that shows all of it, unless
        its objects are so small that they are better read enlarged."""
        areas = np.bincount(look.instances().ravel())[1:] if self.config.zoom_below else np.zeros(0)
        small = bool(len(areas)) and float(np.median(areas)) < self.config.zoom_below
        if prepared.window is not None and not small:
            return look
        return replace(self._tiles(prepared, stop, self.config.zoom if small else 1.0), familiarity=look.familiarity)

    def _tiles(self, prepared: _Prepared, stop: Callable[[], bool] | None, zoom: float = 1.0) -> Segmentation:
        descriptions: list[np.ndarray] = []
        size = int(self.config.size / zoom) // MULTIPLE * MULTIPLE

        def run(windows: Sequence[np.ndarray]) -> list[np.ndarray]:
            if stop is not None and stop():
                raise Stopped("the prediction was given up because nobody waits for it.")
            found = self._values([magnified(window, zoom, MULTIPLE) for window in windows])
            descriptions.extend(description for _, description in found)
            return [resized(values, *window.shape[:2]) for window, (values, _) in zip(windows, found, strict=True)]

        strips = run_tiles(run, prepared.seen, size, self.config.overlap * size // self.config.size)
        return self._collect(prepared.image, strips, descriptions)

    def _collect(
        self, image: np.ndarray, strips: Iterator[tuple[int, np.ndarray]], descriptions: list[np.ndarray]
    ) -> Segmentation:
        """Choose the class of every pixel, strip by strip; ``descriptions`` are complete after the last."""
        class_ids = np.empty(image.shape[:2], np.uint8)
        confidence = np.empty(image.shape[:2], np.float32)
        seeds = None if self.config.seed_map is None else np.empty(image.shape[:2], bool)
        for top, values in strips:
            rows = slice(top, top + values.shape[1])
            choose(values[: self._foreground], class_ids[rows], confidence[rows])
            if seeds is not None:
                seeds[rows] = values[self._foreground] > self.config.seed_threshold
        return self._result(image, class_ids, confidence, seeds, descriptions)

    def _result(
        self,
        image: np.ndarray,
        class_ids: np.ndarray,
        confidence: np.ndarray | Callable[[], np.ndarray],
        seeds: np.ndarray | None,
        descriptions: list[np.ndarray],
    ) -> Segmentation:
        known = self.config.familiarity
        familiarity = None if known is None else known.score(np.mean(descriptions, axis=0))
        return Segmentation(image, class_ids, confidence, self.task, seeds, self.config.min_object, familiarity)


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[Item], Found], items: Iterable[Item], count: int
) -> Iterator[Found]:
    """``work`` of each item in order, done in the pool for up to ``count`` items before they are asked for.

    An error of ``items`` comes after the results of the items before it.
    """
    begun: deque[Future[Found]] = deque()
    failure: Exception | None = None
    remaining = iter(items)
    while failure is None:
        try:
            begun.append(pool.submit(work, next(remaining)))
        except StopIteration:
            break
        except Exception as error:
            failure = error
        if len(begun) == count:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()
    if failure is not None:
        raise failure


def _in_groups(pictures: Iterator[_Prepared], size: int) -> Iterator[list[_Prepared]]:
    """Lists of at most ``size`` pictures that the network takes at once: fewer where they are large, and none after one
    in several tiles. An error of ``pictures`` comes after those before it."""
    group: list[_Prepared] = []
    try:
        for picture in pictures:
            group.append(picture)
            pixels = sum(waiting.image.size // 3 for waiting in group)
            if len(group) == size or pixels >= GROUP_PIXELS or picture.window is None:
                yield group
                group = []
    except Exception:
        if group:
            yield group
        raise
    if group:
        yield group
