"""scikit-learn's classes that ours derive from, as mypy is to see them.

scikit-learn has no annotations, so mypy takes its classes for Any: what derives from one may have
any attribute, and its ``__init__`` any argument. Mypy alone takes the constant for true, and reads
what stands here; other checkers infer the same from scikit-learn's source.
"""

from collections.abc import Callable
from typing import Any, Literal, Self, TypeVar

__all__ = [
    "BaseEstimator",
    "ClassifierMixin",
    "MetaEstimatorMixin",
    "OneToOneFeatureMixin",
    "TransformerMixin",
    "available_if",
]

MYPY = False

if MYPY:
    import numpy as np
    from numpy.typing import ArrayLike

    _Function = TypeVar("_Function", bound=Callable[..., Any])

    class BaseEstimator:
        def get_params(self, deep: bool = True) -> dict[str, Any]: ...
        def set_params(self, **params: Any) -> Self: ...
        def get_metadata_routing(self) -> Any: ...
        def _validate_params(self) -> None: ...
        def __sklearn_tags__(self) -> Any: ...

    class ClassifierMixin:
        def score(
            self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
        ) -> float: ...
        def __sklearn_tags__(self) -> Any: ...

    class MetaEstimatorMixin: ...

    class OneToOneFeatureMixin:
        def get_feature_names_out(self, input_features: ArrayLike | None = None) -> np.ndarray: ...

    class TransformerMixin:
        def __init_subclass__(
            cls, auto_wrap_output_keys: tuple[str, ...] | None = ("transform",), **kwargs: Any
        ) -> None: ...
        def fit_transform(
            self, X: ArrayLike, y: ArrayLike | None = None, **fit_params: Any
        ) -> Any: ...
        def set_output(
            self, *, transform: Literal["default", "pandas", "polars"] | None = None
        ) -> Self: ...
        def __sklearn_tags__(self) -> Any: ...

    def available_if(check: Callable[[Any], bool]) -> Callable[[_Function], _Function]: ...

else:
    from sklearn.base import (
        BaseEstimator,
        ClassifierMixin,
        MetaEstimatorMixin,
        OneToOneFeatureMixin,
        TransformerMixin,
    )
    from sklearn.utils.metaestimators import available_if
