"""A distilled set as a notebook shows it: pictures of the samples, or a table of them."""

from base64 import b64encode
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from .._data.columns import default_names
from .._files import png as _png
from ._known import accuracy, labels, mapping, protocol, short, storage
from ._thumbnails import SIDE, thumbnails

if TYPE_CHECKING:
    from ._dataset import DistilledDataset

# A notebook stores its output, so pictures and their characters in all are limited.
_PICTURES, _CHARACTERS = 100, 300_000
# Of a table.
_ROWS, _COLUMNS = 10, 12


def render(distilled: "DistilledDataset") -> str:
    """Return a piece of HTML: what the set is, its first samples and its recipe."""
    pixels = thumbnails(distilled, _PICTURES)
    samples = _table(distilled) if pixels is None else _pictures(distilled, pixels)
    method = distilled.provenance.get("method")
    lines = [f"Samples: {storage(distilled)}", f"Recipe: {protocol(distilled)}"]
    if method is not None:
        lines.append(f"Method: {short(method)}")
    if accuracy(distilled) is not None:
        lines.append(f"Test accuracy: {accuracy(distilled)}")
    if distilled.preprocessing is not None:
        lines.append(f"Preprocessing, kept with the set: {type(distilled.preprocessing).__name__}")
    note = mapping(distilled.provenance.get("about")).get("preprocessing")
    if note is not None and distilled.preprocessing is None:
        lines.append(f"Preprocessing, not kept with the set: {short(note, 400)}")
    listed = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<div><b>DistilledDataset</b>{samples}<ul style='margin:0.5em 0'>{listed}</ul></div>"


def _pictures(distilled: "DistilledDataset", pixels: np.ndarray) -> str:
    height, width = pixels.shape[1:3]
    scale = SIDE / max(height, width)
    size = f"width='{max(1, round(scale * width))}' height='{max(1, round(scale * height))}'"
    figures, n_characters = list[str](), 0
    for image, label in zip(pixels, labels(distilled, len(pixels))):
        source = b64encode(_png.encode(image)).decode()
        n_characters += len(source)
        if figures and n_characters > _CHARACTERS:
            break
        figures.append(
            "<figure style='margin:0;text-align:center'>"
            f"<img {size} style='image-rendering:pixelated' alt='{escape(label)}' "
            f"src='data:image/png;base64,{source}'>"
            f"<figcaption style='font-size:smaller'>{escape(label)}</figcaption></figure>"
        )
    rest = _rest(len(distilled) - len(figures), "samples")
    style = "display:flex;flex-wrap:wrap;gap:6px;margin:0.5em 0"
    return f"<div style='{style}'>{''.join(figures)}</div>{rest}"


def _table(distilled: "DistilledDataset") -> str:
    X = distilled.X[:_ROWS].reshape(min(len(distilled), _ROWS), -1)
    names = distilled.feature_names or default_names(X.shape[1])
    head = [*map(short, names[:_COLUMNS]), "label"]
    rows = [
        [*(f"{value:.4g}" for value in row[:_COLUMNS]), label]
        for row, label in zip(X.tolist(), labels(distilled, len(X)))
    ]
    lines = ["".join(f"<th>{escape(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    rest = _rest(len(distilled) - len(X), "samples") + _rest(X.shape[1] - _COLUMNS, "columns")
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>{rest}"


def _rest(n: int, noun: str) -> str:
    return f"<div>… and {n} more {noun}</div>" if n > 0 else ""
