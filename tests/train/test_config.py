"""Is a configuration read exactly, refused with a remedy, and written so that it comes back the same?"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mezzotint.errors import ConfigError
from mezzotint.models import MODELS
from mezzotint.precision import MODES
from mezzotint.sparse import DECAYS, DISTRIBUTIONS, METHODS
from mezzotint.train import (
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    PrecisionConfig,
    RunConfig,
    RunOptions,
    ScheduleConfig,
    SparsityConfig,
    config_text,
    load_config,
    parse_config,
)
from mezzotint.train.config_file import FREE, differences, fingerprint
from mezzotint.train.table import all_keys

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.toml"))

positive = st.floats(1e-12, 1e6)
share = st.floats(0, 1, exclude_max=True)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
names = st.text(st.characters(codec="utf-8", exclude_characters="/\\\0\n. "), min_size=1, max_size=20)

data_configs = st.builds(
    DataConfig,
    path=texts,
    labels=st.none() | texts,
    train_split=texts,
    cache=st.booleans(),
    batch_size=st.integers(1, 10**9),
    augment=st.lists(
        st.builds(lambda padding: {"name": "random_crop", "padding": padding}, st.integers(0, 9)), max_size=3
    ).map(tuple),
    mean=st.lists(st.floats(0, 1), min_size=1, max_size=3).map(tuple),
    std=st.lists(positive, min_size=1, max_size=3).map(tuple),
)
configs = st.builds(
    RunConfig,
    name=names,
    seed=st.integers(0, 2**63 - 1),
    device=st.sampled_from(["cpu", "cuda", "cuda:1"]),
    data=data_configs | st.just(DataConfig(source="digits")),
    model=st.builds(ModelConfig, name=st.sampled_from(list(MODELS)), zero_init=st.booleans()),
    sparsity=st.builds(
        SparsityConfig,
        density=st.floats(0, 1, exclude_min=True),
        distribution=st.sampled_from(list(DISTRIBUTIONS)),
        exclude=st.lists(texts, max_size=3).map(tuple),
        method=st.sampled_from(list(METHODS)),
        prune_rate=st.floats(0, 1),
        decay=st.sampled_from(list(DECAYS)),
        interval=st.just("epoch") | st.integers(1, 10**6),
        window=st.integers(1, 10**6),
    ),
    precision=st.builds(PrecisionConfig, mode=st.sampled_from(list(MODES)), init_scale=st.floats(2**-14, 2**24)),
    optimizer=st.builds(
        OptimizerConfig,
        name=st.sampled_from(["sgd", "adam", "adamw"]),
        lr=positive,
        momentum=st.floats(0.1, 0.99),
        betas=st.tuples(share, share),
        weight_decay=st.floats(0, 1),
        clip_norm=st.none() | positive,
    ),
    schedule=st.builds(
        ScheduleConfig,
        epochs=st.integers(1, 1000),
        name=st.sampled_from(["cosine", "constant"]),
        warmup_epochs=st.floats(0, 1),
        drops=st.lists(positive, max_size=3).map(lambda drops: tuple(sorted(drops))),
    ),
    run=st.builds(RunOptions, checkpoint_steps=st.none() | st.integers(1, 10**6), checkpoint_minutes=positive),
)


@given(configs)
def test_text_gives_the_configuration_back(config: RunConfig) -> None:
    assert parse_config(config_text(config)) == config


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_presets_are_valid_and_come_back_the_same(path: Path) -> None:
    config = load_config(path)
    assert parse_config(config_text(config)) == config
    assert config.name in {path.stem, path.stem.replace("_", "-")}


DIGITS = '[data]\nsource = "digits"\n'

#: (text of the file) -> what the message must hold.
WRONG = {
    "lr = 0.1\n" + DIGITS: ("'lr'", "top level", "Did you mean 'optimizer.lr'?"),
    DIGITS + "[sparsity]\ndensty = 0.1": ("'densty'", "[sparsity]", "Did you mean 'density'?"),
    DIGITS + "[sparsty]\ndensity = 0.1": ("'sparsty'", "Did you mean 'sparsity'?"),
    DIGITS + "[sparsity]\nbatch_size = 1": ("Did you mean 'data.batch_size'?",),
    DIGITS + "[sparsity]\nseed = 1": ("'seed'", "[sparsity]", "'seed' belongs at the top level, above all sections."),
    DIGITS + "[sparsity]\ndensity = 0": ("sparsity.density", "above 0 and at most 1"),
    DIGITS + "[sparsity]\ndensity = 1.5": ("sparsity.density", "received 1.5"),
    DIGITS + "[sparsity]\ndensity = nan": ("sparsity.density", "nan"),
    DIGITS + '[sparsity]\ndensity = "0.1"': ("sparsity.density", "the text '0.1'", "a number"),
    DIGITS + "[sparsity]\ndensity = true": ("sparsity.density", "true"),
    DIGITS + '[sparsity]\nmethod = "static_"': ("sparsity.method", "Did you mean 'static'?"),
    DIGITS + '[sparsity]\ninterval = "day"': ("sparsity.interval", "epoch"),
    DIGITS + '[model]\nname = "resnet2_0"': ("model.name", "Did you mean 'resnet20'?"),
    DIGITS + '[precision]\nmode = "fp8"': ("precision.mode", "bf16"),
    DIGITS + "[optimizer]\nlr = 0": ("optimizer.lr", "above 0"),
    DIGITS + "[optimizer]\nbetas = [0.9]": ("optimizer.betas", "a list of 2"),
    DIGITS + "[optimizer]\nmomentum = 0.0": ("optimizer.nesterov",),
    DIGITS + "[optimizer]\nmomentum = 0.0\nnesterov = false\n[sparsity]\ndensity = 0.5": ("ranks weights by momentum",),
    DIGITS + "[optimizer]\nmomentum = 0.0\nnesterov = false\n[sparsity]\ndensity = 0.5\nmethod = 'falling_momentum'": (
        "optimizer.momentum: received 0.0",
    ),
    DIGITS + "[schedule]\nepochs = 2.5": ("schedule.epochs", "a whole number"),
    DIGITS + '[schedule]\nname = "step"': ("schedule.drops",),
    DIGITS + "[schedule]\ndrops = [3, 1]": ("schedule.drops", "ascending"),
    DIGITS + "path = 'x'": ("data.path", "embedded"),
    DIGITS + "mean = [0.5]": ("data.mean and data.std",),
    DIGITS + "mean = [0.5]\nstd = [0.0]": ("data.std", "above 0"),
    DIGITS + "mean = [0.5]\nstd = 1e400": ("data.std",),
    DIGITS + '[[data.augment]]\nname = "random_cropp"': ("data.augment[0]", "Did you mean 'random_crop'?"),
    DIGITS + '[[data.augment]]\nname = "random_crop"\npading = 2': ("data.augment[0]", "padding"),
    DIGITS + '[[data.mix]]\nname = "cut_mix"': ("data.mix[0]", "Did you mean 'cutmix'?"),
    "[data]\nbatch_size = 10": ("data.path", "digits"),
    "seed = 1": ("section [data]",),
    "data = 3": ("data", "a section"),
    'name = "a/b"\n' + DIGITS: ("name", "folder"),
    "seed = -1\n" + DIGITS: ("seed", "at least 0"),
    'device = "gpu"\n' + DIGITS: ("device", "cuda"),
    "seed = \n": ("not valid TOML",),
}


@pytest.mark.parametrize("text", WRONG)
def test_mistakes_are_told_with_place_and_remedy(text: str, tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    told = str(caught.value)
    assert str(file) in told
    for part in WRONG[text]:
        assert part in told


def test_a_missing_file_is_named_with_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "digits.toml").write_text(DIGITS)
    with pytest.raises(ConfigError, match=r"digit\.toml.*does not exist.*Did you mean 'digits\.toml'"):
        load_config(tmp_path / "digit.toml")
    with pytest.raises(ConfigError, match="readable TOML file"):
        load_config(tmp_path)


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """A configuration file."""
    file = tmp_path / "digits.toml"
    file.write_text(DIGITS)
    return file


def test_overrides_are_toml_values_and_words(digits: Path) -> None:
    config = load_config(
        digits,
        [
            "optimizer.lr=1",
            "precision.mode=bf16",
            'model.name="resnet20"',
            "sparsity.exclude=['conv1', 'fc']",
            "data.cache = true",
            "data.augment=[{name='cutout', size=3}]",
            "sparsity.density=0.5",
            "sparsity.density=0.25",
        ],
    )
    assert config.optimizer.lr == 1.0
    assert config.precision.mode == "bf16"
    assert config.model.name == "resnet20"
    assert config.sparsity.exclude == ("conv1", "fc")
    assert config.sparsity.density == 0.25
    assert config.data.cache is True
    assert config.data.augment == ({"name": "cutout", "size": 3},)


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("lr", "section.key=value"),
        ("optimizer.lr=", "received nothing"),
        ("=3", "section.key=value"),
        ("optimizer.lr=0.1 0.2", "a TOML value"),
        ("seed=1\nthreads=2", "several lines"),
        ("seed.x=1", "seed"),
        ("sparsity.densty=0.5", "Did you mean 'density'?"),
    ],
)
def test_wrong_overrides(digits: Path, override: str, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(digits, ["threads=1", override] if "seed.x" not in override else ["seed=1", override])
    assert part in str(caught.value)


def test_differences_name_keys_and_ignore_free_ones(digits: Path) -> None:
    before = load_config(digits)
    after = load_config(digits, ["optimizer.lr=0.5", "threads=3", "run.keep=9", "optimizer.clip_norm=1"])
    assert differences(before, after) == ["optimizer.lr: 0.1 -> 0.5", "optimizer.clip_norm: not set -> 1.0"]
    free = replace(before, threads=3, run=replace(before.run, keep=9))
    assert differences(before, free) == []
    assert fingerprint(before) == fingerprint(free) != fingerprint(after)


def test_free_keys_exist() -> None:
    assert set(all_keys(RunConfig)) >= FREE


def test_numbers_that_do_not_fit_a_float_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.lr"):
        parse_config(DIGITS + f"[optimizer]\nlr = {10**400}")
    assert math.isfinite(parse_config(DIGITS + "[optimizer]\nlr = 10").optimizer.lr)


def test_options_belong_to_the_method() -> None:
    config = _parse('[sparsity]\ndensity = 0.1\nmethod = "mest"\noptions = { soft = true }')
    assert config.sparsity.given == {"soft": True}
    with pytest.raises(ConfigError, match=r"sparsity\.options of method .*: received sof;.*Did you mean 'soft'"):
        _parse('[sparsity]\nmethod = "mest"\noptions = { sof = true }')
    with pytest.raises(ConfigError, match=r"received window;.*Set sparsity\.window instead"):
        _parse('[sparsity]\nmethod = "rigl"\noptions = { window = 2 }')
    with pytest.raises(ConfigError, match="moves single weights"):
        _parse('[sparsity]\nmethod = "rigl"\nstructure = "2:4"')
    with pytest.raises(ConfigError, match=r"sparsity\.structure: received 5:4"):
        _parse('[sparsity]\nmethod = "nm"\nstructure = "5:4"')


def test_shared_settings_go_to_the_methods_that_have_them() -> None:
    text = '[sparsity]\nprune_rate = 0.2\nwindow = 7\nmethod = "{}"'
    assert _parse(text.format("rigl")).sparsity.given == {"prune_rate": 0.2, "window": 7}
    assert _parse(text.format("set")).sparsity.given == {"prune_rate": 0.2}
    assert _parse(text.format("gmp")).sparsity.given == {}


def test_methods_say_how_dense_they_start() -> None:
    text = '[sparsity]\ndensity = 0.2\nmethod = "{}"'
    starts = {name: _parse(text.format(name)).sparsity.first_density for name in METHODS}
    assert starts == dict.fromkeys(METHODS, 0.2) | {
        "gmp": 1.0,
        "ac_dc": 1.0,
        "granet": 0.5,
        "falling_momentum": 0.5,
        "top_kast": 0.4,
    }
    assert _parse(text.format("srigl")).sparsity.first_choice(trained=False) == "fan_in"


def test_only_a_method_that_comes_to_its_goal_may_start_elsewhere() -> None:
    text = '[sparsity]\ndensity = 0.1\nstart_density = 0.7\nmethod = "{}"'
    for name in ("gmp", "granet", "falling_momentum", "ac_dc", "top_kast"):
        assert _parse(text.format(name)).sparsity.first_density == 0.7
    for name in ("static", "set", "rigl", "sparse_momentum", "nm"):
        with pytest.raises(ConfigError, match=rf"start_density: received 0\.7;.*method '{name}' .*sparsity\.methods"):
            _parse(text.format(name))


def test_a_changed_option_is_a_changed_run() -> None:
    text = '[sparsity]\nmethod = "mest"\noptions = {{ soft = {} }}'
    changed = differences(_parse(text.format("true")), _parse(text.format("false")))
    assert changed == ["sparsity.options.soft: true -> false"]


def _parse(text: str) -> RunConfig:
    return parse_config('[data]\nsource = "digits"\n' + text)
