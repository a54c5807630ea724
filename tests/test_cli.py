"""The command line as its users meet it: arguments, exit codes, what is printed, and what a kill leaves."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from skimage.data import chelsea

from segmenter.cli import batch
from segmenter.cli.arguments import DEFAULT_FORMATS, PROGRAM, UsageError, parse
from segmenter.cli.commands import main
from segmenter.cli.describe import describe
from segmenter.export import FORMATS
from segmenter.predict import WEIGHTS, Segmenter
from segmenter.tasks import TASKS

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def loads(monkeypatch, segmenter_for):
    """The fake network answers; the list holds (task, weights, device, flips) of every load."""
    found = []

    def load(task, weights=None, device="auto", max_pixels=0, flips=False):
        found.append((task.name, weights, device, flips))
        return segmenter_for(task.name)

    monkeypatch.setattr(Segmenter, "load", load)
    return found


@pytest.fixture
def here(tmp_path, monkeypatch, quarters, noise):
    """The working folder, with photos/0.png, photos/more/0.jpg, and a text that calls itself a picture."""
    monkeypatch.chdir(tmp_path)
    Path("photos/more").mkdir(parents=True)
    Image.fromarray(quarters(20, 30)).save("photos/0.png")
    Image.fromarray(noise(30, 20)).save("photos/more/0.jpg")
    Path("bad.jpg").write_text("no picture")
    return tmp_path


def files(folder="out"):
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())


def summary(folder="out"):
    return list(csv.DictReader((Path(folder) / "summary.csv").read_text("utf-8-sig").splitlines()))


def objects(text):
    """The JSON objects of an output that holds nothing else, one a line."""
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def complaint(capsys, refusal):
    """Run a command line that is refused: the code is as expected, and stderr is one sentence with the words."""

    def check(code, argv, *words):
        assert main(argv) == code
        printed = capsys.readouterr()
        assert printed.out == "" and printed.err.startswith("error: ") and printed.err.endswith("\n")
        with refusal(ValueError, *words):
            raise ValueError(printed.err[len("error: ") : -1])

    return check


# ---------------------------------------------------------------- predict


def test_predict(here, loads, capsys):
    assert main(["predict", "pets", "photos", "--out", "out"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "2 pictures done; the results are in out, with a table of all in out/summary.csv.\n"
    assert printed.err == ""
    assert files() == [
        *(f"0-pets{name}" for name in ("-mask.png", "-overlay.png", ".csv")),
        *(f"more/0-pets{name}" for name in ("-mask.png", "-overlay.png", ".csv")),
        "record.jsonl",
        "summary.csv",
    ]
    assert Image.open("out/0-pets-mask.png").size == (30, 20)
    assert [(row["picture"], row["class"], row["pixels"]) for row in summary()[:3]] == [
        (str(Path("photos/0.png")), "background", "300"),
        (str(Path("photos/0.png")), "pet", "150"),
        (str(Path("photos/0.png")), "border", "150"),
    ]
    assert len(summary()) == 6
    assert loads == [("pets", None, "auto", False)]


def test_options_reach_the_model_and_the_results(here, loads, tmp_path):
    argv = ["predict", "water", "photos/0.png", "--out", "out", "--format", "all", "--pixel-size", "100", "--tta"]
    assert main([*argv, "--device", "cpu", "--weights", "mine"]) == 0
    assert loads == [("water", Path("mine"), "cpu", True)]
    assert set(files()) == {"record.jsonl", "summary.csv", "0-water-background.png", "0-water-water.png"} | {
        f"0-water{name}"
        for name in ("-mask.png", "-overlay.png", "-cutout.png", ".csv", "-coco.json", ".geojson", "-cvat.zip")
    }
    # two maps, red and green: blue has equal logits in both and is background; 150 pixels of a hectare each
    assert [(row["pixels"], row["area"], row["unit"]) for row in summary()] == [
        ("450", "450.0", "ha"),
        ("150", "150.0", "ha"),
    ]


def test_json(here, loads, capsys):
    argv = ["predict", "pets", "photos", "bad.jpg", "gone.jpg", "--out", "out", "--format", "mask", "--json"]
    assert main(argv) == 1
    printed = capsys.readouterr()
    told = {entry["path"]: entry for entry in objects(printed.out)}
    assert set(told) == {str(Path("photos/0.png")), str(Path("photos/more/0.jpg")), "bad.jpg", "gone.jpg"}
    done = told[str(Path("photos/0.png"))]
    assert list(done) == ["path", "status", "reason", "stats", "objects", "notice", "files"]
    assert done["status"] == "done" and done["reason"] is None and done["objects"] is None
    assert done["files"] == [str(Path("out/0-pets-mask.png"))]
    assert [list(row) for row in done["stats"]] == [["class", "pixels", "percent", "mean_confidence"]] * 3
    assert done["stats"][1]["class"] == "pet" and done["stats"][1]["percent"] == 25
    assert told["bad.jpg"]["status"] == told["gone.jpg"]["status"] == "failed"
    assert "not a picture" in told["bad.jpg"]["reason"] and "does not exist" in told["gone.jpg"]["reason"]
    assert "failed: bad.jpg: 'bad.jpg' is not a picture" in printed.err and "failed: gone.jpg: " in printed.err
    assert printed.err.endswith(
        "2 pictures done, 2 failed; the results are in out, with a table of all in out/summary.csv.\n"
    )
    assert main(argv) == 1
    again = objects(capsys.readouterr().out)
    assert sorted(entry["status"] for entry in again) == ["failed", "failed", "skipped", "skipped"]
    assert {**done, "status": "skipped"} in again
    assert len(loads) == 2  # there was a picture to try again


def test_all_done_needs_no_model(here, loads, capsys):
    argv = ["predict", "pets", "photos/*/*", "photos/0.png", "--out", "out"]
    assert main(argv) == main(argv) == 0
    assert len(loads) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("0 pictures done, 2 skipped that were done before; the results are in out")
    assert main([*argv, "--force"]) == 0 and len(loads) == 2


def test_results_are_no_pictures_of_the_next_run(here, loads, capsys):
    assert main(["predict", "pets", ".", "--out", "."]) == 1  # bad.jpg
    before = files(".")
    capsys.readouterr()
    assert main(["predict", "pets", ".", "--out", "."]) == 1
    assert "left out: 4 pictures that an earlier run wrote." in capsys.readouterr().err
    assert files(".") == before


def test_inputs_may_stand_behind_options(here, loads):
    assert main(["predict", "pets", "photos/0.png", "--out", "out", "photos/more/0.jpg"]) == 0
    assert len(summary()) == 6


def test_the_progress_bar(here, loads, capsys, monkeypatch):
    """Count and time left on a terminal, starting from what was done before; nothing of it elsewhere."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["predict", "pets", "photos/0.png", "--out", "out", "--json"]) == 0
    printed = capsys.readouterr()
    assert "0/1 [" in printed.err and "<" in printed.err
    assert len(objects(printed.out)) == 1
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["predict", "pets", "photos", "--out", "out"]) == 0
    assert "1/2 [" in capsys.readouterr().err


def test_a_strange_picture_is_noted(here, monkeypatch, segmenter_for, capsys):
    from segmenter.config import Familiarity, Judge

    strange = segmenter_for(familiarity=Familiarity((Judge((), -1.0),)))
    monkeypatch.setattr(Segmenter, "load", lambda *arguments, **options: strange)
    argv = ["predict", "pets", "photos/0.png", "--out", "out"]
    assert main(argv) == 0
    assert capsys.readouterr().err.startswith(f"note: {Path('photos/0.png')}: This does not look like")
    assert main([*argv, "--json"]) == 0
    assert "does not look like" in objects(capsys.readouterr().out)[0]["notice"]
    assert "does not look like" in summary()[0]["notice"]


def test_a_name_cannot_play_with_the_terminal(here, loads, capsys):
    Path("evil\x1b[2J\n.jpg").write_text("no picture")
    assert main(["predict", "pets", ".", "--out", "out"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.isprintable() for line in lines)


def test_a_table_that_cannot_be_written(here, loads, capsys):
    Path("out/summary.csv").mkdir(parents=True)
    assert main(["predict", "pets", "photos/0.png", "--out", "out"]) == 1
    assert capsys.readouterr().err == "error: 'out/.summary.csv.part' cannot be written or read (Is a directory).\n"
    assert "0-pets-mask.png" in files() and not Path("out/.summary.csv.part").exists()


# ---------------------------------------------------------------- usage


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], ["COMMAND", "--help"]),
        (["paint"], ["'paint'", "predict", "--help"]),
        (["predict"], ["TASK, INPUT, --out", "predict --help"]),
        (["predict", "pets", "photos"], ["--out"]),
        (["predict", "pets", "--out", "out"], ["INPUT"]),
        (["predict", "dogs", "photos", "--out", "out"], ["unknown task 'dogs'", "pets, water, nuclei, cars"]),
        (["predict", "pets", "nothing.jpg", "--out", "out"], ["'nothing.jpg' does not exist"]),
        (["predict", "pets", "*.gif", "--out", "out"], ["'*.gif' matches no picture"]),
        (["predict", "pets", "empty", "--out", "out"], ["'empty' holds no picture"]),
        (["predict", "pets", "photos", "--out", "out", "--format", "mask,gif"], ["unknown format 'gif'", "overlay"]),
        (["predict", "pets", "photos", "--out", "out", "--format", ","], ["no format given"]),
        (
            ["predict", "water", "photos", "--out", "out", "--pixel-size", "0"],
            ["'0' is no pixel size", "from 0.000001 to 1000000"],
        ),
        (["predict", "water", "photos", "--out", "out", "--pixel-size", "nan"], ["'nan' is no pixel size"]),
        (["predict", "water", "photos", "--out", "out", "--pixel-size", "10m"], ["'10m' is no pixel size"]),
        (["predict", "pets", "photos", "--out", "out", "--pixel-size", "10"], ["pets pictures have no pixel size"]),
        (["predict", "pets", "photos", "--out", "out", "--device", "tpu"], ["'tpu'", "cpu"]),
        (["predict", "pets", "photos", "--out", "out", "--fast"], ["--fast"]),
        (["predict", "pets", "photos", "--out", "out", "--form", "mask"], ["--form"]),
        (["predict", "pets", "photos", "--out", "bad.jpg"], ["the folder 'bad.jpg' cannot be used", "--out"]),
        (["predict", "pets", "photos", "--out", "bad.jpg/out"], ["cannot be used (Not a directory)"]),
        (["predict", "pets", "photos", "--out", "out", "--weights", "photos"], ["no readable config.json"]),
        (["predict", "pets", "photos", "--out", "out", "--format", "objects"], ["pets counts no objects"]),
        (["info", "dogs"], ["unknown task 'dogs'"]),
        (["info", "pets", "water"], ["water"]),
        (["score", "dogs", "photos/0.png", "photos/0.png"], ["unknown task 'dogs'"]),
        (["score", "pets", "photos/0.png", "gone.png"], ["'gone.png' is no file"]),
        (["score", "pets", "photos", "photos/0.png"], ["'photos' is no file"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_run(here, complaint, argv, words):
    Path("empty").mkdir()
    complaint(2, argv, *words)
    assert not list(Path().glob("out/*.csv"))


def test_one_run_at_a_time_in_a_folder(here, loads, complaint, capsys):
    command = ["predict", "pets", "photos", "--out", "out"]
    Path("out").mkdir()
    with FileLock("out/.lock"):
        complaint(2, command, "another run is writing into the folder 'out'", "--out")
    assert main(command) == 0 and main(command) == 0
    assert not Path("out/.lock").exists()


def test_a_device_that_is_not_here(here, complaint, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    complaint(2, ["predict", "pets", "photos", "--out", "out", "--device", "cuda"], "device 'cuda' is not available")


def test_only_results_are_given(here, loads, capsys):
    assert main(["predict", "pets", "photos", "--out", "out"]) == 0
    capsys.readouterr()
    assert main(["predict", "pets", "out", "--out", "out"]) == 2
    assert "error: all these pictures are results of earlier runs" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["predict"], ["info"], ["score"]], ids=str)
def test_help(command, capsys):
    assert main([*command, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: {' '.join([PROGRAM, *command])} ")
    if command == ["predict"]:
        assert all(f"\n  {name} " in text for name in FORMATS)


def test_the_examples_of_the_help_are_commands(capsys):
    import shlex

    lines = []
    for command in ([], ["predict"]):
        assert main([*command, "--help"]) == 0
        lines += [line.strip() for line in capsys.readouterr().out.splitlines() if line.startswith(f"  {PROGRAM}")]
    assert len(lines) == 7
    for line in lines:
        assert parse(shlex.split(line)[3:]).command in line


def test_arguments_have_their_defaults():
    found = parse(["predict", "pets", "a.jpg", "--out", "out"])
    assert found.format == DEFAULT_FORMATS == ("mask", "overlay", "csv")
    assert (found.tta, found.device, found.pixel_size, found.weights, found.json, found.force) == (
        False,
        "auto",
        None,
        None,
        False,
        False,
    )
    assert parse(["predict", "pets", "a.jpg", "--out", "out", "--format", " coco, mask,coco"]).format == (
        "coco",
        "mask",
    )
    assert parse(["predict", "pets", "a.jpg", "--out", "out", "--format", "mask,all"]).format == FORMATS
    with pytest.raises(UsageError):
        parse(["info", "pets", "more"])


# ---------------------------------------------------------------- stopping


def test_ctrl_c(here, loads, capsys, monkeypatch):
    save = batch.save

    def interrupt(result, folder, stem, formats, *rest):
        if "more" in str(folder) and "overlay" in formats:
            raise KeyboardInterrupt
        return save(result, folder, stem, formats, *rest)

    monkeypatch.setattr(batch, "save", interrupt)
    assert main(["predict", "pets", "photos", "--out", "out"]) == 130
    assert capsys.readouterr().err == "stopped; what is done stays, and the same command goes on from there.\n"
    assert len(summary()) == 3
    assert not [name for name in files() if "part" in name]
    monkeypatch.setattr(batch, "save", save)
    assert main(["predict", "pets", "photos", "--out", "out"]) == 0
    assert "1 picture done, 1 skipped" in capsys.readouterr().out


def test_a_reader_that_has_enough(here, loads, monkeypatch):
    """`... --json | head -1`: no traceback, not when Python ends either."""

    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

        def fileno(self):
            return descriptor

    descriptor = os.open("stdout", os.O_CREAT | os.O_WRONLY)
    monkeypatch.setattr(sys, "stdout", Closed())
    assert main(["predict", "pets", "photos", "--out", "out", "--json"]) == 1
    assert os.fstat(descriptor).st_rdev == Path(os.devnull).stat().st_rdev
    os.close(descriptor)


@pytest.fixture
def started(tmp_path):
    """Start a run over 40 small pictures in a process of its own, wait for its first JSON object; real weights."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(40):
        Image.fromarray(chelsea()[number : number + 90, 100:220]).save(pictures / f"{number:02}.png")
    argv = ["predict", "pets", str(pictures), "--out", str(tmp_path / "out"), "--json", "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-m", "segmenter", *argv],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert json.loads(process.stdout.readline())["status"] == "done"
    yield process, argv, tmp_path / "out"
    process.kill()
    process.wait()


def test_kill_and_go_on(started, capsys):
    process, argv, out = started
    process.send_signal(signal.SIGKILL)
    process.wait()
    recorded = (out / "record.jsonl").read_bytes()
    with (out / "record.jsonl").open("ab") as file:
        file.write(b'{"task": "pets", "sou')  # as a kill inside the write leaves it
    assert main(argv) == 0
    statuses = [entry["status"] for entry in objects(capsys.readouterr().out)]
    assert statuses.count("skipped") == recorded.count(b"\n") >= 1
    assert statuses.count("done") == 40 - recorded.count(b"\n") >= 1
    assert len(summary(out)) == 40 * 3
    assert len(files(out)) == 40 * 3 + 2
    for mask in out.glob("*-mask.png"):
        assert np.asarray(Image.open(mask)).shape == (90, 120)


def test_ctrl_c_of_one_picture_leaves_nothing_to_go_on_from(monkeypatch, capsys):
    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("segmenter.cli.commands._score", interrupted)
    assert main(["score", "pets", "a.jpg", "b.png"]) == 130
    assert capsys.readouterr().err == "stopped.\n"


def test_ctrl_c_in_a_process(started):
    process, _, out = started
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=300)
    assert process.returncode == 130
    assert complaints == "stopped; what is done stays, and the same command goes on from there.\n"
    done = (out / "record.jsonl").read_text().splitlines()
    assert 1 <= len(done) < 40 and len(summary(out)) == 3 * len(done)
    assert not list(out.glob("*part*"))
    for picture in out.glob("*.png"):
        Image.open(picture).load()


def test_exit_codes_of_a_process(tmp_path):
    def run(*argv):
        return subprocess.run([sys.executable, "-m", "segmenter", *argv], cwd=ROOT, capture_output=True, text=True)

    refused = run("predict", "dogs", "x.jpg", "--out", str(tmp_path))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "error: unknown task 'dogs'; choose one of pets, water, nuclei, cars.\n"


# ---------------------------------------------------------------- info


def test_info_tells_what_the_folder_holds(capsys):
    assert main(["info", "pets"]) == 0
    text = capsys.readouterr().out
    test = json.loads((WEIGHTS / "pets/metrics.json").read_text())["test"]["own_size"]
    for words in (
        f"pets: {TASKS['pets'].description}",
        "background, pet, border",
        f"foreground IoU {test['foreground_iou']:.3f}",
        f"mean IoU {test['mean_iou']:.3f}",
        f"pixel accuracy {test['pixel_accuracy']:.3f} on {test['images']} test pictures",
        "Oxford-IIIT Pet, CC BY-SA 4.0",
    ):
        assert words in text


def test_info_of_all_models_as_json(capsys):
    assert main(["info", "--json"]) == 0
    found = objects(capsys.readouterr().out)
    assert [facts["task"] for facts in found] == list(TASKS)
    for facts in found:
        config = json.loads((WEIGHTS / facts["task"] / "config.json").read_text())["_segmenter"]
        assert facts["classes"] == config["classes"] and facts["size"] == config["size"]
        assert facts["input_policy"] == config["input_policy"]
        assert 1e6 < facts["parameters"] < 1e8 and 1 < facts["megabytes"] < 100
        assert [source["licence"] for source in facts["sources"]] == [
            source.licence for source in TASKS[facts["task"]].sources
        ]


@pytest.mark.parametrize("content", [None, "{}", "no json", '{"test": {"own_size": null}}'], ids=str)
def test_a_model_without_scores(tmp_path, monkeypatch, capsys, content):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "water").mkdir(exist_ok=True)
        (tmp_path / "water" / name).symlink_to(WEIGHTS / "water" / name)
    if content is not None:
        (tmp_path / "water" / "metrics.json").write_text(content)
    monkeypatch.setattr("segmenter.cli.describe.WEIGHTS", tmp_path)
    assert describe(TASKS["water"])["scores"] is None
    assert main(["info", "water"]) == 0
    assert "not measured" in capsys.readouterr().out


def test_a_model_that_is_missing(tmp_path, monkeypatch, complaint):
    monkeypatch.setattr("segmenter.cli.describe.WEIGHTS", tmp_path)
    complaint(2, ["info", "cars"], "no readable config.json")


# ---------------------------------------------------------------- score


@pytest.fixture
def truth(here):
    """The true mask of photos/0.png, where the fake network finds 300, 150 and 150 pixels of the three classes: the
    upper right quarter is taken for a pet and is one but for its first column; the lower left is the border."""
    true = np.zeros((20, 30), np.uint8)
    true[:10, 16:] = 1
    true[10:, :15] = 2
    true[19, 29] = 255
    Image.fromarray(true).save("truth.png")
    return true


def test_score_by_hand(truth, loads, capsys):
    assert main(["score", "pets", "photos/0.png", "truth.png", "--json", "--device", "cpu", "--weights", "w"]) == 0
    (found,) = objects(capsys.readouterr().out)
    assert loads == [("pets", Path("w"), "cpu", False)]
    assert (found["task"], found["picture"], found["true_mask"]) == ("pets", "photos/0.png", "truth.png")
    assert found["confusion"] == [[299, 10, 0], [0, 140, 0], [0, 0, 150]]
    assert found["iou"] == pytest.approx({"background": 299 / 309, "pet": 140 / 150, "border": 1})
    assert found["dice"] == pytest.approx({"background": 598 / 608, "pet": 280 / 290, "border": 1})
    assert found["mean_iou"] == pytest.approx((299 / 309 + 140 / 150 + 1) / 3)
    assert found["pixel_accuracy"] == pytest.approx(589 / 599)
    assert found["foreground_iou"] == pytest.approx(290 / 300)
    assert found["boundary_f"] == 1  # one pixel off is near enough
    assert found["ignored"] == 1 and found["notice"] is None


def test_score_for_people(truth, loads, capsys):
    assert main(["score", "pets", "photos/0.png", "truth.png"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    for expected in (
        "foreground IoU 0.9667",
        "pixel accuracy 0.9833",
        "boundary F-score 1.0000",
        "ignored pixels 1",
        "class IoU Dice",
        "pet 0.9333 0.9655",
        "background 299 10 0",
        "border 0 0 150",
    ):
        assert expected.split() in lines


@pytest.mark.parametrize(
    ("picture", "true", "words"),
    [
        ("bad.jpg", "truth.png", ["'bad.jpg' is not a picture"]),
        ("photos/0.png", "bad.jpg", ["'bad.jpg' is not a mask"]),
        ("photos/more/0.jpg", "truth.png", ["'truth.png' is 30 x 20 and the picture 20 x 30"]),
    ],
)
def test_what_cannot_be_scored(truth, loads, complaint, picture, true, words):
    complaint(1, ["score", "pets", picture, true], *words)


# ---------------------------------------------------------------- with the weights of the repository


def test_a_prediction_agrees_with_its_own_mask(tmp_path, capsys):
    Image.fromarray(chelsea()).save(tmp_path / "chelsea.png")
    argv = [str(tmp_path / "chelsea.png"), "--out", str(tmp_path), "--format", "mask,coco", "--json"]
    assert main(["predict", "pets", *argv]) == 0
    (done,) = objects(capsys.readouterr().out)
    assert done["stats"][1]["percent"] > 50
    for path in done["files"]:
        assert main(["score", "pets", str(tmp_path / "chelsea.png"), path, "--json"]) == 0
        (found,) = objects(capsys.readouterr().out)
        assert found["mean_iou"] == found["pixel_accuracy"] == found["boundary_f"] == 1
