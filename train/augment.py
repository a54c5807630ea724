"""What happens to image and target together before the network sees them (torchvision v2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from segmenter.fitting import PAD_VALUE, auto_contrast
from segmenter.metrics import IGNORE
from segmenter.tasks import InputPolicy
from train.data import Transform
from train.recipe import Recipe
from train.stains import FluorescenceAsStain, RandomStain

ToTarget = Callable[[np.ndarray], np.ndarray]
PAD_LABEL = -1  # what a target is padded with before it becomes class ids
FILL: dict[Any, Any] = {tv_tensors.Image: PAD_VALUE, tv_tensors.Mask: PAD_LABEL}


def nearest(mask: tv_tensors.Mask, size: list[int]) -> tv_tensors.Mask:
    """A mask at (height, width) by the nearest pixel, pixel centres aligned as an image's are. PyTorch's plain
    "nearest" would lay it half a pixel too low and too far right, and torchvision may take that for a mask."""
    found = F.resize_image(mask.as_subclass(Tensor), size, interpolation=InterpolationMode.NEAREST_EXACT)
    moved: tv_tensors.Mask = tv_tensors.wrap(found, like=mask)
    return moved


class RandomScale(v2.Transform):
    """Scale by a random factor, relative to the own size ("tile") or to the working size ("fit")."""

    def __init__(self, policy: InputPolicy, size: int, scale: tuple[float, float]) -> None:
        super().__init__()
        self.policy, self.size = policy, size
        self.log_scale = torch.tensor(scale).log()

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = v2.functional.get_size(flat_inputs[0])
        factor = float(torch.empty(1).uniform_(*self.log_scale.tolist()).exp())
        if self.policy == "fit":
            factor *= self.size / max(height, width)
        return {"size": [max(1, round(height * factor)), max(1, round(width * factor))]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, tv_tensors.Mask):
            return nearest(inpt, params["size"])
        return F.resize(inpt, params["size"], interpolation=InterpolationMode.BILINEAR, antialias=True)


class RandomQuarterTurn(v2.Transform):
    """Turn by 0, 90, 180 or 270 degrees: pictures from above have no upright."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"turns": int(torch.randint(4, ()))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return tv_tensors.wrap(torch.rot90(inpt, params["turns"], (-2, -1)), like=inpt)


def _colour(brightness: float, hue: float) -> v2.Transform:
    return v2.ColorJitter(brightness=brightness, contrast=brightness, saturation=brightness, hue=hue)


def _quality() -> list[v2.Transform]:
    """What cameras and uploads do to a picture: blur, compression, noise."""
    blur = v2.GaussianBlur(5, (0.3, 1.5))
    noise = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.GaussianNoise(sigma=0.03)])
    back = v2.ToDtype({tv_tensors.Image: torch.uint8, "others": None}, scale=True)
    choices = [v2.Identity(), blur, v2.JPEG((30, 90)), v2.Compose([noise, back])]
    return [v2.RandomChoice(choices, p=[0.55, 0.15, 0.15, 0.15])]


STYLES: dict[str, list[v2.Transform]] = {
    "none": [],
    "photo": [
        v2.RandomHorizontalFlip(),
        v2.RandomApply([v2.RandomRotation(15, InterpolationMode.BILINEAR, fill=FILL)], p=0.3),
        v2.RandomApply([_colour(0.5, 0.05)], p=0.7),
        v2.RandomGrayscale(0.05),
        *_quality(),
    ],
    "satellite": [
        v2.RandomHorizontalFlip(),
        RandomQuarterTurn(),
        v2.RandomApply([_colour(0.3, 0.08)], p=0.6),
        *_quality(),
    ],
    "microscopy": [
        v2.RandomHorizontalFlip(),
        RandomQuarterTurn(),
        v2.RandomApply([FluorescenceAsStain()], p=0.3),
        v2.RandomApply([RandomStain(0.5)], p=0.7),
        v2.RandomApply([_colour(0.4, 0.06)], p=0.6),
        v2.RandomGrayscale(0.2),
        v2.RandomInvert(0.1),
        *_quality(),
    ],
}


def restyled(images: Iterable[np.ndarray], recipe: Recipe) -> Iterator[np.ndarray]:
    """Images (H, W, 3) uint8 in the colours, stains and qualities that training shows them in, at their own scale."""
    torch.manual_seed(recipe.seed)
    style = v2.Compose([v2.Identity(), *STYLES[recipe.augment]])
    for image in images:
        image = auto_contrast(image) if recipe.auto_contrast else image
        found = style(tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1)))
        yield found.permute(1, 2, 0).contiguous().numpy()


class Apply:
    """A transform of arrays: (image (H, W, 3) uint8, target (H, W)) -> (uint8 image, int64 class ids)."""

    def __init__(self, recipe: Recipe, transform: v2.Transform, to_target: ToTarget | None) -> None:
        self.auto_contrast = recipe.auto_contrast
        self.transform, self.to_target = transform, to_target

    def __call__(self, image: np.ndarray, target: np.ndarray) -> tuple[Tensor, Tensor]:
        image = auto_contrast(image) if self.auto_contrast else image
        pixels = tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1))
        labels = tv_tensors.Mask(torch.from_numpy(target.astype(np.int32))[None])
        pixels, labels = self.transform(pixels, labels)
        class_ids = labels[0].numpy()
        padded = class_ids == PAD_LABEL
        if self.to_target is not None:
            class_ids = self.to_target(class_ids)
        class_ids = np.where(padded, IGNORE, class_ids).astype(np.int64)
        return pixels.as_subclass(Tensor).permute(1, 2, 0).contiguous(), torch.from_numpy(class_ids)


def training_transform(recipe: Recipe, policy: InputPolicy, to_target: ToTarget | None = None) -> Transform:
    """Random scale, crop and the recipe's style; the image comes out ``recipe.crop`` square."""
    if policy == "stretch":
        return Apply(recipe, v2.Compose([_Stretch(recipe.size), *STYLES[recipe.augment]]), to_target)
    crop = v2.RandomCrop(recipe.crop, pad_if_needed=True, fill=FILL)
    scale = RandomScale(policy, recipe.size, recipe.scale)
    return Apply(recipe, v2.Compose([scale, crop, *STYLES[recipe.augment]]), to_target)


def validation_transform(recipe: Recipe, policy: InputPolicy, to_target: ToTarget | None = None) -> Transform:
    """No chance in it: what prediction does (fit), or the picture's middle at its own scale (tile)."""
    if policy == "stretch":
        return Apply(recipe, _Stretch(recipe.size), to_target)
    scale = RandomScale(policy, recipe.size, (1.0, 1.0))
    steps: list[v2.Transform] = [scale] if policy == "fit" else []
    return Apply(recipe, v2.Compose([*steps, _TopLeftOrMiddle(recipe.size, policy)]), to_target)


class _Stretch(v2.Transform):
    """Scale to a square whatever the aspect, bilinear for the image and nearest for the target."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = [size, size]

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, tv_tensors.Mask):
            return nearest(inpt, self.size)
        return F.resize(inpt, self.size, interpolation=InterpolationMode.BILINEAR, antialias=True)


class _TopLeftOrMiddle(v2.Transform):
    """Pad right and below to a square (fit), or take the middle square (tile)."""

    def __init__(self, size: int, policy: InputPolicy) -> None:
        super().__init__()
        self.size, self.policy = size, policy

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        height, width = F.get_size(inpt)
        if self.policy == "tile":
            inpt = F.center_crop(inpt, [min(height, self.size), min(width, self.size)])
            height, width = F.get_size(inpt)
        padding = [0, 0, self.size - width, self.size - height]
        fill = FILL[tv_tensors.Mask if isinstance(inpt, tv_tensors.Mask) else tv_tensors.Image]
        return F.pad(inpt, padding, fill=fill)
