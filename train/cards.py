"""Write the model cards and the README's table from what was measured: `python -m train.cards`.

Reads ``weights/<task>/{config,metrics,ancestor}.json``; writes ``weights/<task>/README.md`` and the part of
the README between its two marks. ``--ancestor runs/TASK-ancestor`` keeps the scores of a run of an ancestor's
recipe in ``weights/<task>/ancestor.json`` first.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from segmenter.config import METRICS_FILE, WEIGHTS_FILE, Config, load_config
from segmenter.files import write_whole
from segmenter.networks import build_network, count_parameters
from segmenter.predict import WEIGHTS
from segmenter.tasks import TASKS, Task
from train.recipe import Recipe
from train.scores import reliability_diagram, table

README = WEIGHTS.parent / "README.md"
START, END = "<!-- scores: written by python -m train.cards -->", "<!-- end of scores -->"

ANCESTOR_FILE = "ancestor.json"

# The scores that head each task: (title, split, block or source, name of the score, what the ancestor's own page or
# log states of it, by its own protocol and on its own split).
HEADLINES: dict[str, list[tuple[str, str, str, str, str]]] = {
    "pets": [
        ("pixel accuracy", "test", "own_size", "pixel_accuracy", ""),
        ("pixel accuracy of masks at 128x128", "test", "ancestor_protocol", "pixel_accuracy", "0.870"),
        ("mean IoU", "test", "own_size", "mean_iou", ""),
        ("IoU of pet or border against background", "test", "own_size", "foreground_iou", ""),
    ],
    "water": [
        ("mean IoU of masks at 128x128", "test", "ancestor_protocol", "mean_iou", "0.748"),
        ("mean IoU, given a 128x128 picture", "test", "small_picture", "mean_iou", "0.748"),
        ("mean IoU, no-data ignored", "test", "own_size_no_data_ignored", "mean_iou", ""),
    ],
    "nuclei": [
        ("IoU", "test", "own_size", "foreground_iou", ""),
        ("AP at 0.5", "test", "own_size", "ap_50", ""),
        ("IoU on other laboratories' pictures", "stage1_test", "own_size", "foreground_iou", ""),
        ("AP at 0.5 on other laboratories' pictures", "stage1_test", "own_size", "ap_50", ""),
    ],
    "cars": [
        ("IoU on CamVid", "test", "CamVid", "foreground_iou", ""),
        ("IoU on Graz-02", "test", "Graz-02", "foreground_iou", ""),
        ("IoU on studio photos", "test", "studio", "foreground_iou", ""),
    ],
}

LIMITS = {
    "pets": """\
- It knows cats and dogs. Other animals, toys and drawings are taken for background or, at times, for a pet.
- The test pictures are a part of the official ones, mostly of 13 breeds: the score is not the official test score.
- Half of the training trimaps have a border band derived from binary masks, about 12 px at 384 px.
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

# What the twenty worst test pictures have in common, by looking at them.
WORST = {
    "pets": """\
fabric, cushions and wood in the colour of the fur are taken for the pet, legs in deep shade are lost, and where an
animal fills the picture the border between its parts is not drawn.""",
    "water": """\
in most of them the truth is wrong rather than the mask: lakes that it lacks, whole pictures that it calls water, and
specks of its index over salt, snow and haze. The model's own errors are bright salt lakes, shallow shores, and strips a
few pixels wide.""",
    "nuclei": """\
tissue in another stain or at a larger magnification than the training pictures, of which it finds parts only, and very
dark fluorescence, where it draws nuclei too small.""",
    "cars": """\
street scenes whose only cars are far away, a few pixels each after scaling, and a lorry at dusk that fills a third of
the picture.""",
}


def scores_of(task: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((WEIGHTS / task / METRICS_FILE).read_text(encoding="utf-8"))
    return found


def headlines(task: str) -> list[list[str]]:
    """Rows of the scores that head a task: title, the ancestor's own, our run of its recipe's, ours."""
    path = WEIGHTS / task / ANCESTOR_FILE
    ancestor = json.loads(path.read_text(encoding="utf-8"))["scores"] if path.is_file() else {}
    return [
        [title, published, score(ancestor, split, block, name), score(scores_of(task), split, block, name)]
        for title, split, block, name, published in HEADLINES[task]
    ]


def score(scores: dict[str, Any], split: str, block: str, name: str) -> str:
    """One score as text, empty where it was not measured."""
    blocks = scores.get(split, {})
    found = (blocks | blocks.get("own_size_by_source", {})).get(block, {}).get(name)
    return "" if found is None else f"{found:.3f}"


def ancestor_run(task: str) -> str:
    """How long the ancestor's recipe was run, as text; empty where it was not."""
    path = WEIGHTS / task / ANCESTOR_FILE
    if not path.is_file():
        return ""
    run = json.loads(path.read_text(encoding="utf-8"))
    recipe = importlib.import_module(f"train.{task}").TRAINING.recipes["ancestor"]
    text = f"{task} {run['epochs']} of {recipe.epochs} epochs"
    if run["recipe"]["epochs"] == recipe.epochs > run["epochs"]:
        text += ", stopped early as it says"
    return f"{text} ({run['minutes']:.0f} minutes)"


def keep_ancestor(folder: Path) -> None:
    """Take the scores of a finished run of an ancestor's recipe into ``ancestor.json``."""
    config = load_config(folder)
    run = {
        "recipe": config.recipe,
        "epochs": config.metrics["epochs"],
        "minutes": config.metrics["minutes"],
        "scores": json.loads((folder / METRICS_FILE).read_text(encoding="utf-8")),
    }
    write_whole(WEIGHTS / config.task / ANCESTOR_FILE, (json.dumps(run, indent=2) + "\n").encode())


def card(task: Task) -> str:
    """The model card of a task as Markdown."""
    folder = WEIGHTS / task.name
    config = load_config(folder)
    scores = scores_of(task.name)
    megabytes = (folder / WEIGHTS_FILE).stat().st_size / 1e6
    parameters = count_parameters(build_network(config.network))
    sources = "\n".join(f"- [{s.title}]({s.url}), {s.licence}. {s.citation}." for s in task.sources)
    blocks = "\n\n".join(f"Split `{split}`:\n\n```\n{table(found)}\n```" for split, found in scores.items())
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

## Data

{sources}

## Scores

`own_size` compares masks at each picture's own size, `ancestor_protocol` brings both masks to 128x128 by nearest
neighbour first, and `small_picture` gives the model nothing but a 128x128 version of the picture.
`python -m train.evaluate {task.name} --data DIR --split SPLIT` measures them again.

{blocks}

## Confidence

{confidence(config, scores["test"])}

## Recipe

{reproduction(config)}
It took {trained.get("minutes", 0):.0f} minutes on two CPU cores. The weights of epoch
{trained.get("epoch", 0) + 1:.0f} were best on validation (mean IoU {trained.get("val_mean_iou", 0):.3f}).

| setting | value |
|---|---|
{recipe}

## Limits

{LIMITS[task.name]}

The twenty worst test pictures (`--sheets DIR` draws them): {WORST[task.name]}
"""


def reproduction(config: Config) -> str:
    """Whether today's default recipe is the one that made the weights."""
    training = importlib.import_module(f"train.{config.task}").TRAINING
    command = f"`python -m train.{config.task} --data DIR`"
    recipe = Recipe(**config.recipe)
    if json.loads(json.dumps(asdict(training.recipes["default"]))) == asdict(recipe):
        before = f", after its recipe `{recipe.start}`, whose minutes are not counted here" if recipe.start else ""
        if recipe.start_share:
            before += f", and then takes {recipe.start_share:.0%} of each weight from what `{recipe.start}` left"
        mixed = config.metrics.get("mixed")
        if mixed:
            return (
                f"{command} trains by this recipe{before}. Three quarters of each weight are of such a run, one of "
                f"{mixed}: the mean holds better on other laboratories' pictures "
                "([the experiments](../../docs/experiments.md))."
            )
        return f"{command} trains by this recipe{before}."
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


def readme_table() -> str:
    """For the README: the scores, one row a model, and what each learnt from."""
    rows = [
        "| model | score on test pictures | its ancestor published | our run of its recipe | this model |",
        "|---|---|---|---|---|",
    ]
    for name in TASKS:
        for number, cells in enumerate(headlines(name)):
            first = "" if number else f"[{name}](weights/{name}/README.md)"
            rows.append(f"| {' | '.join([first, *cells[:-1]])} | **{cells[-1]}** |")
    runs = [text for text in map(ancestor_run, TASKS) if text]
    if runs:
        rows += ["", f"The ancestors' recipes were run on two CPU cores: {'; '.join(runs)}."]
    rows += ["", "| model | learnt from | licence of the data | measured by |", "|---|---|---|---|"]
    for task in TASKS.values():
        sources = "; ".join(f"[{source.title}]({source.url})" for source in task.sources)
        licences = "; ".join(dict.fromkeys(source.licence for source in task.sources))
        rows.append(f"| {task.name} | {sources} | {licences} | `python -m train.evaluate {task.name}` |")
    return "\n".join(rows)


def with_table(readme: str) -> str:
    """The README with its table written anew."""
    before, _, rest = readme.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{readme_table()}\n{END}{after}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m train.cards", description=__doc__.split("\n")[0])
    parser.add_argument("--ancestor", type=Path, help="folder of a finished run of an ancestor's recipe, to keep")
    options = parser.parse_args(arguments)
    if options.ancestor:
        keep_ancestor(options.ancestor)
    for task in TASKS.values():
        (WEIGHTS / task.name / "README.md").write_text(card(task), encoding="utf-8")
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
