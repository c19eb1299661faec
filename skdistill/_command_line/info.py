"""``skdistill info``: what a file holds, and which versions are installed."""

import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .._data.older_versions import FORMER_AUTO
from .._files.formats import BLOCKS, BOOSTED_RUN, DISTILLED, NETWORK_SCORES, RUN, VALIDATION
from .._version import __version__
from .options import existing, json_flag
from .reading import load_set

if TYPE_CHECKING:
    from ..distilled import DistilledDataset

__all__ = ["info"]

_PACKAGES = ("numpy", "scikit-learn", "torch", "torchvision", "pandas", "matplotlib", "click")


@click.command()
@click.argument("file", required=False, type=existing)
@json_flag
def info(file: Path | None, in_json: bool) -> None:
    """Say what a set or a checkpoint holds; without a FILE, which versions are installed."""
    found = _versions() if file is None else _contents(file)
    if in_json:
        click.echo(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        click.echo(f"{name}: {_in_words(value)}")


def _in_words(value: object) -> str:
    from ..distilled._known import short

    if isinstance(value, Mapping):
        value = ", ".join(f"{name} {part}" for name, part in value.items())
    elif isinstance(value, list):
        value = ", ".join(map(str, value))
    return short(value, 1000)


def _versions() -> dict[str, str]:
    found = {"skdistill": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return {**found, "system": platform.platform()}


def _contents(path: Path) -> dict[str, Any]:
    """Return what is known of a file, or of a boosted run's folder, by name."""
    from ..exceptions import InvalidFileError

    if path.is_dir():
        path = path / BLOCKS
        if not path.exists():
            raise ValueError(f"{path.parent} is a folder, and not one of checkpoints.")
    meta = _read_meta(path)
    kind = meta.get("format")
    if kind == DISTILLED:
        return _of_set(load_set(path))
    if kind == RUN:
        return _of_run(meta)
    if kind == BOOSTED_RUN:
        return _of_boosted(path.parent, meta)
    raise InvalidFileError(
        f"{path} must be a set or a checkpoint of skdistill; its format is {kind!r}."
    )


def _read_meta(path: Path) -> dict[str, Any]:
    from .._data.wording import reason
    from .._files.npz import read_meta
    from ..exceptions import InvalidFileError

    with open(path, "rb") as file:
        try:
            return read_meta(file)
        except Exception as error:
            raise InvalidFileError(f"{path} cannot be read: {reason(error)}") from error


def _of_set(distilled: "DistilledDataset") -> dict[str, Any]:
    from ..distilled import _known

    provenance, layout = distilled.provenance, distilled.recipe.layout
    data, kept = _known.mapping(provenance.get("training_data")), distilled.preprocessing
    found = {
        "kind": "a distilled set of images" if layout.is_image else "a distilled set of table rows",
        "samples": _known.storage(distilled),
        "shape of a sample": list(distilled.X.shape[1:]),
        "type": str(distilled.X.dtype),
        "classes": distilled.classes.tolist(),
        "labels": "learned, soft" if distilled.y.ndim == 2 else "hard",
        "columns": None if distilled.feature_names is None else list(distilled.feature_names),
        "target": distilled.target_name,
        "preprocessing": None if kept is None else _known.short(kept, 300),
        "recipe": _known.protocol(distilled),
        "test accuracy": _known.accuracy(distilled),
        "method": provenance.get("method"),
        "outer steps": provenance.get("n_iter"),
        "seconds": provenance.get("seconds"),
        "seed": provenance.get("seed"),
        "data": _known.mapping(provenance.get("about")).get("data"),
        "training data": dict(data) or None,
        "parameters": dict(_known.mapping(provenance.get("parameters"))) or None,
        "versions": dict(_known.mapping(provenance.get("versions"))) or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _of_run(meta: Mapping[str, Any]) -> dict[str, Any]:
    from ..distilled._known import mapping

    run, identity = mapping(meta.get("run")), dict(mapping(meta.get("identity")))
    # As files said before "auto" stood for something else.
    identity |= {name: was for name, was in FORMER_AUTO.items() if identity.get(name) == "auto"}
    # No parameters.
    for name in (VALIDATION, NETWORK_SCORES):
        identity.pop(name, None)
    losses = mapping(run.get("history")).get("loss")
    found = {
        "kind": "a checkpoint of a run",
        "distiller": identity.pop("the distiller", None),
        "outer steps": mapping(run.get("state")).get("step"),
        "seconds": run.get("seconds"),
        "seed": run.get("seed"),
        "last loss": losses[-1] if isinstance(losses, list) and losses else None,
        "best validation accuracy": _best_accuracy(run, identity),
        "training data": identity.pop("X, y and sample_weight", None),
        "parameters": {name: value for name, value in identity.items() if value is not None},
    }
    return {name: value for name, value in found.items() if value is not None}


def _best_accuracy(run: Mapping[str, Any], identity: Mapping[str, Any]) -> float | None:
    """Return the validation accuracy of a run's result, as `Run.best_or_last` finds it.

    The history has others: of ends of a run that was longer afterwards, and of an earlier fit.
    """
    from ..distilled._known import mapping
    from ..distilled._rules import is_number

    if identity.get("validation_fraction") is None:
        return None
    accuracies = mapping(run.get("history")).get("validation_accuracy")
    last = accuracies[-1:] if isinstance(accuracies, list) else []
    return max(filter(is_number, [mapping(run.get("best")).get("accuracy"), *last]), default=None)


def _of_boosted(folder: Path, meta: Mapping[str, Any]) -> dict[str, Any]:
    names = {path: path.stem.removeprefix("ipc-") for path in folder.glob("ipc-*.npz")}
    blocks = {int(name): path for path, name in names.items() if name.isdecimal()}
    found = {ipc: _of_run(_read_meta(blocks[ipc])) for ipc in sorted(blocks)}
    return {
        "kind": "checkpoints of a boosted run",
        **{name: meta.get(name) for name in ("block_size", "beta", "seed")},
        "outer steps by samples per class": {
            str(ipc): block.get("outer steps") for ipc, block in found.items()
        },
    }
