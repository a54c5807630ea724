"""How the decoder computes in 8 bits: found on validation pictures, after training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from segmenter.config import Config, Rounding
from segmenter.folded import Convolution, folded
from segmenter.inference import Decoder, Encoder

AGREEMENT = 0.9993  # of the pixels' classes with those of the exact decoder, for the rounding to be used


def chosen_rounding(
    network: nn.Module, config: Config, images: Sequence[Tensor], judged: Sequence[tuple[Tensor, Tensor]]
) -> Rounding | None:
    """The rounding of a network's decoder, from windows (h, w, 3) uint8, if it changes hardly any pixel's class in the
    windows it is ``judged`` by (see ``agreement``)."""
    rounding = fit_rounding(network, config, images)
    if rounding is None:
        return None
    share = agreement(network, replace(config, rounding=rounding), judged)
    used = "used" if share >= AGREEMENT else "not used"
    print(f"in 8 bits the decoder gives {100 * share:.3f}% of the pixels their class: {used}")
    return rounding if share >= AGREEMENT else None


def agreement(network: nn.Module, config: Config, windows: Sequence[tuple[Tensor, Tensor]]) -> float:
    """The share of pixels to which the decoder gives the same class with and without its rounding, of windows
    (h, w, 3) uint8 those that count there, bool (h, w): padding does not."""
    encoder = Encoder(network, config).eval()
    decoders = [Decoder(network, config, rounded).eval() for rounded in (False, True)]
    classes = len(config.classes)
    same = count = 0
    with torch.inference_mode():
        for image, counts in windows:
            features = encoder(image[None])[1:]
            exact, coarse = (decoder(*features)[0, :classes].argmax(0) for decoder in decoders)
            same += int((exact == coarse)[counts].sum())
            count += int(counts.sum())
    return same / count


def fit_rounding(network: nn.Module, config: Config, images: Sequence[Tensor]) -> Rounding | None:
    """The rounding of a network's decoder, from windows (h, w, 3) uint8; None for networks that are not folded.

    An input's limits are the mean over the windows of its least and largest value: the few larger ones would make
    every step coarser. The shifts are found one convolution after the other, each with those before it rounded: per
    output channel the mean of what the exact decoder has more there (Nagel et al., ICCV 2019, bias correction).
    """
    exact, coarse = (folded(network) if hasattr(network, "segmentation_head") else None for _ in range(2))
    if exact is None or coarse is None:
        return None
    encoder = Encoder(network, config).eval()
    limits, shifts = [], []
    with torch.inference_mode():
        features = [encoder(image[None])[1:] for image in images]
        known = measured(exact, exact.convolutions, features)
        for (low, high, expected), convolution in zip(known, coarse.convolutions, strict=True):
            limits.append((round(min(low, 0.0), 4), round(max(high, 1e-3), 4)))
            convolution.round_to(limits[-1], torch.zeros_like(convolution.bias))
            ((_, _, found),) = measured(coarse, [convolution], features)
            shifts.append(tuple(round(value, 5) for value in (expected - found).double().tolist()))
            convolution.bias += torch.tensor(shifts[-1])
    return Rounding(tuple(limits), tuple(shifts))


def measured(
    decoder: nn.Module, convolutions: Sequence[Convolution], features: Sequence[Sequence[Tensor]]
) -> list[tuple[float, float, Tensor]]:
    """What passes some of a decoder's convolutions, as means over the windows whose ``features`` it gets: the least
    and the largest value of the input, and every channel's mean in the output (channels,)."""
    seen: list[list[Tensor]] = [[] for _ in convolutions]

    def watch(one: list[Tensor]) -> Callable[[nn.Module, tuple[Tensor], Tensor], None]:
        return lambda _, inputs, output: one.append(
            torch.cat([torch.stack(inputs[0].aminmax()), output.mean((0, 2, 3))])
        )

    hooks = [each.register_forward_hook(watch(one)) for each, one in zip(convolutions, seen, strict=True)]
    for each in features:
        decoder(*each)
    for hook in hooks:
        hook.remove()
    means = [torch.stack(one).mean(0) for one in seen]
    return [(float(mean[0]), float(mean[1]), mean[2:]) for mean in means]
