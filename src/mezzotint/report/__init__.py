"""What happened in a run, shown to people? One HTML page, complete in itself, from the files of a run folder.

``write_report(run)`` makes the page of a run, ``write_comparison(runs, output)`` lays several runs over each other;
``write_sweep(folder)`` shows a sweep's means over seeds.
The room reads files only: it needs neither torch nor the other rooms, and works while the run still goes on.

To add a section: one file in ``sections/`` with ``section(run) -> Section``, one line in the table there, one test.
"""

from __future__ import annotations

from mezzotint.report.read import read_run
from mezzotint.report.record import Run
from mezzotint.report.sweep import Sweep, read_sweep, sweep_rows
from mezzotint.report.write import write_comparison, write_report, write_sweep

__all__ = ["Run", "Sweep", "read_run", "read_sweep", "sweep_rows", "write_comparison", "write_report", "write_sweep"]
