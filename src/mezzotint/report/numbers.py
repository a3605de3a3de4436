"""How is a number written for a reader? With a unit, no more digits than it deserves, and never a crash."""

from __future__ import annotations

import math

#: What stands for a value that the run does not hold.
ABSENT = "–"
#: Of fewer test images, hundredths of a percent are no result.
ENOUGH_IMAGES = 1000

_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_BYTE_UNITS = ("B", "kB", "MB", "GB", "TB")


def plain(value: float | None, digits: int = 4) -> str:
    """``value`` with ``digits`` significant digits: ``0.02341``, ``12.3``, ``1.2e-05``."""
    if value is None:
        return ABSENT
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: "−∞"}.get(value, "NaN")
    if value and not 1e-4 <= abs(value) < 1e7:
        mantissa, exponent = f"{value:.{max(digits - 2, 0)}e}".split("e")
        return f"{_trimmed(mantissa)}e{int(exponent)}"
    if float(value).is_integer():
        return f"{int(value):,}"
    decimals = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    return _trimmed(f"{value:,.{decimals}f}")


def share(value: float) -> str:
    """A share in percent as short as it can be, for ticks: ``1 %``, ``0.5 %``."""
    return f"{plain(100 * value, 3)}\N{NO-BREAK SPACE}%"


def count(value: float | None) -> str:
    """A whole number with thousands separators: ``1,234,567``."""
    return ABSENT if value is None or not math.isfinite(value) else f"{round(value):,}"


def signed(value: float | None) -> str:
    """A whole number with its sign: ``+120``, ``−7``, ``0``."""
    if value is None or not math.isfinite(value):
        return ABSENT
    return "0" if round(value) == 0 else f"{'+' if value > 0 else '−'}{abs(round(value)):,}"


def percent(value: float | None, digits: int = 3) -> str:
    """A share (0..1) in percent with about ``digits`` significant digits: ``99.1 %``, ``0.52 %``.

    With as many more as it takes not to call 359 of 360 100 %.
    """
    if value is None:
        return ABSENT
    if not math.isfinite(value):
        return plain(value)
    if 0.9 < value < 1:
        enough = (finer for finer in range(digits, 6) if float(f"{100 * value:.{finer}g}") < 100)
        digits = next(enough, digits)
    # Rounded first: 9.9996 has one digit before the point, its rounded value two.
    shown = float(f"{100 * value:.{digits}g}")
    whole = len(str(int(abs(shown))))
    return f"{shown:.{min(max(digits - whole, 0), 3)}f}\N{NO-BREAK SPACE}%"


def size(value: float | None) -> str:
    """Bytes in decimal units: ``431 kB``."""
    if value is None or not math.isfinite(value):
        return ABSENT
    amount, unit = float(value), 0
    while abs(amount) >= 999.5 and unit < len(_BYTE_UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{plain(amount, 3)}\N{NO-BREAK SPACE}{_BYTE_UNITS[unit]}"


def duration(seconds: float | None) -> str:
    """Seconds as people say them: ``4.2 s``, ``3 min 12 s``, ``2 h 05 min``."""
    if seconds is None or not math.isfinite(seconds):
        return ABSENT
    if seconds < 60:
        return f"{plain(seconds, 3)} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def milliseconds(value: float | None) -> str:
    """Milliseconds with three significant digits: ``12.3 ms``."""
    return ABSENT if value is None else f"{plain(value, 3)} ms"


def ratio(part: float | None, whole: float | None) -> str:
    """``part / whole`` as ``0.18×``."""
    if part is None or not whole:
        return ABSENT
    return f"{plain(part / whole, 3 if part < 9.995 * whole else 2)}×"


def power_of_two(value: float | None) -> str:
    """``2¹⁶`` for an exact power of two, else the plain number."""
    if value is None or value <= 0 or not math.isfinite(value):
        return plain(value)
    exponent = math.log2(value)
    return f"2{str(int(exponent)).translate(_SUPERSCRIPT)}" if exponent.is_integer() else plain(value)


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text
