"""How do transforms and data sources show themselves in a notebook? As HTML with small pictures inside of it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from io import BytesIO

from PIL import Image

from mezzotint.data.preview_grid import augmented, contact_sheet, draw_rows
from mezzotint.data.source import Source
from mezzotint.data.specimen import specimen
from mezzotint.data.transform import Compose

_SHOWN = 12


def source_html(source: Source) -> str:
    """The source's own line, its classes, and a few of its images, always the same ones."""
    classes = ", ".join(map(escape, source.classes[:_SHOWN])) + (", …" if len(source.classes) > _SHOWN else "")
    sheet = contact_sheet(source, count=_SHOWN) if len(source) else None
    return f"<p><b>{escape(source.describe())}</b><br>{len(source.classes)} classes: {classes}</p>{_picture(sheet)}"


def chain_html(chain: Compose) -> str:
    """Each step in words, and what the chain makes of a drawn scene in six epochs."""
    steps = "".join(f"<li><code>{escape(step.name)}</code>: {escape(step.describe())}</li>" for step in chain.steps)
    image = specimen()
    images = [image, *augmented(image, chain, seed=0, epochs=range(6), sample=0)]
    sheet = draw_rows([("drawn scene", images)], ["original", *_epochs(6)])
    return f"<ol>{steps or '<li>no augmentation</li>'}</ol>{_picture(sheet)}"


def _epochs(count: int) -> Sequence[str]:
    return [f"epoch {number}" for number in range(count)]


def _picture(sheet: Image.Image | None) -> str:
    if sheet is None:
        return ""
    data = BytesIO()
    sheet.save(data, "PNG")
    return f'<img alt="preview" src="data:image/png;base64,{b64encode(data.getvalue()).decode()}">'
