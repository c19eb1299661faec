"""The file of a distilled set: NumPy arrays and JSON. Needs no torch."""

import os
from collections.abc import Mapping, Set
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .._data.labels import plain_labels
from .._data.layout import Layout
from .._data.wording import reason
from .._files import estimators as _estimator_state
from .._files import npz as _npz
from .._files.formats import DISTILLED, VERSIONS
from .._files.paths import expanded
from ..exceptions import InvalidFileError
from ._blocks import Block, block_from_arrays
from ._consistency import check_consistency
from ._recipe import EvaluationRecipe

if TYPE_CHECKING:
    from ._dataset import DistilledDataset

__all__ = ["read", "write"]

_ARRAYS = ("X", "y", "classes")
# Arrays of the bases are named by this, the number of the block, and their role in it.
_BASES = "bases."


def write(path: str | os.PathLike[str], distilled: "DistilledDataset") -> None:
    """Write a set to one file, as `DistilledDataset.save` says."""
    data = replace(
        distilled,
        y=plain_labels(distilled.y, "y"),
        classes=plain_labels(distilled.classes, "classes"),
    )
    check_consistency(data)
    meta = {
        "ipc": data.ipc,
        "recipe": {**asdict(data.recipe), "layout": data.recipe.layout.to_plain()},
        "provenance": dict(data.provenance),
        "feature_names": data.feature_names,
        "target_name": data.target_name,
        "original_dtypes": data.original_dtypes,
    }
    arrays = {name: getattr(data, name) for name in _ARRAYS}
    if data.preprocessing is not None:
        meta["preprocessing"], more = _estimator_state.to_plain(data.preprocessing)
        arrays |= more
    for k, block in enumerate(data.bases):
        arrays |= {f"{_BASES}{k}.{name}": array for name, array in vars(block).items()}
    _npz.write(path, DISTILLED, VERSIONS[DISTILLED], arrays, meta)


def read(path: str | os.PathLike[str], kind: type["DistilledDataset"]) -> "DistilledDataset":
    """Read a set of this class from a file, and check it, as `DistilledDataset.load` says."""
    with open(expanded(path), "rb") as file:
        try:
            prefixes = (_estimator_state.PREFIX, _BASES)
            arrays, meta = _npz.read(file, DISTILLED, VERSIONS[DISTILLED], _ARRAYS, prefixes)
            required: dict[str, Any] = {name: arrays.pop(name) for name in _ARRAYS}
            bases = _bases_from_arrays(arrays)
            data = kind(**required, **_fields_from_json(meta, arrays), bases=bases)
            check_consistency(data)
        except ModuleNotFoundError as error:
            # The package itself imports a module when a name in the file needs it.
            raise ImportError(
                f"{os.fspath(path)} keeps its preprocessing, which needs {error.name}: "
                "install it to load the set."
            ) from error
        except Exception as error:
            raise InvalidFileError(
                f"{os.fspath(path)} cannot be loaded: {reason(error)}"
            ) from error
    return data


def _bases_from_arrays(arrays: Mapping[str, np.ndarray]) -> tuple[Block, ...]:
    blocks: dict[int, dict[str, np.ndarray]] = {}
    for name in [name for name in arrays if name.startswith(_BASES)]:
        k, part = name.removeprefix(_BASES).split(".")
        blocks.setdefault(int(k), {})[part] = arrays[name]
    return tuple(block_from_arrays(blocks[k]) for k in sorted(blocks))


def _fields_from_json(meta: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the fields of a `DistilledDataset` without its arrays; values are not checked yet."""
    preprocessing = meta.get("preprocessing")
    meta = _tuples(meta, "meta", {"ipc", "recipe", "provenance", "feature_names"})
    recipe = _tuples(meta["recipe"], "recipe", {"layout"})
    layout = Layout.from_plain(_tuples(recipe["layout"], "recipe.layout"))
    return {
        "ipc": meta["ipc"],
        "recipe": EvaluationRecipe(**{**recipe, "layout": layout}),
        "provenance": meta["provenance"],
        "feature_names": meta["feature_names"],
        # Older files do not have these.
        "target_name": meta.get("target_name"),
        "original_dtypes": meta.get("original_dtypes"),
        "preprocessing": (
            None if preprocessing is None else _estimator_state.from_plain(preprocessing, arrays)
        ),
    }


def _tuples(content: Any, name: str, needed: Set[str] = frozenset()) -> dict[str, Any]:
    """Return a JSON object with tuples for lists, or raise a ValueError."""
    if not isinstance(content, dict) or not needed <= content.keys():
        with_keys = f" with {', '.join(sorted(needed))}" if needed else ""
        raise ValueError(f"{name} must be a JSON object{with_keys}; got {content!r:.200}.")
    return {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
