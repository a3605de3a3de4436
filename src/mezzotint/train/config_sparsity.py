"""What can be set about sparsity? The section ``[sparsity]`` of the configuration file, checked against the method."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from mezzotint.errors import ConfigError, InputError, message, suggest
from mezzotint.sparse import CHOICES, DECAYS, DISTRIBUTIONS, INITS, first_density, options_of
from mezzotint.sparse.structure import Structure
from mezzotint.train.checks import require_method, require_number, require_one_of, require_whole

_SHARED = ("prune_rate", "decay", "window", "stagger")
_OWN: Final = (*_SHARED, "start_density")
"""What the file says of its own method alone."""
_MADE_BY_THE_RUN = ("interval", "total_steps", "goal", "seed")
_BY_METHOD: Final = (*_OWN, "interval", "choose", "init", "options")
_OF_THE_GOAL = ("density", "distribution")


@dataclass(frozen=True, kw_only=True)
class SparsityConfig:
    """``[sparsity]``: how many weights, where at first, and how they move.

    Attributes:
        density: nonzeros / weights of all layers that are made sparse, in (0, 1], at the end of the training; 1.0
            trains an ordinary dense network.
        start_density: at the beginning, for a method that goes on to ``density`` from there ("gmp", "granet",
            "falling_momentum", "ac_dc", "top_kast"); None: what the method says (GMP starts dense, most start as they
            end).
        distribution: over layers: "uniform", "er", "erk" or "uniform_plus".
        layers: densities of single layers, by dotted name or glob: ``{ "conv1" = 1.0, "layer4.*" = 0.05 }``. A layer's
            own name counts before the first glob that fits; 1.0 leaves a layer dense; density and distribution are
            those of the layers that are not named here.
        exclude: layers that stay dense: dotted names or globs.
        choose: the first pattern: "random", "magnitude" or "fan_in"; None: "magnitude" of weights that were
            trained before, otherwise "fan_in" for SRigL and "random" for all others.
        init: values the kept weights start with: "keep", "rescale" (for the sparse fan-in) or "fresh"; None: "keep" for
            weights that were trained before, else "rescale".
        structure: "n:m" or blocks as "4x4", for the methods "static", "nm" and "block"; None: single weights.
        method: how the topology moves: a name of ``mezzotint.sparse.METHODS``, which ``mezzotint config method`` lists
            with a line each, or ``"package.module:Class"``.
        prune_rate: fraction of active weights moved by an update, at first; None: the method's own. This setting and
            decay, window and stagger are without effect for a method that has no such thing (GMP has no prune rate),
            so that one file serves all methods.
        decay: of the prune rate: "cosine", "linear" or "constant"; None: the method's own.
        interval: steps between topology updates, or "epoch".
        window: steps before an update in which dense gradients are collected; interval or more: always; None: the
            method's own.
        stagger: spread the layers' turns over the interval; None: the method's own.
        options: other options of the method, as its class names them: ``{growth = "gradient"}``.
        methods: what a sweep's other methods are trained with: ``rigl = { interval = 100 }``. The file's prune_rate,
            decay, window, stagger, start_density and options are those of its own method; another one has its own
            defaults, which are the published values, unless they are set here.
    """

    density: float = 1.0
    start_density: float | None = None
    distribution: str = "erk"
    layers: dict[str, Any] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    choose: str | None = None
    init: str | None = None
    structure: str | None = None
    method: str = "sparse_momentum"
    prune_rate: float | None = None
    decay: str | None = None
    interval: int | str = "epoch"
    window: int | None = None
    stagger: bool | None = None
    options: dict[str, Any] = field(default_factory=dict)
    methods: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require_density("sparsity.density", self.density)
        if self.start_density is not None:
            _require_density("sparsity.start_density", self.start_density)
        for name, density in self.by_layer.items():
            _require_density(f"sparsity.layers, {name!r}", density)
        require_one_of("sparsity.distribution", self.distribution, DISTRIBUTIONS)
        require_method("sparsity.method", self.method)
        if self.choose is not None:
            require_one_of("sparsity.choose", self.choose, CHOICES)
        if self.init is not None:
            require_one_of("sparsity.init", self.init, INITS)
        if self.prune_rate is not None:
            require_number("sparsity.prune_rate", self.prune_rate, 0.0, 1.0)
        if self.decay is not None:
            require_one_of("sparsity.decay", self.decay, DECAYS)
        if self.window is not None:
            require_whole("sparsity.window", self.window, 1)
        if isinstance(self.interval, str) and self.interval != "epoch":
            raise ConfigError(message("sparsity.interval", received=self.interval, allowed='steps, or "epoch"'))
        if isinstance(self.interval, int):
            require_whole("sparsity.interval", self.interval, 1)
        self._check_method()
        for name in self.methods:
            self.for_method(name)

    def for_method(self, name: str) -> SparsityConfig:
        """These settings for ``name``, which may be another method than the file's.

        Raises:
            ConfigError: what is set for it in ``methods`` is not allowed.
        """
        place, given = f"sparsity.methods.{name}", self.methods.get(name, {})
        require_method("sparsity.methods" if name in self.methods else "method", name)
        if not isinstance(given, Mapping):
            raise ConfigError(message(place, received=given, allowed="a table: { interval = 100 }"))
        for key in given:
            if key not in _BY_METHOD:
                fix = suggest(key, _BY_METHOD).strip()
                raise ConfigError(message(place, received=key, allowed=", ".join(_BY_METHOD), fix=fix))
        own: dict[str, Any] = {} if name == self.method else {**dict.fromkeys(_OWN), "options": {}}
        try:
            return replace(self, **{**own, **given, "method": name, "methods": {}})
        except ConfigError as error:
            raise ConfigError(f"{place}: {error}" if given else str(error)) from error

    def _check_method(self) -> None:
        """The method has these options, can begin at another density, and can keep the structure."""
        known = options_of(self.method)
        elsewhere = (*_SHARED, "structure", *_MADE_BY_THE_RUN, *(_OF_THE_GOAL if "goal" in known else ()))
        own = [key for key in known if key not in elsewhere]
        for key in self.options:
            if key not in own:
                set_there = key in (*_SHARED, *_OF_THE_GOAL)
                where = f"Set sparsity.{key} instead." if set_there else suggest(key, own).strip()
                name = f"sparsity.options of method {self.method!r}"
                raise ConfigError(message(name, received=key, allowed=", ".join(own) or "none", fix=where))
        if self.start_density is not None and "goal" not in known:
            raise ConfigError(
                message(
                    "sparsity.start_density",
                    received=self.start_density,
                    allowed=f"nothing, as method {self.method!r} knows no goal: it would not come to sparsity.density",
                    fix="Leave it out; what another method of a sweep begins with is set in sparsity.methods.",
                )
            )
        if self.structure is not None:
            if "structure" not in known and self.method != "static":
                raise ConfigError(
                    message(
                        "sparsity.structure",
                        received=self.structure,
                        allowed=f"nothing, as method {self.method!r} moves single weights",
                        fix='Methods that keep a structure: "static", "nm" and "block".',
                    )
                )
            try:
                Structure.parse(self.structure)
            except InputError as error:
                raise ConfigError(f"sparsity.{error}") from error

    @property
    def dense(self) -> bool:
        """Whether this is an ordinary dense network."""
        return self.density == 1.0 and not self.layers

    @property
    def by_layer(self) -> dict[str, float]:
        """``layers`` by dotted names, also where TOML made tables of them because there were no quotes around."""
        return dict(_dotted(self.layers))

    @property
    def given(self) -> dict[str, Any]:
        """The method's options that are set; shared settings that the method does not have are without effect."""
        known = options_of(self.method)
        shared = {key: getattr(self, key) for key in (*_SHARED, "structure") if key in known}
        return {key: value for key, value in shared.items() if value is not None} | self.options

    @property
    def first_density(self) -> float:
        """The density that training starts with."""
        return first_density(self.method, self.density) if self.start_density is None else self.start_density

    def first_choice(self, trained: bool) -> str:
        """How the first pattern is chosen, of weights that were ``trained`` before or not."""
        return self.choose or ("magnitude" if trained else "fan_in" if self.method == "srigl" else "random")

    def first_values(self, trained: bool) -> str:
        """What the kept weights start with."""
        return self.init or ("keep" if trained else "rescale")


def _dotted(table: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{place}{name}.")
        else:
            yield f"{place}{name}", value


def _require_density(name: str, density: Any) -> None:
    number = isinstance(density, int | float) and not isinstance(density, bool)
    if not (number and math.isfinite(density) and 0 < density <= 1):
        raise ConfigError(
            message(
                name,
                received=repr(density),
                allowed="above 0 and at most 1 (1 = dense)",
                fix="Density is the share of weights that exist: 0.1 keeps 10 %.",
            )
        )
