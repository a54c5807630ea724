"""Gradio, imported in half its time: at every start it would write the type stubs of all its components anew, compare
them with those on the disk and keep them. That helps its authors alone; here it is left out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


class WithoutStubs(MetaPathFinder):
    """Finds the one module of Gradio that writes stubs, and empties its function for that once it is loaded."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "gradio.component_meta":
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_empty(module: ModuleType) -> None:
                load(module)
                module.create_or_modify_pyi = lambda *_: None  # type: ignore[attr-defined]

            spec.loader.exec_module = load_and_empty  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, WithoutStubs())
import gradio as gr  # noqa: E402

__all__ = ["gr"]
