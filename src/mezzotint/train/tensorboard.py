"""How does a run appear in TensorBoard? As scalars below ``RUN/tensorboard``, written by PyTorch's own writer."""

from __future__ import annotations

from typing import Any

from torch.utils.tensorboard import SummaryWriter

from mezzotint.train.callbacks import Callback, Row, RunView
from mezzotint.train.config_file import config_text

_STEP = ("loss", "accuracy", "lr", "loss_scale", "density", "images_per_second")
_EPOCH = ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "density")


class TensorBoard(Callback):
    """``step/...`` of every logged step, ``epoch/...``, ``layer density/...`` and what topology updates move.

    ``tensorboard --logdir runs`` shows all runs side by side. A resumed run hides what was logged after the
    checkpoint that it goes on from.
    """

    def __init__(self) -> None:
        self._writer: Any = None

    def on_run_begin(self, run: RunView) -> None:
        """Open the files, and log the configuration as a text."""
        after = run.step + 1 if run.step else None
        self._writer = SummaryWriter(str(run.folder / "tensorboard"), purge_step=after)
        if not run.step:
            indented = "".join(f"    {line}\n" for line in config_text(run.config).splitlines())
            self._writer.add_text("configuration", indented, 0)

    def on_step(self, row: Row) -> None:
        """Scalars of the step."""
        self._scalars("step", {name: row[name] for name in _STEP if name in row}, row["step"])

    def on_topology_update(self, row: Row) -> None:
        """The prune rate, and how many weights moved."""
        moved = sum(layer["grown"] for layer in row["layers"].values())
        self._scalars("topology", {"prune_rate": row["prune_rate"], "grown": moved}, row["step"])

    def on_epoch_end(self, row: Row) -> None:
        """Scalars of the epoch, and the density of every sparse layer."""
        self._scalars("epoch", {name: row[name] for name in _EPOCH}, row["step"])
        layers = {name: layer["density"] for name, layer in row["layers"].items() if "density" in layer}
        self._scalars("layer density", layers, row["step"])
        self._writer.flush()

    def on_run_end(self, summary: Row | None) -> None:
        """Close the files."""
        if self._writer is not None:
            self._writer.close()

    def _scalars(self, group: str, values: Row, step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(f"{group}/{name}", value, step)
