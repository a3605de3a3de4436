"""Does the page keep a newcomer from misreading it? What was computed, how few the images are, which run it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mezzotint.report.headline import final_layers, headline, multiply_adds
from mezzotint.report.hero import hero, titled
from mezzotint.report.page import run_page
from mezzotint.report.read import read_run
from mezzotint.report.record import Filters, Run
from mezzotint.report.sections import density, layers, memory, mistakes, movement, next, samples, timing
from mezzotint.report.sections.filters import filter_chart


def rewritten(run: Path, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Path:
    """The run with every row of its metrics changed, or left out."""
    rows = map(json.loads, (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    kept = [json.dumps(new) for row in rows if (new := change(row)) is not None]
    (run / "metrics.jsonl").write_text("\n".join(kept) + "\n", encoding="utf-8")
    return run


def few(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"test_images": 30, "test_accuracy": 14 / 30} if row["kind"] == "epoch" else row


def test_the_share_of_the_work_is_told_beside_that_of_the_weights(finished: Path, fake: Any) -> None:
    run = read_run(finished)
    work = {name: layer.density * run.arithmetic[name] for name, layer in final_layers(run).items() if layer.density}
    share = (sum(work.values()) + 1_000_000) / sum(run.arithmetic.values())
    assert multiply_adds(run) == pytest.approx(share)
    assert f"{100 * share:.3g}\N{NO-BREAK SPACE}% of its multiply-adds" in hero(run)
    table = layers.section(run).html()
    assert "of all that are left" in table
    assert f"{work['features.0.conv'] / 1e6:.3g} M" in table
    without = replace(run, arithmetic={})
    assert multiply_adds(without) is None
    assert "multiply-adds" not in hero(without) + layers.section(without).html()


def test_few_test_images_are_counted_and_not_measured_in_hundredths(own_run: Path) -> None:
    (own_run / "summary.json").unlink()
    top = hero(read_run(rewritten(own_run, few)))
    assert "<strong>14 of 30</strong> test images correctly" in top
    assert "14 of 30 images" in top
    assert "46.67" not in top


def test_a_diverged_run_has_a_badge_and_a_word_of_advice(own_run: Path, finished: Path) -> None:
    lost = read_run(rewritten(own_run, lambda row: row | {"diverged": True, "train_loss": 3.8e20}))
    assert 'class="state diverged"' in hero(lost)
    assert "optimizer.lr" in hero(lost)
    assert "diverged" not in hero(read_run(finished))


def test_a_run_under_way_tells_how_far_it_is(own_run: Path) -> None:
    (own_run / "summary.json").unlink()
    text = (own_run / "config.toml").read_text(encoding="utf-8")
    (own_run / "config.toml").write_text(f"{text}\n[schedule]\nepochs = 112\n", encoding="utf-8")
    run = read_run(own_run)
    top = hero(run)
    assert "30 of 112" in top
    assert "2 min 58 s" in top, "the sum of its epochs"
    assert "as it stands" in mistakes.section(run).html()


def test_the_heading_names_the_folder_where_the_name_does_not(own_run: Path, tmp_path: Path) -> None:
    assert titled(headline(read_run(own_run))) == "lenet-fp16 (run)"
    assert "<title>lenet-fp16 (run) " in run_page(read_run(own_run))
    alike = shutil.move(own_run, tmp_path / "lenet-fp16")
    assert titled(headline(read_run(alike))) == "lenet-fp16"


def test_one_ratio_of_memory_on_the_whole_page(finished: Path) -> None:
    run = read_run(finished)
    (held,) = (row for row in memory.rows(run.memory) if row[0] == "All together") if run.memory else ((),)
    head = headline(run)
    assert held[1:] == (head.sparse_bytes, head.dense_bytes)
    assert memory.rows(run.memory)[-1][0] == "Gradients, within a step" if run.memory else False


def test_nothing_is_told_of_updates_that_never_came(own_run: Path) -> None:
    even = {"nnz": 10, "numel": 100, "density": 0.1}

    def still(row: dict[str, Any]) -> dict[str, Any] | None:
        if row["kind"] == "topology":
            return None
        return row | {"layers": {"a": even, "b": even}} if row["kind"] == "epoch" else row

    told = density.section(read_run(rewritten(own_run, still))).html()
    assert "trade" not in told
    assert "keep most" not in told
    assert "about the same share" in told


def test_a_network_that_is_pruned_does_not_keep_its_number(own_run: Path, finished: Path) -> None:
    def pruned(row: dict[str, Any]) -> dict[str, Any]:
        if row["kind"] == "topology" and row["step"] < 3000:
            for move in row["layers"].values():
                move["after"] *= 3
        return row

    assert "keeps its number" in density.section(read_run(finished)).html()
    assert "changes its number" in density.section(read_run(rewritten(own_run, pruned))).html()


def test_mistakes_show_the_names_of_their_files(finished: Path) -> None:
    shown = mistakes.section(read_run(finished)).html()
    assert '<span class="file">0</span>' in shown  # of test/0


def test_images_that_cannot_be_read_are_left_out_in_the_words_of_the_guide(finished: Path) -> None:
    assert "left out" in samples.section(read_run(finished)).html()


def test_predict_is_among_the_next_commands(finished: Path) -> None:
    assert ("See what it makes of a picture", f"mezzotint predict {finished} PICTURE.jpg") in next.commands(
        read_run(finished)
    )


def test_no_card_is_half_empty_beside_a_taller_one(finished: Path) -> None:
    run = read_run(finished)
    assert '<figure id="time-shares" class="wide">' in timing.section(run).html()
    assert '<figure id="per-update">' in movement.section(run).html(), "beside bars of few layers"
    many = replace(run, topology=tuple(replace(update, layers=_many(update)) for update in run.topology))
    for key in ("per-update", "turnover"):
        assert f'<figure id="{key}" class="wide">' in movement.section(many).html()


def _many(update: Any) -> dict[str, Any]:
    return {f"{name}.{place}": move for place in range(3) for name, move in update.layers.items()}


@pytest.mark.parametrize(("shape", "of"), [((16, 3, 3, 3), 16), ((64, 3, 7, 7), 64), ((24, 1, 5, 5), 24)])
def test_filters_fill_the_width_of_a_phone(shape: tuple[int, int, int, int], of: int) -> None:
    weights = bytes([200]) * (shape[0] * shape[1] * shape[2] * shape[3])
    chart = filter_chart(Filters(layer="conv1", shape=shape, of=of, largest=1.0, weights=weights))
    drawing = chart.draw(350.0)
    lefts = [float(part.split('"')[0]) for part in drawing.body.split('<rect x="')[1:]]
    widths = [float(part.split('"')[0]) for part in drawing.body.split(' width="')[2:]]
    assert max(lefts) + widths[-1] > 0.88 * 350
    assert max(lefts) + widths[-1] <= 350


def test_a_run_without_any_record_still_has_a_page() -> None:
    assert "not recorded" in run_page(Run(folder=Path("nothing")))
