"""Is a run folder read as it is: whole, half-written, damaged, resumed, or no run at all?"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from mezzotint.errors import RunError
from mezzotint.report import read_run
from mezzotint.report.headline import final_layers, headline


def test_a_finished_run_is_read_completely(finished: Path, fake: ModuleType) -> None:
    run = read_run(finished)
    assert (len(run.epochs), len(run.topology)) == (fake.EPOCHS, fake.UPDATES)
    assert len(run.steps) == len(run.timing) == -(-fake.EPOCHS * fake.STEPS_AN_EPOCH // fake.LOG_EVERY)
    assert [step.step for step in run.steps if step.skipped] == list(fake.SKIPPED)
    assert run.samples is not None
    assert [(item.width, item.height, item.label) for item in run.samples[:2]] == [(28, 28, "zero"), (28, 28, "one")]
    assert run.mistakes is not None
    assert run.mistakes.classes == fake.CLASSES
    assert run.config["sparse"]["density"] == 0.1
    assert run.notes == ()


def test_nnz_is_conserved_by_the_fake_updates(finished: Path) -> None:
    for update in read_run(finished).topology:
        moves = update.layers.values()
        assert sum(move.before or 0 for move in moves) == sum(move.after or 0 for move in moves)
        assert sum(move.pruned or 0 for move in moves) == sum(move.grown or 0 for move in moves)


def test_headline_of_a_finished_run(finished: Path) -> None:
    head, summary = headline(read_run(finished)), json.loads((finished / "summary.json").read_text(encoding="utf-8"))
    assert head.state == "finished"
    assert (head.name, head.method, head.precision) == ("lenet-fp16", "sparse_momentum", "fp16")
    assert (head.accuracy, head.nnz, head.seconds) == tuple(summary[key] for key in ("test_accuracy", "nnz", "seconds"))
    assert head.sparse_bytes == summary["weight_bytes"] + summary["optimizer_bytes"] + summary["index_bytes"]
    assert head.dense_bytes == summary["dense_weight_bytes"] + summary["dense_optimizer_bytes"]


def test_headline_of_a_run_in_progress_comes_from_the_latest_records(own_run: Path) -> None:
    (own_run / "summary.json").unlink()
    head, run = headline(read_run(own_run)), read_run(own_run)
    assert head.state == "in progress"
    assert head.accuracy == run.epochs[-1].test_accuracy
    assert head.epochs == len(run.epochs)
    assert head.steps == run.epochs[-1].step
    assert (head.name, head.method, head.precision) == ("lenet-fp16", "sparse_momentum", "fp16")
    assert head.seconds == sum(item.seconds or 0.0 for item in run.epoch_times)
    assert head.sparse_bytes is not None


def test_a_half_written_last_line_is_left_out_with_a_note(own_run: Path) -> None:
    whole = read_run(own_run)
    with (own_run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"kind":"epoch","epoch":30,"tes')
    cut = read_run(own_run)
    assert cut.epochs == whole.epochs
    assert any("last line is incomplete" in note for note in cut.notes)


def test_a_last_line_without_line_end_counts_when_it_is_complete(own_run: Path) -> None:
    text = (own_run / "metrics.jsonl").read_text(encoding="utf-8")
    (own_run / "metrics.jsonl").write_text(text.rstrip("\n"), encoding="utf-8")
    assert len(read_run(own_run).epochs) == 30
    assert read_run(own_run).notes == ()


def test_bad_lines_are_counted_and_the_others_kept(own_run: Path) -> None:
    text = (own_run / "metrics.jsonl").read_text(encoding="utf-8")
    (own_run / "metrics.jsonl").write_text('not json\n[1, 2]\n\n"x"\n' + text, encoding="utf-8")
    run = read_run(own_run)
    assert len(run.epochs) == 30
    assert run.notes == ("metrics.jsonl: 3 unreadable lines left out.",)


def test_a_step_logged_twice_after_a_resume_counts_once_and_the_later_one_wins(own_run: Path) -> None:
    before = read_run(own_run)
    with (own_run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"kind":"step","step":20,"loss":123.0}\n')
    after = read_run(own_run)
    assert len(after.steps) == len(before.steps)
    assert next(step.loss for step in after.steps if step.step == 20) == 123.0


@pytest.mark.parametrize(
    "name", ["config.toml", "environment.json", "decisions.json", "samples.json", "mistakes.json", "summary.json"]
)
@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe\x00", b"[]", b'"text"', b"3"])
def test_any_optional_file_may_be_absent_or_damaged(own_run: Path, name: str, content: bytes | None) -> None:
    if content is None:
        (own_run / name).unlink()
    else:
        (own_run / name).write_bytes(content)
    run = read_run(own_run)
    assert len(run.epochs) == 30
    if name != "config.toml" and content in (b"", b"{"):
        assert any(note.startswith(name) for note in run.notes)


def test_pictures_outside_the_run_are_not_embedded(own_run: Path, fake: ModuleType) -> None:
    outside = own_run.parent / "secret.png"
    outside.write_bytes(fake.png(1, 1, b"\0\0"))
    listed = [{"file": "../../secret.png", "label": "a"}, {"file": str(outside), "label": "b"}]
    (own_run / "samples.json").write_text(json.dumps(listed), encoding="utf-8")
    run = read_run(own_run)
    assert run.samples == ()
    assert len(run.notes) == 2
    assert all("outside" in note for note in run.notes)


def test_what_is_not_a_png_is_not_embedded(own_run: Path) -> None:
    (own_run / "samples" / "000.png").write_bytes(b"<svg onload='alert(1)'/>")
    run = read_run(own_run)
    assert run.samples is not None
    assert len(run.samples) == 23
    assert any("000.png is not a PNG" in note for note in run.notes)


def test_infinite_and_missing_losses_survive(own_run: Path) -> None:
    with (own_run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"kind":"step","step":20000,"loss":NaN}\n{"kind":"step","step":20001,"loss":1e400}\n')
        file.write('{"kind":"step","step":20002}\n')
    nan, infinite, absent = (step.loss for step in read_run(own_run).steps[-3:])
    assert nan != nan
    assert infinite == float("inf")
    assert absent is None


def test_final_layers_follow_an_update_after_the_last_epoch(own_run: Path) -> None:
    move = {"before": 10, "pruned": 4, "grown": 3, "after": 9, "density": 9 / 864}
    row = {"kind": "topology", "step": 99_999, "layers": {"features.0.conv": move}}
    with (own_run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    layers = final_layers(read_run(own_run))
    assert (layers["features.0.conv"].nnz, layers["features.0.conv"].numel) == (9, 864)
    assert layers["classifier.output"].nnz == 5120


def test_a_missing_folder_is_refused_with_a_suggestion(finished: Path) -> None:
    with pytest.raises(RunError, match=r"does not exist.*Did you mean 'sparse'\?"):
        read_run(finished.parent / "sparce")


def test_a_folder_that_is_no_run_names_the_runs_inside_it(finished: Path) -> None:
    with pytest.raises(RunError, match=r"is no run; allowed: .*metrics\.jsonl.* Runs inside it: sparse\."):
        read_run(finished.parent)


def test_an_empty_folder_says_what_makes_a_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"`mezzotint train` makes such a folder"):
        read_run(tmp_path)


def test_a_file_is_refused_and_its_folder_named(finished: Path) -> None:
    with pytest.raises(RunError, match=r"which is a file.*Give the folder itself"):
        read_run(finished / "config.toml")
