"""Which images could not be read? The report of a loader that replaces them, and the limit at which it stops.

What stands in the place of a bad sample is decided in ``maker.py``. A sample enters the report when its batch is handed
over, so the report belongs to the loader's place and is the same for any number of workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, get_args

from mezzotint.errors import CheckpointError, ConfigError, DataError, message, suggest

OnError: TypeAlias = Literal["fail", "quarantine"]
POLICIES: tuple[OnError, ...] = get_args(OnError)
MAX_BAD = 0.01
"""The share of bad samples that is borne by default: some scattered damage, not a disk that is failing."""
_SHOWN = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class BadSample:
    """A sample that could not be read.

    Attributes:
        index: in the source.
        name: in the source.
        reason: the text of the error.
    """

    index: int
    name: str
    reason: str


class Quarantine:
    """The bad samples met so far, each once, in the order of their first appearance."""

    def __init__(self, source: str, samples: int, max_bad: float = MAX_BAD) -> None:
        """An empty report.

        Args:
            source: what the source calls itself, for messages.
            samples: how many samples it has.
            max_bad: largest share of them that may be bad, 0 to 1; one bad sample is always borne.

        Raises:
            ConfigError: the share is out of range.
        """
        if isinstance(max_bad, bool) or not isinstance(max_bad, int | float) or not 0 <= max_bad <= 1:
            raise ConfigError(message("max_bad", received=max_bad, allowed="a share of the samples, 0 to 1"))
        self.limit = max(1, int(max_bad * samples))
        self._source, self._samples, self._max_bad = source, samples, max_bad
        self._bad: dict[int, BadSample] = {}

    def __len__(self) -> int:
        """How many different samples are bad."""
        return len(self._bad)

    def __iter__(self) -> Iterator[BadSample]:
        return iter(self._bad.values())

    def __contains__(self, index: object) -> bool:
        return index in self._bad

    def add(self, found: Iterable[BadSample]) -> None:
        """Enter samples that are not in the report yet.

        Raises:
            DataError: now there are more of them than may be; they are in the report all the same.
        """
        for sample in found:
            self._bad.setdefault(sample.index, sample)
        if len(self) > self.limit:
            shown = "; ".join(f"{sample.name} ({sample.reason})" for sample in list(self)[:_SHOWN])
            raise DataError(
                message(
                    f"bad samples of {self._source}",
                    received=f"{len(self)} of {self._samples}, the first of them {shown}",
                    allowed=f"at most {self.limit}, as max_bad is {self._max_bad:g}",
                    fix="Repair or remove the files, or raise max_bad.",
                )
            )

    def records(self) -> list[dict[str, Any]]:
        """The report in the order of the samples, plain values fit for JSON."""
        return [asdict(sample) for sample in sorted(self, key=lambda sample: sample.index)]

    def restored(self, records: Sequence[Mapping[str, Any]]) -> Quarantine:
        """A report of the same source with the samples of a saved one.

        Raises:
            CheckpointError: it is damaged, or has samples that the source has not.
        """
        other = Quarantine(self._source, self._samples, self._max_bad)
        try:
            other._bad = {int(record["index"]): BadSample(**record) for record in records}
        except (TypeError, KeyError, ValueError) as error:
            raise CheckpointError(
                message(
                    "quarantine", received=f"odd entries ({error})", allowed="index, name and reason of each sample"
                )
            ) from error
        odd = [index for index in other._bad if not 0 <= index < self._samples]
        if odd:
            allowed = f"0 to {self._samples - 1}"
            raise CheckpointError(message("quarantine", received=f"sample {odd[0]}", allowed=allowed))
        return other

    def __repr__(self) -> str:
        return f"Quarantine({len(self)} of at most {self.limit} bad samples of {self._source})"


def checked_policy(on_error: str) -> OnError:
    """The policy, if it is one.

    Raises:
        ConfigError: it is not.
    """
    for known in POLICIES:
        if on_error == known:
            return known
    fix = suggest(str(on_error), POLICIES).strip()
    raise ConfigError(message("on_error", received=on_error, allowed='"fail" or "quarantine"', fix=fix))
