"""What does a run tell of images that it could not read? One report over all ranks, in the log and in a file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Final

from mezzotint.data.batch import Batch
from mezzotint.data.quarantine import Quarantine
from mezzotint.train.inputs import Inputs
from mezzotint.train.ranks import Ranks
from mezzotint.train.run_folder import Folder

FILE: Final = "quarantine.json"


@dataclass(kw_only=True)
class BadImages:
    """The reports of both loaders of a run. Under ``data.on_error = "fail"`` nothing here does anything.

    All ranks must call the methods together, but for :meth:`write`.
    """

    inputs: Inputs
    ranks: Ranks
    folder: Folder
    active: bool
    _logged: int = field(init=False)

    def __post_init__(self) -> None:
        self._logged = len(self.inputs.train.quarantine)  # what a checkpoint brought is in the log

    def __len__(self) -> int:
        """Training and test images together."""
        return len(self.inputs.train.quarantine) + len(self.inputs.test.quarantine)

    def trained(self, batch: Batch, *, step: int, epoch: int) -> None:
        """Log what is new since the last step: a line in ``metrics.jsonl``, the whole report in ``quarantine.json``.

        Raises:
            DataError: the ranks together have met more bad images than may be.
        """
        if not self.active:
            return
        report = self.inputs.train.quarantine
        (met,) = self.ranks.totals(len(batch.bad))
        if met:
            _share(report, self.ranks)
        new = sorted(list(report)[self._logged :], key=lambda sample: sample.index)
        if new:
            self._logged = len(report)
            samples = [asdict(sample) for sample in new]
            self.folder.metrics({"kind": "quarantine", "step": step, "epoch": epoch, "samples": samples})
            self.write()

    def tested(self) -> None:
        """Complete the report after an evaluation.

        Raises:
            DataError: as :meth:`trained`.
        """
        if self.active:
            _share(self.inputs.test.quarantine, self.ranks)
            self.write()

    def write(self) -> None:
        """Write ``quarantine.json``: for training and test images the limit, and index, name and reason of each."""
        if self.active:
            reports = {"train": self.inputs.train.quarantine, "test": self.inputs.test.quarantine}
            content = {part: {"limit": one.limit, "samples": one.records()} for part, one in reports.items()}
            self.folder.write_json(FILE, content)


def _share(report: Quarantine, ranks: Ranks) -> None:
    if ranks.size > 1:
        report.add(chain.from_iterable(ranks.gathered(list(report))))
