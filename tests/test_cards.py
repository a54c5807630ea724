"""What the README and the model cards state is what was measured."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from segmenter.config import METRICS_FILE, load_config, save_config
from segmenter.predict import WEIGHTS
from segmenter.tasks import TASKS
from train import cards, nuclei, scoreboard
from train.cards import card
from train.scoreboard import README, with_table


@pytest.mark.parametrize("task", TASKS)
def test_model_card_is_up_to_date(task):
    assert (WEIGHTS / task / "README.md").read_text(encoding="utf-8") == card(TASKS[task])


def test_readme_table_is_up_to_date():
    text = README.read_text(encoding="utf-8")
    assert text == with_table(text)
    assert all(f"python -m train.evaluate {task}" in text for task in TASKS)


@pytest.fixture
def ancestor(tmp_path, monkeypatch):
    """The folder of a run of the ancestor's recipe that did 7 of 50 epochs, and cards that are written beside it."""
    for task in TASKS:
        (tmp_path / "weights" / task).mkdir(parents=True)
        for file in (WEIGHTS / task).iterdir():
            if file.name != scoreboard.ANCESTOR_FILE:
                (tmp_path / "weights" / task / file.name).write_bytes(file.read_bytes())
    for module in (cards, scoreboard):
        monkeypatch.setattr(module, "WEIGHTS", tmp_path / "weights")
    monkeypatch.setattr(cards, "README", tmp_path / "README.md")
    (tmp_path / "README.md").write_text(f"before {scoreboard.START} old {scoreboard.END} after")
    recipe = nuclei.RECIPES["ancestor"]
    run = tmp_path / "run"
    run.mkdir()
    metrics = {"epoch": 1, "epochs": 7, "minutes": 3.6, "hardware": "2 CPU cores"}
    save_config(replace(load_config(WEIGHTS / "nuclei"), recipe=asdict(recipe), metrics=metrics), run)
    write_scores(run, scoreboard.scores_of("nuclei")["test"]["own_size"]["images"])
    return run


def write_scores(run, images):
    scores = {"test": {"own_size": {"images": images, "foreground_iou": 0.4321}}}
    (run / METRICS_FILE).write_text(json.dumps(scores))


def test_another_run_is_no_ancestor(ancestor, capsys):
    def refusal():
        with pytest.raises(SystemExit):
            cards.main(["--ancestor", str(ancestor)])
        return capsys.readouterr().err

    write_scores(ancestor, 3)
    assert "was tested on 3 pictures" in refusal()
    (ancestor / METRICS_FILE).unlink()
    assert "holds no test scores" in refusal()
    write_scores(ancestor, scoreboard.scores_of("nuclei")["test"]["own_size"]["images"])
    config = load_config(ancestor)
    save_config(replace(config, recipe={**config.recipe, "learning_rate": 0.1}), ancestor)
    assert "was not trained by the recipe ancestor of nuclei" in refusal()
    save_config(replace(config, recipe={**config.recipe, "epochs": 3}), ancestor)
    cards.main(["--ancestor", str(ancestor)])


def test_the_readme_has_a_column_for_the_run_of_the_ancestors_recipe(ancestor):
    cards.main([])
    assert "0.432" not in cards.README.read_text()
    cards.main(["--ancestor", str(ancestor)])
    text = cards.README.read_text()
    ours = json.loads((WEIGHTS / "nuclei" / METRICS_FILE).read_text())["test"]["own_size"]["foreground_iou"]
    assert f"| [nuclei](weights/nuclei/README.md) | IoU |  | 0.432 | **{ours:.3f}** |" in text
    assert "nuclei 7 of 50 epochs, stopped early as it says (4 minutes on 2 CPU cores)." in text
    assert text.startswith("before ") and text.endswith(" after")


def test_a_run_cut_short_is_said_to_be_one(ancestor):
    config = load_config(ancestor)
    save_config(replace(config, recipe={**config.recipe, "epochs": 7}), ancestor)
    cards.main(["--ancestor", str(ancestor)])
    assert "nuclei 7 of 50 epochs (4 minutes on 2 CPU cores)." in cards.README.read_text()
