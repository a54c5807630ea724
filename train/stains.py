"""Pictures of a microscope in other stains than they were taken in."""

from __future__ import annotations

from typing import Any

import torch
from skimage.color.colorconv import hed_from_rgb, rgb_from_hed
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from segmenter.fitting import PAD_VALUE

BRIGHT = 110  # mean value above which a microscope's picture is a bright field: stained tissue, transmitted light

# What each of haematoxylin, eosin and DAB absorbs of red, green and blue, and back.
FROM_DYES = torch.from_numpy(rgb_from_hed).float()
TO_DYES = torch.from_numpy(hed_from_rgb).float()


def brightness(image: torch.Tensor) -> float:
    """The mean value of an image uint8 (3, H, W) without what it is padded with."""
    known = (image != PAD_VALUE).any(0)
    return float(image[:, known].float().mean()) if known.any() else 0.0


class RandomStain(v2.Transform):
    """Stain tissue in another laboratory's way: more or less of haematoxylin, eosin and DAB, each by itself.

    Colours are parted into the three dyes by Ruifrok & Johnston (2001) and mixed again, the augmentation that
    carries best from one laboratory to another (Tellez et al., Medical Image Analysis 2019). Pictures on a dark
    ground, which no dye absorbs light from, stay as they are.
    """

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"gains": 1 + torch.empty(3).uniform_(-self.strength, self.strength)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, tv_tensors.Mask) or brightness(inpt) < BRIGHT:
            return inpt
        absorbed = -((inpt.permute(1, 2, 0).float() + 1) / 256).log()
        dyes = (absorbed @ TO_DYES) * params["gains"]
        return like((-(dyes @ FROM_DYES)).exp() * 256 - 1, inpt)


class FluorescenceAsStain(v2.Transform):
    """Show glowing nuclei as stained tissue: what glows absorbs light as haematoxylin does, on a ground of clouds of
    eosin and a little haematoxylin. Stained pictures are few and of few laboratories, but nuclei have the same shapes
    in both. Bright fields stay as they are.
    """

    CLOUDS = (3, 10, 40)  # pixels from one value to the next

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = F.get_size(flat_inputs[0])
        clouds = torch.zeros(2, height, width)
        for cell in self.CLOUDS:
            coarse = torch.rand(1, 2, height // cell + 2, width // cell + 2)
            clouds += torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")[0]
        return {"clouds": clouds / len(self.CLOUDS), "levels": torch.rand(5)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, tv_tensors.Mask) or brightness(inpt) > BRIGHT:
            return inpt
        power, glow, eosin, ground, within = params["levels"].tolist()
        light = (inpt.float().mean(0) / 255) ** (0.4 + 0.6 * power)
        cloud, haze = params["clouds"]
        haematoxylin = (0.5 + 1.2 * glow) * light * (0.7 + 0.6 * haze) + 0.6 * ground * haze
        stained = eosin * cloud * (1 - (0.3 + 0.7 * within) * light)
        dyes = torch.stack([haematoxylin, stained], -1)
        return like((-(dyes @ FROM_DYES[:2])).exp() * 245, inpt)


def like(colours: torch.Tensor, image: Any) -> Any:
    """Colours float32 (H, W, 3) in [0, 255], or a little beyond, as an image of the kind of another."""
    return tv_tensors.wrap(colours.clamp(0, 255).round().to(torch.uint8).permute(2, 0, 1), like=image)
