"""Fitted transformers as arrays and JSON: saved and restored without a pickle.

Only transformers that are listed here are restored, from plain values: no file can name a class or
a function of its own choice.
"""

import re
from collections.abc import Mapping
from importlib import import_module
from math import isfinite
from typing import Any

import numpy as np

_HOMES = {
    "ColumnTransformer": "sklearn.compose",
    "FunctionTransformer": "sklearn.preprocessing",
    "MaxAbsScaler": "sklearn.preprocessing",
    "MinMaxScaler": "sklearn.preprocessing",
    "MissingIndicator": "sklearn.impute",
    "OneHotEncoder": "sklearn.preprocessing",
    "OrdinalEncoder": "sklearn.preprocessing",
    "PCA": "sklearn.decomposition",
    "Pipeline": "sklearn.pipeline",
    "PowerTransformer": "sklearn.preprocessing",
    "QuantileTransformer": "sklearn.preprocessing",
    "RobustScaler": "sklearn.preprocessing",
    "SimpleImputer": "sklearn.impute",
    "StandardScaler": "sklearn.preprocessing",
    "ZCAWhitener": "skdistill.preprocessing",
}
# Arrays of a transformer are named by this and a number.
PREFIX = "preprocessing."
# Parameters that belong to a machine, and what they are on any: a file must not decide how many
# processes are started, or ask for a GPU that is not there.
_OF_A_MACHINE = {"n_jobs": None, "memory": None, "device": "auto"}
# Types that a transformer may have for its ``dtype``.
_TYPES = {kind.__name__: kind for kind in (bool, int, float, object)} | {
    f"numpy.{np.dtype(kind).name}": kind
    for kind in (
        np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64,
        np.float16, np.float32, np.float64, np.object_,
    )
}  # fmt: skip
_DTYPE = re.compile(r"[<>|](b1|[iu][1248]|f[248]|O8?)")
_NOT_FINITE = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}


def to_plain(transformer) -> tuple[object, dict[str, np.ndarray]]:
    """Return a transformer as a JSON-safe description and the arrays that it refers to.

    Raises
    ------
    ValueError
        If the transformer, or anything that it holds, has no such form.
    """
    arrays: dict[str, np.ndarray] = {}
    return _encode(transformer, arrays), arrays


def from_plain(description, arrays: Mapping[str, np.ndarray]):
    """Return the transformer that `to_plain` described.

    Raises
    ------
    ValueError
        If the description does not come from `to_plain`.
    """
    if not (isinstance(description, dict) and "estimator" in description):
        raise ValueError(f"preprocessing must describe a transformer; got {description!r:.100}.")
    # Each array is referred to once, or a short description could ask for any number of copies.
    return _decode(description, dict(arrays))


def _encode(value, arrays: dict[str, np.ndarray]):
    kind = type(value)
    if kind in (bool, int, str) or value is None or (kind is float and isfinite(value)):
        return value
    if kind is float:
        return {"float": str(value)}
    if isinstance(value, np.ndarray | np.generic | float):
        return _encode_array(np.asarray(value), arrays)
    if kind in (list, tuple):
        return {kind.__name__: [_encode(v, arrays) for v in value]}
    if kind is dict and all(isinstance(k, str) for k in value):
        return {"dict": {k: _encode(v, arrays) for k, v in value.items()}}
    if kind is dict:
        return {"items": [[_encode(k, arrays), _encode(v, arrays)] for k, v in value.items()]}
    if kind is slice:
        return {"slice": [_encode(v, arrays) for v in (value.start, value.stop, value.step)]}
    if isinstance(value, np.dtype) and _DTYPE.fullmatch(value.str):
        return {"dtype": value.str}
    if isinstance(value, type):
        for name, known in _TYPES.items():
            if value is known:
                return {"type": name}
    if _HOMES.get(kind.__name__) and kind is _class(kind.__name__):
        state = {k: _encode(v, arrays) for k, v in _state(value).items()}
        return {"estimator": kind.__name__, "state": state}
    if hasattr(value, "get_params"):
        raise _cannot_be_saved(kind.__name__)
    raise ValueError(f"preprocessing must hold plain values to be saved; got {value!r:.100}.")


def _state(transformer) -> dict:
    """Return a listed transformer's state without functions and what only this machine knows."""
    state = dict(transformer.__getstate__())
    state |= {name: value for name, value in _OF_A_MACHINE.items() if name in state}
    if not _is_free_of_functions(state):
        raise _cannot_be_saved(f"{type(transformer).__name__} with a function")
    if "_columns" in state:  # what the functions of a fitted ColumnTransformer have chosen
        state["_columns"] = list(map(_plain_columns, state["_columns"]))
        state["transformers"] = [
            (name, inner, columns)
            for (name, inner, _), columns in zip(state["transformers"], state["_columns"])
        ]
        state["transformers_"] = [
            (name, inner, _plain_columns(columns))
            for name, inner, columns in state["transformers_"]
        ]
    return state


def _plain_columns(columns):
    """Return a choice of columns, which may be pandas' index or mask, as a list."""
    if np.isscalar(columns) or isinstance(columns, list | tuple | slice | np.ndarray):
        return columns
    return columns.tolist() if hasattr(columns, "tolist") else list(columns)


def _is_free_of_functions(state: dict) -> bool:
    """Return whether a FunctionTransformer just passes samples on (others have no func)."""
    return state.get("func") is None and state.get("inverse_func") is None


def _cannot_be_saved(got: str) -> ValueError:
    return ValueError(
        f"preprocessing can be saved without a pickle if it is one of {', '.join(_HOMES)} (without "
        f"functions); got {got}. joblib.dump saves any; or save the set without it: "
        "dataclasses.replace(distilled, preprocessing=None)."
    )


def _encode_array(array: np.ndarray, arrays: dict[str, np.ndarray]) -> dict:
    form = "array"
    if array.dtype == object:
        # scikit-learn keeps names of features and categories in this way.
        items = array.ravel().tolist()
        strings = np.array(items, np.str_) if all(isinstance(v, str) for v in items) else None
        # NumPy strips null characters from the end of a string.
        if strings is None or strings.tolist() != items:
            return _encode_objects(array)
        array, form = strings.reshape(array.shape), "strings"
    name = f"{PREFIX}{len(arrays)}"
    arrays[name] = array
    return {form: name}


def _encode_objects(array: np.ndarray) -> dict:
    """Return a list of categories of several kinds, None among them, as JSON."""
    items = [v.item() if isinstance(v, np.generic) else v for v in array.tolist()]
    if array.ndim != 1 or not all(v is None or type(v) in (bool, int, float, str) for v in items):
        raise ValueError("preprocessing must hold arrays of numbers or strings to be saved.")
    return {"objects": [_encode(v, {}) for v in items]}


def _decode(plain, arrays: dict[str, np.ndarray]):
    if not isinstance(plain, dict):
        return plain
    match plain:
        case {"array": str(name)} if name in arrays:
            return arrays.pop(name)[()]  # a number, if it was one
        case {"strings": str(name)} if name in arrays:
            return arrays.pop(name).astype(object)
        case {"objects": list(items)}:
            array = np.empty(len(items), dtype=object)
            array[:] = [_decode_scalar(item) for item in items]
            return array
        case {"float": str(name)} if name in _NOT_FINITE:
            return _NOT_FINITE[name]
        case {"type": str(name)} if name in _TYPES:
            return _TYPES[name]
        case {"dtype": str(name)} if _DTYPE.fullmatch(name):
            return np.dtype(name)
        case {"slice": [start, stop, step]}:
            return slice(*map(_decode_scalar, (start, stop, step)))
        case {"items": list(items)}:
            return {_decode_scalar(k): _decode(v, arrays) for k, v in items}
        case {"list": list(items)}:
            return [_decode(v, arrays) for v in items]
        case {"tuple": list(items)}:
            return tuple(_decode(v, arrays) for v in items)
        case {"dict": dict(items)}:
            return {k: _decode(v, arrays) for k, v in items.items()}
        case {"estimator": str(name), "state": dict(state)} if name in _HOMES:
            state = {k: _decode(v, arrays) for k, v in state.items()}
            state |= {name: value for name, value in _OF_A_MACHINE.items() if name in state}
            if _is_free_of_functions(state):
                kind: Any = _class(name)
                transformer = kind.__new__(kind)
                # scikit-learn's own check warns if another version wrote it.
                transformer.__setstate__(state)
                return transformer
    raise ValueError(
        f"preprocessing cannot be restored from {plain!r:.100}. If a newer skdistill wrote it, "
        "update skdistill."
    )


def _decode_scalar(plain):
    value = _decode(plain, {})
    if value is not None and type(value) not in (bool, int, float, str):
        raise ValueError(f"preprocessing cannot have {plain!r:.100} for a category, key or bound.")
    return value


def _class(name: str) -> type:
    return getattr(import_module(_HOMES[name]), name)
