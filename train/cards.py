"""Write the model cards and the README's table from what was measured: `python -m train.cards`.

Reads ``weights/<task>/{config,metrics,ancestor}.json``; writes ``weights/<task>/README.md`` and the part of
the README that is ``train.scoreboard``'s. ``--ancestor runs/TASK-ancestor`` keeps the scores of a run of an
ancestor's recipe in ``weights/<task>/ancestor.json`` first.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segmenter.config import WEIGHTS_FILE, Config, WeightsError, load_config
from segmenter.networks import build_network, count_parameters
from segmenter.predict import WEIGHTS
from segmenter.tasks import TASKS, Task
from train.data import DataError
from train.recipe import Recipe
from train.scoreboard import README, keep_ancestor, scores_of, with_table
from train.scores import reliability_diagram, table

LIMITS = {
    "pets": """\
- It knows cats and dogs. Other animals, toys and drawings are taken for background or, at times, for a pet.
- The test pictures are a part of the official ones, mostly of 13 breeds: the score is not the official test score.
- Half of the training trimaps are derived from binary masks, a border band about 12 px wide at 384 px; they are grown
  by 1.5 px at 300 px, to reach as far out as those drawn by hand.
- Do not use it to identify animals or to decide on their treatment.""",
    "water": """\
- The truth comes from a thresholded water index, stored as JPEG: thin rivers and shores are noisy in it.
- It saw Sentinel-2 pictures in natural colours at 10 m; other sensors, false colours, clouds and shadows mislead it.
- Black areas outside the satellite's footprint are called water by the truth. They were not learnt from, but mostly
  come out as water too: crop them before you measure areas.
- Do not use it for flood warnings, navigation or legal boundaries.""",
    "nuclei": """\
- It counts what one focal plane shows; strongly overlapping nuclei are parted by a guess.
- Stained tissue is much harder for it than fluorescence, and rare in its training data.
- Pictures should show nuclei roughly 8 to 60 pixels across; scale others first.
- Research use only: it is no medical device and must not decide on a diagnosis.""",
    "cars": """\
- It marks passenger cars. Vans, buses, lorries and motorcycles are background or, at times, marked in part.
- Cars smaller than about 20 pixels after scaling to the working size are missed.
- Street scenes come from one city and one camera (CamVid); night and snow are hardly seen.
- Not for driving, surveillance or enforcement.""",
}

# What of the data the shipped weights were trained and measured on, and what is not as its publishers have it.
USED = {
    "pets": """\
1,381 of the 3,680 pictures of trainval, at most 300 pixels wide or high, as test 298 of the 3,669, and VOC's 1,602
training pictures with SBD's labels; its 146 validation pictures are only measured on (split `voc`). `--download` gives
VOC's own 1,464 and 1,449.""",
    "water": """\
2,687 of the 2,841 pictures, at most 256 pixels wide or high: those that were larger show more than 10 m in a pixel.""",
    "nuclei": """\
581 of the 670 folders of stage1_train, with the labels that the community mended; as a test of strange pictures, all
65 of stage1_test, which had a say in the limit below which pictures are read enlarged
([the experiments](../../docs/experiments.md) tell how).""",
    "cars": """\
all of CamVid, saved as JPEG; 356 pictures of Graz-02; 184 studio photos, two of 186 left out that show a test
picture's car; and of VOC's 1,602 training pictures with SBD's labels the 424 that show a car or are every fourth of
the others. VOC's 146 validation pictures are only measured on (split `voc`). `--download` gives VOC's own 1,464 and
1,449.""",
}

# What the twenty worst test pictures have in common, by looking at them.
WORST = {
    "pets": """\
in half of them hardly any border is drawn, as in pictures of VOC, which have none and whose outlines are ignored;
fabric, cushions and wood in the colour of the fur are taken for the pet, and tails and paws in front of something else
are lost.""",
    "water": """\
in most of them the truth is wrong rather than the mask: lakes that it lacks, whole pictures that it calls water, and
specks of its index over salt, snow and haze. The model's own errors are water with ice or salt on it, lakes overgrown
with green, and strips a few pixels wide.""",
    "nuclei": """\
tissue in strong stain, where it draws more than the truth has, and very dark fluorescence, where it draws nuclei too
small. On other laboratories' pictures it finds only parts of large nuclei in pale tissue, and nuclei are drawn wider
there than in what it learnt from.""",
    "cars": """\
street scenes whose only cars are far away, a few pixels each after scaling, and a lorry at dusk, which the truth calls
a car and the model mostly does not.""",
}


# The encoder that the shipped weights began with, where they take its values.
STARTED = """
The encoder began as Google's MobileNetV2 for ImageNet (`mobilenet_v2_1.0_224_quant.tflite` of google-coral/test_data,
Apache-2.0, dequantised), given by `--encoder`; without that option the command downloads smp's."""

SPLITS = {"voc": ", photographs from Pascal VOC", "stage1_test": ", pictures of other laboratories"}


def card(task: Task) -> str:
    """The model card of a task as Markdown."""
    folder = WEIGHTS / task.name
    config = load_config(folder)
    scores = scores_of(task.name)
    megabytes = (folder / WEIGHTS_FILE).stat().st_size / 1e6
    parameters = count_parameters(build_network(config.network))
    sources = "\n".join(f"- [{s.title}]({s.url}), {s.licence}. {s.citation}." for s in task.sources)
    blocks = "\n\n".join(
        f"Split `{split}`{SPLITS.get(split, '')}:\n\n```\n{table(found)}\n```" for split, found in scores.items()
    )
    recipe = "\n".join(f"| {name} | {value} |" for name, value in config.recipe.items() if value not in ({}, None))
    trained = config.metrics
    names = ", ".join(task.class_names)
    return f"""---
library_name: segmentation-models-pytorch
pipeline_tag: image-segmentation
license: other
license_name: see-training-data
---

# {task.title}: {task.description}

Classes, in id order: {names}. {parameters:,} parameters, {megabytes:.1f} MB in half precision.

```python
from segmenter import Segmenter

result = Segmenter.load("{task.name}").predict("photo.jpg")
```

The code is MIT. The weights derive from the data below; its terms apply to them.
{parting(config)}
## Data

{sources}

Trained and measured on {USED[task.name]}

## Scores

`own_size` compares masks at each picture's own size, `ancestor_protocol` brings both masks to 128x128 by nearest
neighbour first, and `small_picture` gives the model nothing but a 128x128 version of the picture.
`python -m train.evaluate {task.name} --data DIR --split SPLIT` measures them again.

{blocks}

## Confidence

{confidence(config, scores["test"])}

## Recipe

{reproduction(config)}
It took {trained.get("minutes", 0):.0f} minutes on {trained.get("hardware", "a CPU")}. The weights of epoch
{trained.get("epoch", 0) + 1:.0f} were best on validation (mean IoU {trained.get("val_mean_iou", 0):.3f}).

| setting | value |
|---|---|
{recipe}

## Limits

{LIMITS[task.name]}

The twenty worst test pictures (`--sheets DIR` draws them): {WORST[task.name]}
"""


def parting(config: Config) -> str:
    """How single objects are found, as a paragraph of Markdown; empty for a model that does not part them."""
    if config.seed_map is None:
        return ""
    enlarged = (
        f", and a picture in whose middle the median object has fewer than {config.zoom_below:g} pixels is "
        f"read enlarged {config.zoom:g} times"
        if config.zoom_below
        else ""
    )
    return f"""
Chosen on validation by AP: an object grows from where its core is likelier than {config.seed_threshold:g}, has at least
{config.min_object} pixels{enlarged}.
"""


def reproduction(config: Config) -> str:
    """Whether today's default recipe is the one that made the weights."""
    training = importlib.import_module(f"train.{config.task}").TRAINING
    command = f"`python -m train.{config.task} --data DIR`"
    recipe = Recipe.of(config.recipe)
    of_google = recipe.init == "imagenet" and tuple(config.mean) == (0.5, 0.5, 0.5)
    if training.recipes["default"] == recipe:
        taught = (
            f", after its recipe `{recipe.teacher}`, from whose probabilities it learns too and whose minutes are not "
            "counted here"
        )
        return f"{command} trains by this recipe{taught if recipe.teacher else ''}.{STARTED if of_google else ''}"
    return (
        f"These weights were made by an earlier recipe, which stands below; {command} trains by today's, which "
        "[the experiments](../../docs/experiments.md) compare with it."
    )


def confidence(config: Config, scores: dict[str, Any]) -> str:
    """What the model's confidence is worth, as Markdown."""
    own = scores["own_size"]
    offsets = dict(zip(config.classes, config.offsets, strict=False))
    added = ", ".join(f"{offset:+.2f} for {name}" for name, offset in offsets.items() if offset)
    shifts = f", then shifted by {added}" if added else ""
    text = f"""\
Logits are divided by {config.temperature:.2f}{shifts}, found on validation.
On the test pictures the expected calibration error is {own["ece"]:.3f}. Below, a bar is the share of right pixels and
`|` the mean confidence of a bin.

```
{reliability_diagram(own["reliability"])}
```"""
    flagged = scores.get("unfamiliar")
    if flagged is None:
        return text
    others = [f"{share:.0%} of {name.split()[1]}" for name, share in flagged.items() if not name.endswith(config.task)]
    return f"""{text}

A picture that does not look like what the model was trained on is said to be one. So are
{flagged[f"flagged {config.task}"]:.1%} of the model's own test pictures, and of the other tasks' test pictures
{", ".join(others)}."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m train.cards", description=__doc__.split("\n")[0])
    parser.add_argument("--ancestor", type=Path, help="folder of a finished run of an ancestor's recipe, to keep")
    options = parser.parse_args(arguments)
    try:
        if options.ancestor:
            keep_ancestor(options.ancestor)
    except (DataError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    for task in TASKS.values():
        (WEIGHTS / task.name / "README.md").write_text(card(task), encoding="utf-8")
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
