"""Fitted transformers as arrays and JSON: saved and restored without a pickle.

Only transformers that are listed here are restored, from plain values: no file can name a class or
a function of its own choice.
"""

from collections.abc import Mapping
from importlib import import_module
from math import isfinite

import numpy as np

_HOMES = {
    "MaxAbsScaler": "sklearn.preprocessing",
    "MinMaxScaler": "sklearn.preprocessing",
    "PCA": "sklearn.decomposition",
    "Pipeline": "sklearn.pipeline",
    "PowerTransformer": "sklearn.preprocessing",
    "QuantileTransformer": "sklearn.preprocessing",
    "RobustScaler": "sklearn.preprocessing",
    "StandardScaler": "sklearn.preprocessing",
    "ZCAWhitener": "skdistill.preprocessing",
}
# Arrays of a transformer are named by this and a number.
PREFIX = "preprocessing."


def to_plain(transformer) -> tuple[object, dict[str, np.ndarray]]:
    """Return a transformer as a JSON-safe description and the arrays that it refers to.

    Raises
    ------
    ValueError
        If it, or anything that it holds, has no such form.
    """
    arrays: dict[str, np.ndarray] = {}
    return _encode(transformer, arrays), arrays


def from_plain(description, arrays: Mapping[str, np.ndarray]):
    """Return the transformer that `to_plain` described.

    Raises
    ------
    ValueError
        If the description is none of `to_plain`'s.
    """
    if not (isinstance(description, dict) and "estimator" in description):
        raise ValueError(f"preprocessing must describe a transformer; got {description!r:.100}.")
    return _decode(description, arrays)


def _encode(value, arrays: dict[str, np.ndarray]):
    kind = type(value)
    if kind in (bool, int, str) or value is None or (kind is float and isfinite(value)):
        return value
    if isinstance(value, np.ndarray | np.generic | float):
        return _encode_array(np.asarray(value), arrays)
    if kind in (list, tuple):
        return {kind.__name__: [_encode(v, arrays) for v in value]}
    if kind is dict and all(isinstance(k, str) for k in value):
        return {"dict": {k: _encode(v, arrays) for k, v in value.items()}}
    if _HOMES.get(kind.__name__) and kind is _class(kind.__name__):
        state = {k: _encode(v, arrays) for k, v in value.__getstate__().items()}
        return {"estimator": kind.__name__, "state": state}
    if hasattr(value, "get_params"):
        raise ValueError(
            f"preprocessing can be saved without a pickle if it is one of {', '.join(_HOMES)}; got "
            f"{kind.__name__}. joblib.dump saves any, or save a set without: "
            "dataclasses.replace(distilled, preprocessing=None)."
        )
    raise ValueError(f"preprocessing must hold plain values to be saved; got {value!r:.100}.")


def _encode_array(array: np.ndarray, arrays: dict[str, np.ndarray]) -> dict:
    form = "array"
    if array.dtype == object:
        # scikit-learn keeps names of features so.
        if not all(isinstance(v, str) for v in array.ravel()):
            raise ValueError("preprocessing must hold arrays of numbers or strings to be saved.")
        array, form = array.astype(np.str_), "strings"
    name = f"{PREFIX}{len(arrays)}"
    arrays[name] = array
    return {form: name}


def _decode(plain, arrays: Mapping[str, np.ndarray]):
    if not isinstance(plain, dict):
        return plain
    match plain:
        case {"array": str(name)} if name in arrays:
            return arrays[name][()]  # a number, if it was one
        case {"strings": str(name)} if name in arrays:
            return arrays[name].astype(object)
        case {"list": list(items)}:
            return [_decode(v, arrays) for v in items]
        case {"tuple": list(items)}:
            return tuple(_decode(v, arrays) for v in items)
        case {"dict": dict(items)}:
            return {k: _decode(v, arrays) for k, v in items.items()}
        case {"estimator": str(name), "state": dict(state)} if name in _HOMES:
            kind = _class(name)
            transformer = kind.__new__(kind)
            # scikit-learn's own, which warns if another version wrote it.
            transformer.__setstate__({k: _decode(v, arrays) for k, v in state.items()})
            return transformer
    raise ValueError(f"preprocessing cannot be restored from {plain!r:.100}.")


def _class(name: str) -> type:
    return getattr(import_module(_HOMES[name]), name)
