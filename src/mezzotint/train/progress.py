"""What does somebody see who watches a run? A bar on a terminal, one line an epoch elsewhere, or nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

_SILENCE: Final = 60.0  # seconds without a line, where there is no terminal, before one within the epoch is due
_NARROW: Final = 76  # columns below which a bar stands alone with its numbers
_WIDE: Final = 110  # columns from which all is shown
_WORTH_TELLING: Final = 0.1  # of the training time: more loader threads or a cache would help


@dataclass(frozen=True, kw_only=True)
class Start:
    """What is known when a run starts or goes on.

    Attributes:
        name: of the run.
        describe: one line about data, network, sparsity and precision.
        done: steps done before.
        total: steps of the whole run.
        epochs: of the whole run.
        batch_size: images a step.
    """

    name: str
    describe: str
    done: int
    total: int
    epochs: int
    batch_size: int


@dataclass(frozen=True, kw_only=True)
class StepView:
    """A step as it is shown; loss and accuracy are means over the epoch so far."""

    step: int
    epoch: int
    loss: float
    accuracy: float
    density: float
    loss_scale: float


@dataclass(frozen=True, kw_only=True)
class EpochView:
    """The end of an epoch; accuracies are shares, ``seconds`` is the time of the epoch in this process.

    ``quarantined`` counts the images that could not be read so far; ``waited`` is the share of the training time in
    which the training waited for images; ``diverged``: see :mod:`mezzotint.train.divergence`.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    density: float
    skipped: int
    seconds: float
    quarantined: int = 0
    diverged: bool = False
    waited: float = 0.0


@dataclass(frozen=True, kw_only=True)
class TuningView:
    """A problem whose kernels are being timed; ``tuned`` counts those of the run before it."""

    problem: str
    tuned: int


class Progress(Protocol):
    """Anything that can watch a run."""

    def begin(self, start: Start) -> None:
        """The run starts or goes on."""

    def tuning(self, view: TuningView) -> None:
        """Kernels are being timed, within a step."""

    def step(self, view: StepView) -> None:
        """A step is done."""

    def epoch(self, view: EpochView) -> None:
        """An epoch is done and tested."""

    def end(self) -> None:
        """Nothing more will come."""


class Silent:
    """Shows nothing."""

    def begin(self, start: Start) -> None:
        """Nothing."""

    def tuning(self, view: TuningView) -> None:
        """Nothing."""

    def step(self, view: StepView) -> None:
        """Nothing."""

    def epoch(self, view: EpochView) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


class Remaining:
    """How long the rest of a run will take, by the speed of this process so far, tests included."""

    def __init__(self, start: Start) -> None:
        self._done, self._total = start.done, start.total
        self._began = time.perf_counter()

    def seconds(self, step: int) -> float | None:
        """After ``step`` steps of the run; None before anything is known."""
        done = step - self._done
        return (time.perf_counter() - self._began) / done * (self._total - step) if done > 0 else None


class Lines:
    """A plain line an epoch, and one a minute in long ones: for pipes and log files. The time left is told."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start: Start | None = None
        self._remaining: Remaining | None = None
        self._step = 0
        self._quarantined = 0
        self._told = time.perf_counter()

    def begin(self, start: Start) -> None:
        """The heading."""
        self._start, self._remaining, self._step = start, Remaining(start), start.done
        self.write(heading(start))

    def tuning(self, view: TuningView) -> None:
        """Nothing."""

    def step(self, view: StepView) -> None:
        """A line, if there was none for a minute."""
        self._step = view.step
        if self._start is not None and time.perf_counter() - self._told > _SILENCE:
            place = f"epoch {view.epoch + 1}/{self._start.epochs} · step {view.step:,} of {self._start.total:,}"
            self.write(f"{place} · loss {loss_text(view.loss)} · train {100 * view.accuracy:.2f} %{self._left()}")

    def epoch(self, view: EpochView) -> None:
        """The line."""
        self.write(self.line(view) + self._left())

    def end(self) -> None:
        """Nothing."""

    def line(self, view: EpochView) -> str:
        """The line of an epoch: images in quarantine are counted when there are more than in the line before."""
        before, self._quarantined = self._quarantined, view.quarantined
        return epoch_line(view, self._start.epochs if self._start else 0, quarantined_before=before)

    def _left(self) -> str:
        seconds = self._remaining.seconds(self._step) if self._remaining is not None else None
        return f" · {time_left(seconds)} left" if seconds else ""

    def write(self, text: str) -> None:
        """A line, in one piece however long it is."""
        self._told = time.perf_counter()
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class Bars:
    """A bar with the state of the run, and above it one line an epoch: for terminals."""

    def __init__(self, console: Console) -> None:
        self._lines = Lines(console)
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
            console=console,
            expand=True,
        )
        self._start: Start | None = None
        self._tuning: TaskID | None = None
        self._began = time.perf_counter()
        self._rate = 0.0

    def begin(self, start: Start) -> None:
        """The heading and the bar."""
        self._lines.begin(start)
        self._start = start
        self._task = self._bar.add_task("starting", total=start.total, completed=start.done, state="")
        self._bar.start()
        self._began = time.perf_counter()

    def tuning(self, view: TuningView) -> None:
        """A second bar, until the step is done. How many problems a network has is not known before."""
        if self._tuning is None:
            self._tuning = self._bar.add_task("tuning kernels", total=None, state="")
        self._bar.update(self._tuning, completed=view.tuned, state=view.problem.split(" ")[0])

    def step(self, view: StepView) -> None:
        """Move the bar."""
        if self._start is None:
            return
        now = time.perf_counter()
        if self._tuning is None:
            rate = self._start.batch_size / max(now - self._began, 1e-9)
            # A running mean over about 50 steps; the first step that times no kernels starts it.
            self._rate = rate if self._rate == 0 else self._rate + 0.02 * (rate - self._rate)
        else:
            self._bar.remove_task(self._tuning)
            self._tuning = None
        self._began = now
        self._bar.update(
            self._task,
            completed=view.step,
            description=f"epoch {view.epoch + 1}/{self._start.epochs}",
            state=step_state(view, self._rate, self._bar.console.width),
        )

    def epoch(self, view: EpochView) -> None:
        """The line above the bar."""
        self._lines.write(self._lines.line(view))
        self._began = time.perf_counter()

    def end(self) -> None:
        """Leave the terminal as it was."""
        self._bar.stop()


def time_left(seconds: float) -> str:
    """A short time: "41 s", "12 min", "3 h 20 min"."""
    if seconds < 90:
        return f"{max(1.0, seconds):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def make_progress(console: Console) -> Progress:
    """Bars on a terminal, lines elsewhere."""
    return Bars(console) if console.is_terminal else Lines(console)


def heading(start: Start) -> str:
    """The first line of a run."""
    begins = f", going on after step {start.done} of {start.total}" if start.done else ""
    return f"{start.name}: {start.describe}{begins}"


def step_state(view: StepView, images_per_second: float, width: int = 200) -> str:
    """Loss, accuracy, speed, density and, where the loss is scaled, its scale; less where it would push out the bar."""
    if width < _NARROW:
        return ""
    state = f"loss {loss_text(view.loss, 3)} · acc {100 * view.accuracy:.1f} %"
    if width < _WIDE:
        return state
    scale = f" · scale {view.loss_scale:g}" if view.loss_scale != 1 else ""
    return f"{state} · {images_per_second:.0f} img/s · density {view.density:.3g}{scale}"


def loss_text(loss: float, digits: int = 4) -> str:
    """A loss with so many digits behind the point; of one that has run away, its magnitude."""
    return f"{loss:.{digits}f}" if not loss >= 1e4 or loss == float("inf") else f"{loss:.2g}"


def epoch_line(view: EpochView, epochs: int, *, quarantined_before: int = 0) -> str:
    """The line of an epoch; what is in quarantine is told where it is not ``quarantined_before``."""
    diverged = " · diverged" if view.diverged else ""
    skipped = f" · skipped {view.skipped}" if view.skipped else ""
    quarantined = f" · quarantined {view.quarantined}" if view.quarantined != quarantined_before else ""
    waited = f" · waited for data {100 * view.waited:.0f} %" if view.waited >= _WORTH_TELLING else ""
    return (
        f"epoch {view.epoch + 1}/{epochs} · loss {loss_text(view.train_loss)} · train {100 * view.train_accuracy:.2f} %"
        f" · test {100 * view.test_accuracy:.2f} % · density {view.density:.3g}{diverged}{skipped}"
        f"{quarantined}{waited} · {view.seconds:.1f} s"
    )
