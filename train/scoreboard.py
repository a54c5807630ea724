"""The README's table: every model's scores beside what its ancestor published and what our run of its recipe has."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from segmenter.config import METRICS_FILE, load_config
from segmenter.files import write_whole
from segmenter.predict import WEIGHTS
from segmenter.tasks import TASKS
from train.data import DataError
from train.recipe import Recipe

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
    found = value(scores, split, block, name)
    return "" if found is None else f"{found:.3f}"


def value(scores: dict[str, Any], split: str, block: str, name: str) -> float | None:
    """One score of a split, by a block of what ``train.evaluate`` measures or by a source of its pictures; None where
    it was not measured."""
    blocks = scores.get(split, {})
    found: float | None = (blocks | blocks.get("own_size_by_source", {})).get(block, {}).get(name)
    return found


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
    minutes = max(1, round(run["minutes"]))
    return f"{text} ({minutes} minute{'s' * (minutes > 1)} on {run['hardware']})"


def keep_ancestor(folder: Path) -> None:
    """Take the scores of a finished run of an ancestor's recipe into ``ancestor.json``; DataError for another run, and
    for one that was tested on other pictures than the weights that it stands beside."""
    config = load_config(folder)
    path = folder / METRICS_FILE
    scores = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if "test" not in scores:
        raise DataError(f"{folder} holds no test scores; give the folder of a run that has ended.")
    own = importlib.import_module(f"train.{config.task}").TRAINING.recipes["ancestor"]
    if replace(Recipe.of(config.recipe), epochs=own.epochs, split=own.split) != own:
        raise DataError(f"{folder} was not trained by the recipe ancestor of {config.task}; give a run of that.")
    images, ours = (found["test"]["own_size"]["images"] for found in (scores, scores_of(config.task)))
    if images != ours:
        raise DataError(
            f"{folder} was tested on {images} pictures, the weights of {config.task} on {ours}; train it with "
            "--split published."
        )
    run = {
        "recipe": config.recipe,
        "epochs": config.metrics["epochs"],
        "minutes": config.metrics["minutes"],
        "hardware": config.metrics["hardware"],
        "scores": scores,
    }
    write_whole(WEIGHTS / config.task / ANCESTOR_FILE, (json.dumps(run, indent=2) + "\n").encode())


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
        rows += ["", f"The ancestors' recipes were run so far: {'; '.join(runs)}."]
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
