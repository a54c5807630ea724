"""A model and a score in facts for programs, and these facts as text for people."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from segmenter.config import METRICS_FILE, WEIGHTS_FILE
from segmenter.networks import count_parameters, load_network
from segmenter.predict import WEIGHTS
from segmenter.scoring import Score
from segmenter.tasks import Task

SCORES = {"foreground_iou": "foreground IoU", "mean_iou": "mean IoU", "pixel_accuracy": "pixel accuracy"}
POLICIES = {
    "fit": "the whole picture, scaled to {size} pixels on its longer side",
    "tile": "at its own scale, in tiles of {size} pixels",
    "stretch": "the whole picture, stretched to {size} x {size} pixels",
}


def describe(task: Task) -> dict[str, Any]:
    """The facts of a task's model: classes, working ``size`` in pixels, input policy, parameters, megabytes, sources
    with their licences, and the scores on its ``test`` pictures at their own size, None where they are not measured.

    WeightsError as in ``load_network``.
    """
    folder = WEIGHTS / task.name
    network, config = load_network(folder)
    try:
        test = json.loads((folder / METRICS_FILE).read_text(encoding="utf-8"))["test"]["own_size"]
        scores = {"pictures": test["images"], **{name: test[name] for name in SCORES}}
    except (OSError, ValueError, KeyError, TypeError):
        scores = None
    return {
        "task": task.name,
        "title": task.title,
        "description": task.description,
        "classes": list(task.class_names),
        "size": config.size,
        "input_policy": config.input_policy,
        "parameters": count_parameters(network),
        "megabytes": round((folder / WEIGHTS_FILE).stat().st_size / 1e6, 1),
        "scores": scores,
        "sources": [asdict(source) for source in task.sources],
    }


def description_text(facts: dict[str, Any]) -> str:
    """What ``describe`` found, for people: several lines."""
    scores = facts["scores"]
    measured = "not measured"
    if scores is not None:
        numbers = ", ".join(f"{title} {scores[name]:.3f}" for name, title in SCORES.items())
        measured = f"{numbers} on {scores['pictures']} test pictures"
    rows = [
        ("classes", ", ".join(facts["classes"])),
        ("input", POLICIES[facts["input_policy"]].format(size=facts["size"])),
        ("parameters", f"{facts['parameters']:,} ({facts['megabytes']} MB)"),
        ("scores", measured),
    ]
    for source in facts["sources"]:
        rows += [("learnt from", f"{source['title']}, {source['licence']}"), ("", source["url"])]
    return "\n".join([f"{facts['task']}: {facts['description']}", *(f"  {name:11}  {text}" for name, text in rows), ""])


def score_facts(task: Task, picture: Path, true_mask: Path, found: Score, notice: str | None) -> dict[str, Any]:
    """A score as what JSON takes; the fields are those of ``Score``."""
    return {
        "task": task.name,
        "picture": str(picture),
        "true_mask": str(true_mask),
        "classes": list(task.class_names),
        "notice": notice,
        **found.plain(),
    }


def score_text(facts: dict[str, Any]) -> str:
    """What ``score_facts`` found, for people: the scores, those of each class, and the confusion matrix."""
    names = facts["classes"]
    wide = max(map(len, [*names, "boundary F-score"]))
    column = max(10, *map(len, names), *(len(f"{count:,}") for row in facts["confusion"] for count in row))
    lines = [
        f"{title:{wide}}  {facts[name]:{column}.4f}"
        for name, title in (*SCORES.items(), ("boundary_f", "boundary F-score"))
    ]
    lines += [f"{'ignored pixels':{wide}}  {facts['ignored']:{column},}", ""]
    lines += [f"{'class':{wide}}  {'IoU':>{column}}  {'Dice':>{column}}"]
    lines += [f"{name:{wide}}  {facts['iou'][name]:{column}.4f}  {facts['dice'][name]:{column}.4f}" for name in names]
    lines += ["", "pixels: rows are the true class, columns the predicted one"]
    lines += [" " * wide + "".join(f"  {name:>{column}}" for name in names)]
    for name, row in zip(names, facts["confusion"], strict=True):
        lines.append(f"{name:{wide}}" + "".join(f"  {count:{column},}" for count in row))
    return "\n".join([*lines, *([facts["notice"]] if facts["notice"] else [])])
