"""Checkpoints that are whole or not there."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from segmenter.files import write_whole
from train.data import DataError


class Kept(ModelCheckpoint):
    """A checkpoint of lightning's that knows the best one again in a folder that was moved since."""

    @property
    def state_key(self) -> str:
        """Lightning's own, which stands in the checkpoints of earlier runs."""
        return super().state_key.replace(type(self).__name__, ModelCheckpoint.__name__, 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def here(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        paths = {key: here(state_dict[key]) for key in ("best_model_path", "kth_best_model_path", "last_model_path")}
        best = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **paths, "best_k_models": best, "dirpath": self.dirpath})


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning writes a checkpoint over the last one; here it is written beside it first, then takes its place."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        """Write ``checkpoint`` to ``path``. DataError where the disk is full or cannot be written."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            write_whole(Path(path), buffer.getvalue())
        except OSError as error:
            raise DataError(
                f"the checkpoint {path} cannot be written ({error.strerror or error}); make room and run again with "
                "--resume, or give another folder with --out."
            ) from error
