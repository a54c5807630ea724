"""Our network and engine against the segmentation networks that torchvision has, in eager PyTorch, at 256x256."""

from __future__ import annotations

import torch
from torchvision.models import segmentation

from benchmarks.measure import parser, row, table, times
from benchmarks.pictures import generated
from segmenter.engine import load_engine
from segmenter.predict import WEIGHTS
from segmenter.threads import usable_cpus

SIZE = 256
RIVALS = ("lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large", "fcn_resnet50")


def main(arguments: list[str] | None = None) -> str:
    options = parser(__doc__).parse_args(arguments)
    torch.set_num_threads(usable_cpus())
    engine, _ = load_engine(WEIGHTS / "cars", "cpu")
    window = generated(SIZE, SIZE)
    pixels = torch.from_numpy(window).permute(2, 0, 1)[None].float() / 255
    programs = {"ours": lambda: engine.run([window])}
    for name in RIVALS:
        rival = getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=2).eval()

        def eager(rival: torch.nn.Module = rival) -> object:
            with torch.inference_mode():
                return rival(pixels)

        programs[name] = eager
    found = times(programs, rounds=3 if options.quick else 20)
    rows = [[*row(name, taken), row("ours", found["ours"], taken)[-1]] for name, taken in found.items()]
    return table(["network", "ms", "middle half", "ours is faster, times"], rows)


if __name__ == "__main__":
    print(main())
