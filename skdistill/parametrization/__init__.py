"""What a distiller learns: the samples themselves, or less from which they are made."""

from ._base import SampleParametrization
from ._hallucinated import Hallucinated
from ._linear_basis import LinearBasis
from ._pixels import Pixels, resolve_parametrization
from ._tiled import Tiled

__all__ = [
    "Hallucinated",
    "LinearBasis",
    "Pixels",
    "SampleParametrization",
    "Tiled",
    "resolve_parametrization",
]
