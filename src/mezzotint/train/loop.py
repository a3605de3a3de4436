"""How does a run go, from its configuration to its last epoch? The training loop, to be read from top to bottom.

Steps are counted from 1: ``step`` is always the number of batches done.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from mezzotint.errors import RunError, message
from mezzotint.kernels import Problem, launch
from mezzotint.kernels.decision import Decision
from mezzotint.train import anatomy, arithmetic, checkpoint
from mezzotint.train.callbacks import Callbacks, RunView, from_options, layer_views
from mezzotint.train.config import RunConfig
from mezzotint.train.config_file import checked_text, config_text, differences
from mezzotint.train.environment import environment
from mezzotint.train.evaluate import Evaluation, evaluate
from mezzotint.train.inputs import InputRecord
from mezzotint.train.parts import Parts, build_parts, describe
from mezzotint.train.progress import Progress, Silent, Start, TuningView
from mezzotint.train.quarantine import BadImages
from mezzotint.train.ranks import Ranks, joined
from mezzotint.train.result import RunResult, conclude, write_confusion
from mezzotint.train.run import Run
from mezzotint.train.run_folder import Folder, NoFolder, RunFolder, default_folder, refuse_existing
from mezzotint.train.samples import write_samples
from mezzotint.train.schedule import factor
from mezzotint.train.signals import Heard, StopRequest
from mezzotint.train.state import Counters, capture, restore, state_digest
from mezzotint.train.step import Clock, StepResult, training_step
from mezzotint.train.surroundings import surroundings
from mezzotint.train.table import from_table
from mezzotint.train.telling import tell_epoch, tell_step


def train(
    config: RunConfig,
    *,
    folder: Path | str | None = None,
    resume: bool = False,
    from_checkpoint: str | None = None,
    progress: Progress | None = None,
    callbacks: Sequence[Any] = (),
    text: str | None = None,
) -> RunResult:
    """Train a network and leave a run folder.

    On the CPU, with the same configuration, software, machine and number of threads, two runs give the same bits: a run
    that is stopped or killed at any moment and resumed ends with the weights, masks and ``metrics.jsonl`` of one that
    was never interrupted. SIGINT and SIGTERM let the step finish, save, and return; so does a watcher that writes into
    a pipe that nobody reads any more, as SIGPIPE.

    Args:
        config: everything that decides the run.
        folder: of the run; ``runs/<name>`` when not given.
        resume: go on from the newest checkpoint in the folder. The configuration must be that of the run, but for the
            keys in ``config_file.FREE``.
        from_checkpoint: go on from the checkpoint of that name (``"step-00000469"``) instead.
        progress: who watches; nobody when not given.
        callbacks: objects with some of the methods of :class:`mezzotint.train.Callback`, besides those that
            ``config.run`` names. What they raise is told once and does not end the run.
        text: of a new run's ``config.toml``: TOML of ``config``, with comments.

    Raises:
        MezzotintError: anything that is wrong with configuration, data, folder or checkpoint. Nothing that was there
            before is overwritten.
    """
    place = default_folder(config.name) if folder is None else Path(folder)
    with joined(config.device) as ranks, surroundings(config, ranks), StopRequest() as stop, ExitStack() as stack:
        watcher = Heard(progress, stop) if progress is not None and ranks.leads else Silent()
        told = Callbacks(members=[*callbacks, *from_options(config.run)] if ranks.leads else [])
        if resume or from_checkpoint:
            run = _resumed(config, place, from_checkpoint, watcher, told, ranks, stack)
        else:
            run = _started(config, place, watcher, told, ranks, stack, text)
        stack.callback(run.parts.topology.close)
        stack.callback(run.parts.inputs.close)
        stack.callback(run.bad.write)  # also when there were too many
        stack.callback(watcher.end)
        watcher.begin(_start_view(run))
        endings = stack.enter_context(_told_of_the_run(run))
        stack.enter_context(launch.measuring(_tuning(watcher)))
        while run.epoch < config.schedule.epochs and not _stops(run, stop):
            _train_epoch(run, stop)
        if run.epoch < config.schedule.epochs:
            return RunResult(folder=place, step=run.counters.step, signal=run.stop, summary=None)
        result = conclude(run, run.evaluation or _evaluate(run))
        endings.append(result.summary)
        return result


@contextmanager
def _told_of_the_run(run: Run) -> Iterator[list[dict[str, Any] | None]]:
    """Tells callbacks of the beginning, and however it comes of the end: with what was put into the list."""
    start = {"step": run.counters.step, "total_steps": run.parts.total_steps}
    layers = partial(layer_views, run.parts.model)
    run.callbacks("on_run_begin", RunView(folder=run.folder.path, config=run.config, layers=layers, **start))
    endings: list[dict[str, Any] | None] = [None]
    try:
        yield endings
    finally:
        run.callbacks("on_run_end", endings[-1])


def _train_epoch(run: Run, stop: StopRequest) -> None:
    """Train to the end of the epoch and test, or until a stop is asked for; either way the state is saved."""
    parts, counters, epoch = run.parts, run.counters, run.epoch
    run.epoch_began, run.waited_before = time.perf_counter(), parts.inputs.train.waited
    clock = _clock(run)
    for batch in parts.inputs.train:
        clock.lap("data")
        # Skipped steps are not counted as updates: the schedule waits for them.
        rate = run.config.optimizer.lr * factor(run.config.schedule, counters.updates, parts.steps_per_epoch)
        result = _summed(training_step(parts, batch, rate, clock), parts.ranks)
        _count(counters, result)
        run.ages.follow(parts.model, ended=result.topology is not None)
        tell_step(run, epoch, rate, result, clock)
        run.bad.trained(batch, step=counters.step, epoch=epoch)
        stops = _stops(run, stop)
        if stops or _save_is_due(run):
            _save(run)
        if stops:
            return
        clock = _clock(run)
    _end_epoch(run, epoch)
    _save(run)


def _summed(result: StepResult, ranks: Ranks) -> StepResult:
    """The step's numbers over all ranks."""
    loss, correct = ranks.totals(result.loss, result.correct)
    return replace(result, loss=loss, correct=int(correct))


def _stops(run: Run, stop: StopRequest) -> bool:
    """Whether any rank was asked to stop, by a vote; if so, ``run.stop`` says by which signal.

    The request is read once: a signal that comes later than the vote must wait for the next one, or this rank would
    stop while the others wait for it in their next step.
    """
    asked = stop.signal
    (votes,) = run.parts.ranks.totals(float(asked is not None))
    if votes:
        run.stop = asked or signal.SIGTERM
    return run.stop is not None


def _end_epoch(run: Run, epoch: int) -> None:
    """Test the network and record the epoch."""
    parts, counters = run.parts, run.counters
    trained = time.perf_counter() - run.epoch_began
    waited = parts.inputs.train.waited - run.waited_before
    anatomy.write(run.folder, parts, run.ages, counters.step)  # before the test: how the training runs is to be told
    run.evaluation = _evaluate(run)
    tell_epoch(run, epoch, run.evaluation, trained=trained, waited=waited)
    write_confusion(parts, run.folder, run.evaluation)
    counters.begin_epoch()


def _evaluate(run: Run) -> Evaluation:
    parts = run.parts
    with nullcontext() if parts.average is None else parts.average.applied():
        classes = len(parts.inputs.record.classes)
        evaluation = evaluate(parts.model, parts.inputs.test, parts.precision, classes, parts.ranks)
    run.bad.tested()
    return evaluation


def _count(counters: Counters, result: StepResult) -> None:
    counters.step += 1
    counters.correct += result.correct
    counters.seen += result.count
    if result.stepped:
        counters.updates += 1
        counters.taken += 1
        counters.loss_sum += result.loss


def _clock(run: Run) -> Clock:
    """A clock for the next step; it runs when the step is to be logged."""
    step = run.counters.step + 1
    logged = step == 1 or step % run.config.run.log_every == 0
    return Clock(device=run.parts.precision.device, running=logged)


def _save_is_due(run: Run) -> bool:
    options = run.config.run
    by_step = options.checkpoint_steps is not None and run.counters.step % options.checkpoint_steps == 0
    return by_step or time.perf_counter() - run.saved_at > 60 * options.checkpoint_minutes


def _save(run: Run) -> None:
    run.counters.seconds = run.seconds_before + time.perf_counter() - run.began
    run.saved_at = time.perf_counter()
    if not run.parts.ranks.leads:
        return
    state, tensors = capture(run.parts, run.counters, run.folder.offsets(), run.decisions)
    tensors["ages"] = run.ages.tensors()
    checkpoint.save(run.folder.checkpoints, run.counters.step, state, tensors, keep=run.config.run.keep)


def _started(
    config: RunConfig,
    place: Path,
    progress: Progress,
    callbacks: Callbacks,
    ranks: Ranks,
    stack: ExitStack,
    text: str | None,
) -> Run:
    """A new run; its first checkpoint lies there before the first step."""
    ranks.on_leader(lambda: refuse_existing(place))
    parts = build_parts(config, ranks=ranks)
    ranks.require_equal("first weights", state_digest(parts.model))
    written = config_text(config) if text is None else checked_text(text, config)
    folder = _opened(ranks, stack, lambda: RunFolder.create(place, written, _environment(config, ranks)))
    run = Run(
        parts=parts,
        folder=folder,
        progress=progress,
        callbacks=callbacks,
        counters=Counters(),
        bad=_bad_images(parts, folder),
        ages=anatomy.Ages(parts.model),
    )
    ranks.on_leader(lambda: write_samples(place, parts.inputs.train, config.run.samples))
    ranks.on_leader(lambda: arithmetic.write(folder, config, parts.inputs.record))
    ranks.on_leader(lambda: _save(run))
    return run


def _resumed(
    config: RunConfig,
    place: Path,
    name: str | None,
    progress: Progress,
    callbacks: Callbacks,
    ranks: Ranks,
    stack: ExitStack,
) -> Run:
    """A run that goes on where a checkpoint was taken; what was logged after it is cut off."""
    folder = _opened(ranks, stack, lambda: RunFolder.reopen(place))
    saved = ranks.from_leader(lambda: checkpoint.load(checkpoint.find(folder.checkpoints, name)))
    _refuse_changes(config, from_table(RunConfig, saved.state["config"]), place)
    parts = build_parts(config, InputRecord.from_json(saved.state["data"]), ranks)
    counters = restore(parts, saved)
    ages = anatomy.Ages(parts.model)
    ages.load(saved.tensors["ages"])
    ranks.on_leader(lambda: folder.cut(saved.state["offsets"]))
    ranks.on_leader(lambda: folder.note_resumption(counters.step, _environment(config, ranks)))
    return Run(
        parts=parts,
        folder=folder,
        progress=progress,
        callbacks=callbacks,
        counters=counters,
        bad=_bad_images(parts, folder),
        ages=ages,
        decided=saved.state["decisions"],
        seconds_before=counters.seconds,
    )


def _bad_images(parts: Parts, folder: Folder) -> BadImages:
    active = parts.config.data.on_error == "quarantine"
    return BadImages(inputs=parts.inputs, ranks=parts.ranks, folder=folder, active=active)


def _opened(ranks: Ranks, stack: ExitStack, make: Callable[[], RunFolder]) -> Folder:
    """The run folder, which rank 0 alone opens."""
    held: list[RunFolder] = []
    ranks.on_leader(lambda: held.append(stack.enter_context(make())))
    return held[0] if held else NoFolder(Path())


def _environment(config: RunConfig, ranks: Ranks) -> dict[str, Any]:
    return {**environment(config.device), "ranks": ranks.size}


def _refuse_changes(config: RunConfig, saved: RunConfig, place: Path) -> None:
    changed = differences(saved, config)
    if changed:
        raise RunError(
            message(
                f"configuration of the resumed run {place}",
                received=f"changes ({'; '.join(changed)})",
                allowed="the configuration that the run was started with",
                fix="Undo them, or start another run: `-o` names its folder.",
            )
        )


def _start_view(run: Run) -> Start:
    return Start(
        name=run.config.name,
        describe=describe(run.parts),
        done=run.counters.step,
        total=run.parts.total_steps,
        epochs=run.config.schedule.epochs,
        batch_size=run.config.data.batch_size,
    )


def _tuning(watcher: Progress) -> launch.Watcher:
    """Tells ``watcher`` which problem the launcher times."""
    tuned = count()

    def told(problem: Problem, decision: Decision | None) -> None:
        if decision is None:
            watcher.tuning(TuningView(problem=problem.summary(), tuned=next(tuned)))

    return told
