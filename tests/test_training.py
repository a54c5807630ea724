"""Whole runs on generated data on the CPU: what they write, and that a killed one goes on to the same end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from generated_data import write_all
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from segmenter import Segmenter
from segmenter.config import load_config
from segmenter.networks import build_network, count_parameters
from segmenter.predict import WEIGHTS
from train import cars, nuclei, pets, water
from train.checkpoint import Kept, WholeCheckpoints
from train.data import DataError
from train.evaluate import evaluate_run
from train.fit import default_precision, running_mean
from train.module import SegmentationModule
from train.recipe import Recipe
from train.run import main
from train.start import start_network
from train.voc import CAR, voc_examples

TRAININGS = {module.TRAINING.task.name: module.TRAINING for module in (pets, water, nuclei, cars)}
# Of the published networks; water's has a third map there, which is 33 more.
ANCESTORS = {"pets": 34_513_475, "water": 8_639_811 - 33, "nuclei": 9_946_355, "cars": 2_158_722}
TINY = {"_model_class": "ClassicUNet", "filters": [4, 8], "dropout": 0.2, "norm": True}
SMALL = {"network": TINY, "size": 64, "crop": 64, "overlap": 16, "batch": 4, "epochs": 2, "repeat": 1}


pytestmark = pytest.mark.usefixtures("own_cache")  # in which the networks that are made here are converted


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_all(tmp_path_factory.mktemp("data"))


def small(training, **changes):
    own = {name: recipe for name, recipe in training.recipes.items() if name != "ancestor"}
    return replace(training, recipes={name: replace(recipe, **SMALL | changes) for name, recipe in own.items()})


def arguments(root, out, *more):
    return ["--data", str(root), "--out", str(out), "--encoder", "random", "--device", "cpu", "--workers", "0", *more]


@pytest.mark.parametrize("task", TRAININGS)
def test_a_run_writes_weights_scores_curves_and_sheets(root, tmp_path, task, capsys):
    changes = {"network": pets.RECIPES["default"].network} if task == "pets" else {}
    main(small(TRAININGS[task], **changes), arguments(root, tmp_path))
    printed = capsys.readouterr().out
    assert "learning_rate" in printed and "mean_iou" in printed  # its recipe first, its scores last
    for name in ("config.json", "model.safetensors", "metrics.json", "curves.png"):
        assert (tmp_path / name).stat().st_size > 0
    assert (tmp_path / "predictions-test.png").is_file() and (tmp_path / "predictions-train.png").is_file()
    scores = json.loads((tmp_path / "metrics.json").read_text())["test"]
    assert 0 <= scores["own_size"]["mean_iou"] <= 1 and scores["own_size"]["images"] >= 3
    result = Segmenter.load(task, tmp_path).predict(torch.zeros(70, 50, 3, dtype=torch.uint8).numpy())
    assert result.class_ids.shape == (70, 50)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {"train_loss", "val_loss", "val_mean_iou"} <= set(events.Tags()["scalars"])
    assert len(events.Images("image, true, predicted")) == 2  # one sheet an epoch


def test_learning_lowers_the_loss(root, tmp_path):
    recipe = {"epochs": 6, "learning_rate": 5e-3, "augment": "none", "teacher": "", "ema": 0.0}
    main(small(water.TRAINING, **recipe), arguments(root, tmp_path))
    losses = [event.value for event in EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("train_loss")]
    assert len(losses) == 6 and losses[-1] < 0.8 * losses[0]


def test_ancestors_of_the_classic_kind_train_too(root, tmp_path):
    ancestor = replace(cars.RECIPES["ancestor"], network=TINY, size=32, batch=4)
    training = replace(cars.TRAINING, recipes={"ancestor": ancestor})
    main(training, [*arguments(root, tmp_path), "--recipe", "ancestor", "--epochs", "1"])
    segmenter = Segmenter.load("cars", tmp_path)
    assert segmenter.config.input_policy == "stretch" and segmenter.config.recipe["otsu"]


def test_an_ancestor_that_counts_objects_is_read_again(root, tmp_path, monkeypatch):
    """Its pictures are stretched, so none of them is read enlarged."""
    monkeypatch.setattr("train.calibrate.choose_zoom", lambda *arguments: pytest.fail("looked for a zoom"))
    ancestor = replace(nuclei.RECIPES["ancestor"], network=TINY, size=32, batch=4)
    training = replace(nuclei.TRAINING, recipes={"ancestor": ancestor})
    main(training, [*arguments(root, tmp_path), "--recipe", "ancestor", "--epochs", "1"])
    assert Segmenter.load("nuclei", tmp_path).config.zoom_below == 0
    assert (tmp_path / "metrics.json").is_file()


@pytest.mark.parametrize("task", TRAININGS)
def test_ancestor_networks_are_the_published_ones(task):
    training = TRAININGS[task]
    recipe = replace(training.recipes["ancestor"], init="random")
    network, _ = start_network(recipe, training.config(recipe), "random")
    maps = len(training.network_classes or training.task.classes)
    assert network(torch.zeros(1, 3, 128, 128)).shape == (1, maps, 128, 128)
    assert count_parameters(network) == ANCESTORS[task]


def test_an_encoder_that_cannot_be_fetched_names_the_way_out(monkeypatch):
    def offline(name, weights):
        raise ConnectionError("no network")

    monkeypatch.setattr("segmentation_models_pytorch.encoders.get_encoder", offline)
    recipe = pets.RECIPES["default"]
    with pytest.raises(DataError, match="mobilenet_v2 could not be downloaded.*--encoder FILE.safetensors"):
        start_network(recipe, pets.TRAINING.config(recipe), "imagenet")


@pytest.mark.parametrize(
    ("native", "precision"), [(True, "bf16-mixed"), (False, "32-true")], ids=["bf16 CPU", "older CPU"]
)
def test_precision_follows_the_processor(monkeypatch, native, precision):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    assert default_precision("cpu") == precision


RUNNER = """
import sys
from test_training import main, small, water
main(small(water.TRAINING, epochs=3), sys.argv[1:])
"""


def start(
    root: Path,
    out: Path,
    *more: str,
    before: str = "",
    first: Sequence[str] = (),
    stderr: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """A run in a process of its own, which has none of the threads that tests before it left."""
    command = [sys.executable, "-c", before + RUNNER, *first, *arguments(root, out, "--precision", "32-true", *more)]
    here = Path(__file__).parent.parent
    cache = {"XDG_CACHE_HOME": str(out.parent / "cache")}
    environment = {**os.environ, **cache, "PYTHONPATH": os.pathsep.join([str(here), str(here / "tests")])}
    return subprocess.Popen(command, cwd=here, env=environment, stdout=subprocess.DEVNULL, stderr=stderr)


def ended(process: subprocess.Popen[bytes]) -> int:
    """How a run ends; it is not left behind where it does not."""
    try:
        return process.wait(120)
    finally:
        process.kill()


def assert_same_weights(whole: Path, killed: Path) -> None:
    expected, found = (load_file(folder / "model.safetensors") for folder in (whole, killed))
    assert {key for key in expected if not torch.equal(found[key], expected[key])} == set()


KILLER = """
import functools, os, pathlib, signal, sys, torch
from train.module import SegmentationModule
place, count = sys.argv.pop(1), int(sys.argv.pop(1))

def killing(function):
    @functools.wraps(function)
    def kill_at_last(*arguments, **options):
        global count
        count -= 1
        if not count:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return kill_at_last

owner = {"replace": pathlib.Path, "save": torch}.get(place, SegmentationModule)
setattr(owner, place, killing(getattr(owner, place)))
"""


@pytest.mark.slow
@pytest.mark.robustness
def test_a_run_killed_again_and_again_resumes_to_the_same_weights(root, tmp_path):
    """Before a step, before the optimiser's, in validation, with a checkpoint made and with one written beside."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert ended(start(root, whole)) == 0
    for place, count in (
        ("training_step", 1),
        ("replace", 1),
        ("on_validation_epoch_end", 2),  # of the second epoch
        ("training_step", 2),
        ("save", 1),
        ("replace", 1),
        ("on_validation_epoch_end", 2),  # of the third
        ("validation_step", 1),
        ("optimizer_step", 1),
    ):
        resume = ["--resume"] if list(killed.rglob("last.ckpt")) else []
        assert ended(start(root, killed, *resume, before=KILLER, first=[place, str(count)])) == -signal.SIGKILL
        assert not (killed / "model.safetensors").exists()
    assert ended(start(root, killed, "--resume")) == 0
    assert_same_weights(whole, killed)
    metrics = [json.loads((folder / "config.json").read_text())["_segmenter"]["metrics"] for folder in (whole, killed)]
    assert metrics[0]["epoch"] == metrics[1]["epoch"]


def test_mistakes_end_with_one_sentence(root, tmp_path, capsys):
    for more, sentence in (
        (["--resume"], "to resume from; start without --resume."),
        (["--download"], "water cannot be downloaded without a login"),
        (["--encoder", str(tmp_path / "none.safetensors")], "none.safetensors"),
        (["--encoder", str(Path(__file__))], "is damaged or not safetensors; give the file of an encoder."),
        *([] if torch.cuda.is_available() else [(["--device", "cuda"], "device 'cuda' is not available here")]),
    ):
        with pytest.raises(SystemExit) as caught:
            main(small(water.TRAINING), arguments(root, tmp_path, *more))
        assert caught.value.code == 2
        assert sentence in capsys.readouterr().err


def test_a_task_of_one_split_takes_no_other(root, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(nuclei.TRAINING, arguments(root, tmp_path, "--split", "ancestor"))
    assert capsys.readouterr().err == "error: nuclei has one split only, the published one; leave --split out.\n"


@pytest.mark.slow
def test_a_damaged_picture_is_one_sentence_from_a_worker_too(tmp_path):
    root = write_all(tmp_path / "data")
    for image in water.examples(root, "train", water.RECIPES["base"]):
        image.image.write_bytes(image.image.read_bytes()[:300])
    process = start(root, tmp_path / "out", "--recipe", "base", "--workers", "1", stderr=subprocess.PIPE)
    error = process.communicate(timeout=120)[1].decode().strip().split("error: ")[-1]
    assert process.returncode == 2
    assert error.count("\n") == 0
    assert "water_body_" in error and error.endswith("is damaged or incomplete; save or download it again.")


def test_few_pictures_are_calibrated_by_few(root, tmp_path, capsys):
    main(small(cars.TRAINING, epochs=1), arguments(root, tmp_path, "--recipe", "base", "--limit", "4"))
    assert "familiarity not known" in capsys.readouterr().out
    assert "unfamiliar" not in json.loads((tmp_path / "metrics.json").read_text())["test"]


def test_check_reads_everything_and_trains_nothing(root, tmp_path, capsys):
    main(small(water.TRAINING), [*arguments(root, tmp_path / "out"), "--check"])
    assert "train: " in capsys.readouterr().out and not (tmp_path / "out").exists()


def test_check_names_every_file_at_fault(tmp_path, capsys):
    root = write_all(tmp_path / "data")
    first, second, third, *_ = cars.studio(root)
    first.image.write_bytes(first.image.read_bytes()[:40])
    masks = root / "cars" / "car-segmentation" / "masks"
    Image.new("L", (7, 9)).save(masks / f"{second.name}.png")
    (masks / f"{third.name}.png").unlink()
    with pytest.raises(SystemExit):
        main(small(cars.TRAINING), [*arguments(root, tmp_path / "out"), "--check"])
    said = capsys.readouterr().err.split("error: ")[1]
    assert said.count("\n") == 3
    for file in (first.image, second.image, masks / f"{third.name}.png"):
        assert str(file) in said
    assert "but its mask is (9, 7)" in said and "No such file" in said


def test_check_names_what_listing_already_reads(tmp_path, capsys):
    """Pictures of nuclei and masks of VOC are looked at while the list is made."""
    root = write_all(tmp_path / "data")
    cell = next(e for e in nuclei.examples(root, "train", nuclei.RECIPES["default"]))
    cell.image.write_bytes(cell.image.read_bytes()[:60])
    mask = voc_examples(root, "train", (CAR,))[0].read_target.args[0]
    data = bytearray(mask.read_bytes())
    data[data.index(b"IDAT")] ^= 0xFF  # Pillow raises a SyntaxError
    mask.write_bytes(data)
    for training, file in ((nuclei.TRAINING, cell.image), (cars.TRAINING, mask)):
        with pytest.raises(SystemExit):
            main(small(training), [*arguments(root, tmp_path / "out"), "--check"])
        said = capsys.readouterr().err
        assert str(file) in said and "damaged" in said and "Traceback" not in said


def test_what_cannot_be_written_is_one_sentence(root, tmp_path, capsys, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device", "curves.png")

    monkeypatch.setattr("train.report.learning_curves", full)
    with pytest.raises(SystemExit):
        main(small(water.TRAINING, epochs=1), arguments(root, tmp_path))
    assert "error: 'curves.png' cannot be written or read (No space left on device); make" in capsys.readouterr().err


@pytest.mark.slow
def test_a_new_run_takes_nothing_from_an_old_one(root, tmp_path, capsys, monkeypatch):
    """Killed before its own first checkpoint, it has nothing to resume from, whatever lay in its folder."""
    training = small(cars.TRAINING, epochs=1)
    main(training, arguments(root, tmp_path))

    def killed(self, batch, index):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SegmentationModule, "training_step", killed)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            main(training, arguments(root, tmp_path))
    assert not (tmp_path / "metrics.json").exists() and not list(tmp_path.glob("predictions-*.png"))
    with pytest.raises(SystemExit):
        main(training, arguments(root, tmp_path, "--resume"))
    assert "last.ckpt to resume from; start without --resume" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("more", "named"), [(["--epochs", "3"], "epochs"), (["--limit", "5"], "pictures")])
def test_a_run_resumes_as_it_was_begun(root, tmp_path, capsys, more, named):
    main(small(water.TRAINING), [*arguments(root, tmp_path), "--recipe", "base"])
    with pytest.raises(SystemExit):
        main(small(water.TRAINING), [*arguments(root, tmp_path, "--resume", *more), "--recipe", "base"])
    assert f"begun with another value of {named}; give the options" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_that_stopped_early_is_not_trained_on(root, tmp_path):
    """As one that was killed between its last epoch and the end; it learns nothing, so it stops at once."""
    still = {**TINY, "norm": False, "dropout": 0.0}
    training = small(water.TRAINING, network=still, epochs=9, patience=1, learning_rate=0.0)
    given = [*arguments(root, tmp_path), "--recipe", "base"]
    main(training, given)
    before = json.loads((tmp_path / "config.json").read_text())["_segmenter"]["metrics"]["epochs"]
    kept = [torch.load(tmp_path / "checkpoints" / name, weights_only=False) for name in ("best.ckpt", "last.ckpt")]
    assert [checkpoint["epoch"] for checkpoint in kept] == [0, before - 1]
    main(training, [*given, "--resume"])
    again = json.loads((tmp_path / "config.json").read_text())["_segmenter"]["metrics"]["epochs"]
    assert before == again < 9


def test_an_encoder_that_nothing_reads_is_refused(root, capsys):
    with pytest.raises(SystemExit):
        main(water.TRAINING, ["--data", str(root), "--recipe", "ancestor", "--encoder", "none.safetensors"])
    assert "would not be read, as the recipe ancestor starts from nothing" in capsys.readouterr().err


@pytest.mark.parametrize("steps", range(1, 12))
def test_a_rate_for_any_number_of_steps(monkeypatch, steps):
    monkeypatch.setattr(SegmentationModule, "trainer", SimpleNamespace(estimated_stepping_batches=steps))
    recipe = small(water.TRAINING).recipes["base"]
    module = SegmentationModule(build_network(TINY | {"classes": 2}), recipe, water.TRAINING.config(recipe))
    found = module.configure_optimizers()
    rates = []
    for _ in range(steps):
        rates.append(found["optimizer"].param_groups[0]["lr"])
        found["optimizer"].step()
        found["lr_scheduler"]["scheduler"].step()
    assert min(rates) > 0 and max(rates) <= recipe.learning_rate * (1 + 1e-9)
    assert steps < 3 or rates[-1] < max(rates) / 10


def test_without_a_test_picture_nothing_is_measured(root, tmp_path, capsys):
    shutil.copytree(WEIGHTS / "water", tmp_path / "run")
    (tmp_path / "run" / "metrics.json").unlink()
    nothing = replace(water.TRAINING, examples=lambda root, split, recipe: [])
    evaluate_run(nothing, root, tmp_path / "run", SimpleNamespace(device="cpu", limit=None))
    assert "the split test holds no picture" in capsys.readouterr().out
    assert not (tmp_path / "run" / "metrics.json").exists()


@pytest.mark.parametrize("kind", [ModelCheckpoint, Kept], ids=["earlier", "now"])
def test_the_best_checkpoint_is_known_again_in_another_folder(tmp_path, kind):
    """Lightning takes the first epoch after a move for the best."""
    before, after = kind(tmp_path / "before", monitor="score"), Kept(tmp_path / "after", monitor="score")
    assert before.state_key == after.state_key
    for name in ("best_model_path", "kth_best_model_path"):
        setattr(before, name, str(tmp_path / "before" / "best.ckpt"))
    before.best_model_score = torch.tensor(0.7)
    before.best_k_models = {before.best_model_path: before.best_model_score}
    after.load_state_dict(before.state_dict())
    assert after.best_model_path == after.kth_best_model_path == str(tmp_path / "after" / "best.ckpt")
    assert after.best_model_score == 0.7 and list(after.best_k_models) == [after.best_model_path]


def test_check_names_a_value_that_is_no_class(tmp_path):
    trimap = Image.fromarray(np.full((4, 4), 255, np.uint8))
    trimap.save(tmp_path / "a.png")
    with pytest.raises(DataError, match="a.png holds the value 255; a trimap has 1 pet"):
        pets.read_trimap(tmp_path / "a.png")


def test_a_checkpoint_takes_its_place_whole(tmp_path, monkeypatch):
    path = tmp_path / "folder" / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"step": 1}, path)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(DataError, match="last.ckpt cannot be written .No space left on device.; make room"):
        WholeCheckpoints().save_checkpoint({"step": 2}, path)
    assert torch.load(path) == {"step": 1} and [file.name for file in path.parent.iterdir()] == ["last.ckpt"]


def test_a_recipe_with_a_teacher_trains_that_first(root, tmp_path, capsys):
    training = small(cars.TRAINING, epochs=1, learning_rate=0.01)
    main(training, arguments(root, tmp_path / "whole"))
    said = capsys.readouterr().out
    assert said.index("cars, recipe base") < said.index("cars, recipe default")
    teacher = tmp_path / "whole" / "base"
    assert (teacher / "model.safetensors").is_file()
    main(training, [*arguments(root, tmp_path / "taught"), "--teacher", str(teacher)])
    assert "recipe base" not in capsys.readouterr().out and not (tmp_path / "taught" / "base").exists()
    main(training, [*arguments(root, tmp_path / "whole"), "--teacher", str(teacher)])  # that of this very run
    assert_same_weights(tmp_path / "whole", tmp_path / "taught")
    main(small(cars.TRAINING, epochs=1, learning_rate=0.01, teacher=""), arguments(root, tmp_path / "alone"))
    taught, alone = (load_file(tmp_path / name / "model.safetensors") for name in ("taught", "alone"))
    assert any(not torch.equal(taught[key], alone[key]) for key in taught)


def test_a_teacher_of_other_classes_is_refused(root, tmp_path, capsys):
    main(small(water.TRAINING, epochs=1, teacher=""), arguments(root, tmp_path / "water"))
    with pytest.raises(SystemExit):
        main(small(cars.TRAINING), [*arguments(root, tmp_path / "cars"), "--teacher", str(tmp_path / "water")])
    assert "water holds a model of background, water, no teacher of this one; give" in capsys.readouterr().err


def test_a_teacher_goes_with_a_recipe_that_has_one(root, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(small(nuclei.TRAINING), [*arguments(root, tmp_path), "--teacher", "weights/nuclei"])
    assert "the recipe default of nuclei has no teacher; leave --teacher out." in capsys.readouterr().err


def test_a_run_resumes_with_the_teacher_it_was_begun_with(root, tmp_path, capsys):
    for name, seed in (("one", 1), ("other", 2)):
        main(small(water.TRAINING, epochs=1, seed=seed, teacher=""), arguments(root, tmp_path / name))
    training = small(water.TRAINING, epochs=1)
    given = [*arguments(root, tmp_path / "run"), "--teacher", str(tmp_path / "one")]
    with pytest.raises(SystemExit):
        main(training, [*given, "--resume"])
    assert "to resume from; start without --resume" in capsys.readouterr().err
    main(training, given)
    main(training, [*given, "--resume"])
    with pytest.raises(SystemExit):
        main(training, [*given[:-1], str(tmp_path / "other"), "--resume"])
    assert "begun with another value of teacher; give the options" in capsys.readouterr().err


def test_a_teacher_of_another_split_is_refused(root, tmp_path, capsys, monkeypatch):
    """What it has learnt from would be tested on."""
    monkeypatch.setattr(water, "ANCESTOR_VAL", 2)
    monkeypatch.setattr(water, "ANCESTOR_TEST", 2)
    training, taught = small(water.TRAINING, epochs=1), tmp_path / "taught"
    main(training, [*arguments(root, taught), "--recipe", "base"])
    training = replace(training, recipes={**training.recipes, "ancestor": water.RECIPES["ancestor"]})
    for option in ("--teacher", "--start"):
        with pytest.raises(SystemExit):
            main(training, arguments(root, tmp_path / "run", "--split", "ancestor", option, str(taught)))
        said = capsys.readouterr().err
        assert "taught was trained on the published split, this run is on the ancestor; give another" in said


@pytest.mark.slow
def test_a_finished_teacher_is_resumed_with_the_options_of_then_only(root, tmp_path, capsys):
    training = small(water.TRAINING, epochs=1)
    main(training, arguments(root, tmp_path))
    shutil.rmtree(tmp_path / "checkpoints")
    with pytest.raises(SystemExit):
        main(training, arguments(root, tmp_path, "--resume", "--batch", "3"))
    assert "the teacher in" in capsys.readouterr().err
    main(training, arguments(root, tmp_path, "--resume"))


def test_a_slip_costs_no_earlier_run(root, tmp_path, capsys):
    main(small(water.TRAINING, epochs=1), arguments(root, tmp_path))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    for options, said in (
        (["--data", "nowhere"], "is not at nowhere"),
        (["--precision", "half"], "argument --precision: invalid choice: 'half'"),
        (["--encoder", "none.safetensors"], "none.safetensors is no encoder file"),
        (
            ["--start", "nowhere", "--encoder", "none.safetensors"],
            "would not be read, as training goes on from nowhere",
        ),
        (["--start", "nowhere"], "nowhere has no readable config.json"),
    ):
        with pytest.raises(SystemExit):
            main(small(water.TRAINING, epochs=1), [*arguments(root, tmp_path), *options])
        assert said in capsys.readouterr().err
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before, options


@pytest.mark.parametrize("option", ["--epochs", "--batch", "--limit", "--workers"])
@pytest.mark.parametrize("value", ["-1", "many", "1.5"])
def test_a_number_that_is_none_is_named(option, value, capsys):
    with pytest.raises(SystemExit):
        main(water.TRAINING, [f"{option}={value}"])
    assert f"argument {option}: {value!r} is no whole number from " in capsys.readouterr().err


def test_a_run_resumes_with_the_encoder_it_was_begun_with():
    """Of whose pixels' mean and deviation the weights know."""
    recipe, config = small(water.TRAINING).recipes["base"], water.TRAINING.config(water.RECIPES["base"])
    one, other = (
        SegmentationModule(build_network(TINY | {"classes": 2}), recipe, replace(config, mean=mean))
        for mean in ((0.5, 0.5, 0.5), (0.485, 0.456, 0.406))
    )
    checkpoint = {}
    one.on_save_checkpoint(checkpoint)
    one.on_load_checkpoint(checkpoint)
    one.begun["devices"] = 1  # which earlier checkpoints do not tell
    one.on_load_checkpoint(checkpoint)
    with pytest.raises(DataError, match="begun with another value of encoder"):
        other.on_load_checkpoint(checkpoint)


def test_a_recipe_of_an_earlier_version_is_read():
    stored = json.loads(json.dumps({**asdict(water.RECIPES["base"]), "start_share": 0.5}))
    assert Recipe.of(stored) == water.RECIPES["base"]


def test_a_run_goes_on_from_given_weights(root, tmp_path):
    still = small(water.TRAINING, network={**TINY, "norm": False}, epochs=1, learning_rate=0.0, teacher="")
    other = replace(still, recipes={name: replace(recipe, seed=99) for name, recipe in still.recipes.items()})
    main(still, arguments(root, tmp_path / "first"))
    main(other, [*arguments(root, tmp_path / "second"), "--start", str(tmp_path / "first")])
    assert_same_weights(tmp_path / "first", tmp_path / "second")


def test_the_shipped_weights_can_be_gone_on_from():
    recipe = water.RECIPES["base"]
    network, config = start_network(recipe, water.TRAINING.config(recipe), "imagenet", WEIGHTS / "water")
    assert network.training and config.mean == load_config(WEIGHTS / "water").mean


def test_the_running_mean_is_what_is_kept(root, tmp_path):
    """One that keeps next to nothing is the last step's weights, one that keeps much is not."""
    for name, ema in (("little", 1e-9), ("much", 0.9), ("none", 0.0)):
        recipe = {"ema": ema, "schedule": "constant", "teacher": "", "learning_rate": 0.01}
        main(small(water.TRAINING, **recipe), arguments(root, tmp_path / name))
    little, much, last = (load_file(tmp_path / name / "model.safetensors") for name in ("little", "much", "none"))
    assert all(torch.allclose(little[key].float(), last[key].float(), atol=1e-3) for key in last)
    assert sum(not torch.allclose(much[key].float(), last[key].float(), atol=1e-3) for key in last) > 10


def test_the_running_mean_by_hand():
    means, counts = [torch.tensor([1.0, 2.0])], [torch.tensor(255)]
    running_mean(0.75, means, [torch.tensor([5.0, 2.0])], torch.tensor(26))  # from here on 27 / 36 is no less
    running_mean(0.75, counts, [torch.tensor(256)], torch.tensor(26))
    assert means[0].tolist() == [2.0, 2.0] and counts[0].item() == 256
    running_mean(0.75, means, [torch.tensor([13.0, 2.0])], torch.tensor(1))  # keeps 2 / 11
    assert means[0].tolist() == pytest.approx([11.0, 2.0])


def test_a_short_run_does_not_end_with_what_it_began_with():
    """After 600 steps less than a thousandth of the first is left, of 0.999 kept each time more than half."""
    mean = [torch.tensor([1.0])]
    for count in range(1, 600):
        running_mean(0.999, mean, [torch.tensor([0.0])], torch.tensor(count))
    assert mean[0].item() < 0.001


def test_a_size_that_no_network_takes_is_told_before_training():
    with pytest.raises(ValueError, match="432; give a multiple of 32"):
        replace(cars.RECIPES["default"], size=432)


def test_weights_of_another_network_are_no_start(root, tmp_path, capsys):
    main(small(water.TRAINING, epochs=1), arguments(root, tmp_path / "first"))
    other = small(water.TRAINING, network={**TINY, "filters": [4, 4]})
    with pytest.raises(SystemExit):
        main(other, [*arguments(root, tmp_path / "second"), "--start", str(tmp_path / "first")])
    assert "first holds the network {'_model_class': 'ClassicUNet', 'filters': [4, 8]" in capsys.readouterr().err
