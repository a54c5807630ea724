"""A file imports only from floors below its own; the house is drawn in the design and held here."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Bottom to top. Files of one floor do not import each other.
FLOORS = (
    {
        "segmenter.bombs",
        "segmenter.deep",
        "segmenter.tasks",
        "segmenter.files",
        "segmenter.openvino_silent",
        "segmenter.threads",
    },
    {
        "segmenter.config",
        "segmenter.contours",
        "segmenter.enlarge",
        "segmenter.fitting",
        "segmenter.geo",
        "segmenter.image",
        "segmenter.instances",
        "segmenter.metrics",
        "segmenter.tiling",
    },
    {"segmenter.folded"},
    {"segmenter.inference", "segmenter.networks", "segmenter.true_mask"},
    {"segmenter.result", "segmenter.scoring"},
    {"segmenter.convert", "segmenter.draw", "segmenter.engine_torch", "segmenter.measure"},
    {"segmenter.engine_cuda", "segmenter.engine_openvino"},
    {"segmenter.engine"},
    {"segmenter.annotations", "segmenter.tables"},
    {"segmenter.export"},
    {"segmenter.predict"},
    {"segmenter.suggest", "segmenter.cli.describe", "segmenter.cli.arguments", "segmenter.cli.pictures"},
    {"segmenter.cli.record"},
    {"segmenter.cli.batch"},
    {"segmenter.cli.commands"},
    {"segmenter", "segmenter.cli"},
    {"segmenter.__main__"},
)
FLOOR_OF = {module: number for number, floor in enumerate(FLOORS) for module in floor}
TRAINING_ONLY = {"lightning", "pytorch_lightning", "torchmetrics", "tensorboard", "tensorboardX"}
PAGE = {"app", "page"}


def sources():
    """Dotted module name -> its file, of everything that is not a test or a benchmark."""
    files = [ROOT / "app.py"]
    for name in ("segmenter", "train", "page"):
        files += sorted((ROOT / name).rglob("*.py"))
    modules = {}
    for path in files:
        if path.is_file():
            parts = path.relative_to(ROOT).with_suffix("").parts
            modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def imports(code, module, is_package=False, known=()):
    """Every module that the code imports, anywhere in it.

    ``from package import name`` counts as package.name where that is a known module, else as package.
    """
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")
                parents = parents[: len(parents) - node.level + is_package]
                base = ".".join([*parents, base] if base else parents)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                found.add(full if full in known else base)
    return found


SOURCES = sources()
IMPORTS = {
    module: imports(path.read_text(encoding="utf-8"), module, path.name == "__init__.py", SOURCES)
    for module, path in SOURCES.items()
}


def top(module):
    return module.split(".")[0]


def of(package):
    return [module for module in SOURCES if top(module) == package]


def test_the_reader_of_imports():
    """A reader that finds nothing would let everything pass."""
    code = """
import os.path, gradio as gr
from segmenter import draw, TASKS
from . import draw as d
from .tasks import PETS
def later():
    if True:
        from lightning.pytorch import Trainer
"""
    found = imports(code, "segmenter.result", known={"segmenter.draw"})
    assert found == {"os.path", "gradio", "segmenter.draw", "segmenter", "segmenter.tasks", "lightning.pytorch"}
    assert imports("from .tasks import PETS", "segmenter", is_package=True) == {"segmenter.tasks"}
    assert "segmenter.tasks" in IMPORTS["segmenter.result"] and "segmenter.predict" in IMPORTS["segmenter"]
    assert len(of("train")) > 5


def test_every_file_has_its_floor():
    assert set(of("segmenter")) - set(FLOOR_OF) == set()
    assert set(FLOOR_OF) - set(SOURCES) <= {"segmenter.__main__"}


@pytest.mark.parametrize("module", of("segmenter"))
def test_imports_come_from_below(module):
    own = {name for name in IMPORTS[module] if top(name) == "segmenter"}
    unknown = own - set(FLOOR_OF)
    assert not unknown, f"{module} imports {unknown}, which is no file of the package"
    level = {name for name in own if FLOOR_OF[name] >= FLOOR_OF[module]}
    assert not level, f"{module} imports {level}, which is not below it"


@pytest.mark.parametrize("module", of("segmenter"))
def test_the_package_knows_neither_page_nor_training(module):
    tops = {top(name) for name in IMPORTS[module]}
    assert not tops & (PAGE | {"train", "gradio", "tests"} | TRAINING_ONLY)


def test_tasks_use_the_standard_library_only():
    tops = {top(name) for name in IMPORTS["segmenter.tasks"]}
    assert tops <= set(sys.stdlib_module_names)


def test_only_networks_names_the_models_of_smp():
    users = {module for module in of("segmenter") if "segmentation_models_pytorch" in map(top, IMPORTS[module])}
    assert users == {"segmenter.networks"}


def test_tiling_and_engine_know_no_task():
    for module in ("segmenter.tiling", "segmenter.engine", "segmenter.image"):
        assert "segmenter.tasks" not in IMPORTS[module]
    assert not {top(name) for name in IMPORTS["segmenter.tiling"]} & {"torch", "segmenter"}


def test_gradio_appears_only_in_the_page():
    assert {top(module) for module in SOURCES if "gradio" in map(top, IMPORTS[module])} <= PAGE


def test_training_libraries_appear_only_in_train():
    users = {top(module) for module in SOURCES if TRAINING_ONLY & set(map(top, IMPORTS[module]))}
    assert users == {"train"}


def test_page_and_training_do_not_know_each_other():
    for module, names in IMPORTS.items():
        tops = set(map(top, names))
        if top(module) in PAGE:
            assert "train" not in tops, module
        if top(module) == "train":
            assert not tops & (PAGE | {"gradio"}), module
