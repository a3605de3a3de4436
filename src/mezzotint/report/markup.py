"""How is HTML written so that no text of a run can become markup? Plain strings are escaped, always."""

from __future__ import annotations

import html
import re

#: Characters that HTML and UTF-8 cannot carry: control characters, lone surrogates, non-characters.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_VOID = frozenset({"br", "img", "meta", "link", "hr"})

Attribute = str | int | float | bool | None


class Markup(str):
    """Text that is already HTML or SVG and is inserted as it is."""

    __slots__ = ()


def escape(text: object) -> Markup:
    """``text`` as HTML: :class:`Markup` unchanged, everything else cleaned and escaped (quotes too)."""
    if isinstance(text, Markup):
        return text
    return Markup(html.escape(_FORBIDDEN.sub("\ufffd", str(text)), quote=True))


def tag(name: str, /, *children: object, **attributes: Attribute) -> Markup:
    """One element.

    Args:
        name: element name.
        children: joined; plain values are escaped.
        attributes: ``class_`` becomes ``class`` and ``data_x`` becomes ``data-x``; ``None`` and ``False`` leave the
            attribute out, ``True`` writes it bare.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: object) -> Markup:
    """The children behind each other, plain values escaped."""
    return Markup("".join(escape(child) for child in children))


def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(value)}"'
