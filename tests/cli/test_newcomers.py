"""Do odd folders and slips of the first ten minutes end in a word about what to do next?"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_run import CONFIG

from mezzotint.cli import main
from mezzotint.train import load_config


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory of 100 columns; what the library logs goes where it goes outside of pytest."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def images(folder: str, count: int, names: str = "{}.png", mode: str = "RGB", level: int = 100) -> None:
    generator = np.random.default_rng(level)
    Path(folder).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        levels = generator.integers(level // 2, level, (10, 10, 3), dtype=np.uint8)
        image = Image.fromarray(levels)
        if mode == "I;16":
            image = Image.fromarray(levels[..., 0].astype(np.uint16) * 257)
        elif mode != "RGB":
            image = image.convert(mode)
        image.save(Path(folder) / names.format(number))


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a command, each with single blanks."""
    capsys.readouterr()
    code = main(list(words))
    found = capsys.readouterr()
    return code, " ".join(found.out.split()), " ".join(found.err.split())


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    code, _, error = told(capsys, *words)
    assert code == 2, words
    assert error.startswith("error: ")
    return error


def test_a_very_small_data_set_says_what_its_test_is_worth(capsys: pytest.CaptureFixture[str]) -> None:
    for name, level in (("cat", 90), ("dog", 180), ("elk", 250)):
        images(f"tiny/{name}", 8, level=level)
    code, out, error = told(capsys, "train", "tiny", "--epochs", "6", "--set", "threads=1", "run.samples=0")
    assert code == 0
    assert "always the same 3 images" in out
    assert "each is 33 % of the accuracy: --set data.hold_out=0.3" in out
    assert "Classes of fewer than 20 images" in error
    assert "0 updates" not in error, "the interval follows the number of steps"
    kinds = [json.loads(row)["kind"] for row in Path("runs/tiny/metrics.jsonl").read_text().splitlines()]
    assert kinds.count("topology") == 3
    assert told(capsys, "init", "tiny", "-o", "a.toml")[0] == 0
    assert "always the same 3 images" in told(capsys, "init", "tiny", "-o", "b.toml")[1]
    images("many/cat", 200)
    images("many/dog", 200, level=200)
    assert "So few" not in told(capsys, "init", "many", "-o", "c.toml")[1]


def test_folders_in_class_folders_are_spoken_of(capsys: pytest.CaptureFixture[str]) -> None:
    for place in ("animals/cat", "animals/dog", "things/cup", "things/pen"):
        images(f"deep/{place}", 3)
    remark = "Class folders hold folders of their own (animals/cat, animals/dog, things/cup and 1 more)"
    assert remark in told(capsys, "init", "deep", "-o", "a.toml")[2]
    images("deep/things", 1)  # now one image has no inner folder: those are no classes
    assert remark not in told(capsys, "init", "deep", "-o", "b.toml")[2]
    for place in ("cat/monday", "dog/monday"):
        images(f"days/{place}", 3)
    assert "hold folders" not in told(capsys, "init", "days", "-o", "c.toml")[2]


def test_modes_and_names_of_any_kind_are_trained_on(capsys: pytest.CaptureFixture[str]) -> None:
    for number, mode in enumerate(("RGB", "L", "RGBA", "I;16")):
        images("bunte Bilder/Äpfel & Birnen", 4, f"Bild {number} {{}} ä.png", mode)
        images("bunte Bilder/鸟类", 4, f"图片 {number} {{}}.png", mode, 200)
    code, out, error = told(capsys, "train", "bunte Bilder", "--epochs", "1", "--set", "threads=1", "run.samples=0")
    assert code == 0
    assert "2 ('Äpfel & Birnen', 鸟类)" in out
    assert "8 images with transparency" in error
    assert "16 images in grey" in error
    code, out, _ = told(capsys, "predict", "runs/bunte-Bilder", "bunte Bilder", "--top", "1")
    assert code == 0, "a folder stands for all images below it"
    assert out.count(" %") == 32
    assert "bunte Bilder/Äpfel & Birnen/Bild 0 0 ä.png" in out, "a name is not broken into lines"


def test_names_that_are_not_utf8_are_trained_on(capsys: pytest.CaptureFixture[str]) -> None:
    odd = "caf\udce9"  # how Python spells the name b"caf\xe9"
    images(f"photos/{odd}", 3, f"{odd}{{}}.png")
    images("photos/tea", 3, level=200)
    assert main(["train", "photos", "-q", "--epochs", "1", "--set", "threads=1"]) == 0
    run = Path("runs/photos")
    written = json.loads((run / "samples.json").read_text(encoding="utf-8"))
    assert {odd, "tea"} == {sample["label"] for sample in written}
    assert main(["report", "runs/photos"]) == 0
    assert "caf\ufffd" in (run / "report.html").read_text(encoding="utf-8")
    for file in ("net.safetensors", "net.onnx"):
        assert main(["export", "runs/photos", "-o", file]) == 0
        code, out, _ = told(capsys, "predict", file, f"photos/{odd}/{odd}0.png", "--json")
        assert code == 0
        found = json.loads(out)
        assert found["image"] == f"photos/{odd}/{odd}0.png"
        assert {guess["class"] for guess in found["top"]} == {odd, "tea"}
    Path("photos").rename(odd)  # a configuration is TOML, which is UTF-8
    assert "rename it" in refused(capsys, "init", odd, "-o", "odd.toml")
    assert not Path("odd.toml").exists()


def test_a_folder_that_cannot_be_trained_on(capsys: pytest.CaptureFixture[str]) -> None:
    images("one/cat", 3)
    images("flat", 3)
    assert "received one class, 'cat'" in refused(capsys, "train", "one")
    assert "allowed: one subfolder of images for each class" in refused(capsys, "train", "flat")
    single = refused(capsys, "train", "one/cat/0.png")
    assert "which is a single image" in single
    assert repr(str(Path("one").absolute())) in single
    for word in ("train", "init"):
        assert "Did you mean 'flat'?" in refused(capsys, word, "flatt")
    gone = refused(capsys, "init", "nowhere")
    assert "one subfolder of images for each class (photos/cat/1.jpg" in gone
    assert f"Looked at {Path('nowhere').absolute()}" in gone
    assert "parquet: " in refused(capsys, "init", "nowhere-*.tar"), "a pattern may mean any kind of shards"


def test_after_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    Path("small.toml").write_text(CONFIG)
    images("pictures/of/digits", 2, "{}.png", "L")
    assert main(["train", "small.toml", "-q"]) == 0
    for word in ("runs/small", "small.toml"):
        code, _, error = told(capsys, "train", word, "--resume")
        assert (code, "runs/small was finished before" in error) == (0, True)
    code, _, error = told(capsys, "train", "runs/small", "--from", "step-00000007")
    assert (code, "finished before" in error) == (0, False)
    assert "open it in a browser" in told(capsys, "report", "runs/small")[2]
    assert "ends in .html" in refused(capsys, "report", "runs/small", "-o", "page.pdf")
    assert not Path("page.pdf").exists()
    assert "mezzotint export runs/small -o small.onnx" in refused(capsys, "export", "runs/small")
    copied = refused(capsys, "export", "runs/small", "-f", "safetensors").partition("For example: mezzotint ")[2]
    assert main(copied.split()) == 0
    assert Path("small.safetensors").is_file()
    assert "-f onnx-sparse would leave the zeros out" in told(capsys, "export", "runs/small", "-o", "small.onnx")[2]
    picture = "pictures/of/digits/0.png"
    swapped = refused(capsys, "predict", picture, "runs/small")
    assert f"The network comes first: mezzotint predict runs/small {picture}" in swapped
    assert "Runs inside it: small." in refused(capsys, "predict", "runs", picture)
    assert "`mezzotint train` writes run folders" in refused(capsys, "predict", "pictures", picture)
    assert "Did you mean 'small.onnx'?" in refused(capsys, "predict", "smal.onnx", picture)
    assert "received no such file" in refused(capsys, "bench", "infer", "none.onnx")


def test_logs_of_the_library_are_warnings(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("small.toml").write_text(CONFIG)
    monkeypatch.setattr(logging.getLogger("mezzotint"), "propagate", False)  # past pytest's own handlers
    code, _, error = told(capsys, "train", "small.toml", "-q", "--set", "sparsity.interval=100")
    assert code == 0
    assert error.startswith("warning: Method 'sparse_momentum' makes 0 updates")


def test_the_last_action_of_a_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "required: {kernels,train,infer}" in refused(capsys, "bench")
    assert "required: {list,show,explain" in refused(capsys, "ops")


def test_a_short_run_moves_weights_as_asked(capsys: pytest.CaptureFixture[str]) -> None:
    images("photos/cat", 40)
    images("photos/dog", 40, level=200)
    assert told(capsys, "init", "photos", "-o", "long.toml")[0] == 0
    words = ["train", "photos", "-q", "--epochs", "4", "--set", "threads=1", "run.samples=0"]
    assert main([*words, "-o", "runs/short"]) == 0
    short, long = load_config("runs/short/config.toml").sparsity, load_config("long.toml").sparsity
    assert (long.interval, long.window) == (100, 20)
    assert (short.interval, short.window) == (2, 1)
    assert main([*words, "sparsity.interval=3", "-o", "runs/own"]) == 0
    assert load_config("runs/own/config.toml").sparsity.interval == 3


def test_defaults_that_are_tables_are_shown_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    assert "sparsity.layers = {}" in told(capsys, "config", "sparsity")[1]
    assert json.loads(told(capsys, "config", "--json")[1])["sparsity.options"]["default"] == "{}"
