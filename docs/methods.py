"""Writes the tables of what each method can, from the distillers' classes: nothing is typed.

``methods.txt`` has a row for each of ``skdistill.all_distillers()``, ``refusals.txt`` what they
refuse, and ``features.txt`` what they can be asked for. ``user_guide/methods.rst`` includes them.
"""

from collections.abc import Iterable
from pathlib import Path

from reproduction import escape, table

from skdistill import all_distillers
from skdistill.distillers import BaseDistiller
from skdistill.distillers._features import FEATURES

HEADS = [
    "method",
    "tables",
    "images",
    "learned labels",
    "networks while distilling",
    "an outer step is",
    "its time grows with",
    "memory grows with",
    "``from_paper``",
]


def method_table(kinds: Iterable[type[BaseDistiller]]) -> str:
    """Return a row for each class."""
    return table(HEADS, [row(kind) for kind in kinds])


def row(kind: type[BaseDistiller]) -> list[str]:
    """Return what a class says of itself."""
    hints = kind._hints
    labels = "by default" if kind().learn_labels else "if asked for"
    return [
        f"`skdistill.{kind.__name__}`",
        *("no" if name in kind._refuses else "yes" for name in ("tables", "images")),
        "no" if "learned labels" in kind._refuses else labels,
        "yes" if kind._needs_network else "no",
        escape(hints.step) or "–",
        escape(", ".join(hints.time)),
        escape("; ".join((hints.states, hints.activations, hints.real))),
        runs(kind),
    ]


def runs(kind: type[BaseDistiller]) -> str:
    """Return the runs of its paper that a class knows."""
    if kind._paper is None:
        return "–"
    columns = kind._paper.columns.items()
    return "; ".join(f"{data}: {', '.join(map(str, ipcs))}" for data, ipcs in columns)


def refusal_table(kinds: Iterable[type[BaseDistiller]]) -> str:
    """Return a row for each refusal, or that there is none."""
    rows = [
        [f"`skdistill.{kind.__name__}`", name, escape(why)]
        for kind in kinds
        for name, why in kind._refuses.items()
    ]
    return table(["method", "refuses", "because"], rows) if rows else "No method refuses any.\n"


def feature_list() -> str:
    """Return the names of all features, in words."""
    return ", ".join(FEATURES) + ".\n"


def write(generated: Path) -> None:
    """Write the tables into a folder, if they are not there already."""
    kinds = [kind for _, kind in all_distillers()]
    parts = {
        "methods.txt": method_table(kinds),
        "refusals.txt": refusal_table(kinds),
        "features.txt": feature_list(),
    }
    generated.mkdir(parents=True, exist_ok=True)
    for name, text in parts.items():
        path = generated / name
        # Sphinx reads a page again when what it includes is newer.
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
