"""Samples that are small images, enlarged."""

from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from .._data.layout import Layout
from .._data.training import TrainingData
from .._data.validation import Interval
from .._engine.data import as_tensor
from .._engine.parametrization import Enlarged, Part
from ..distilled._blocks import TileBlock
from ..distilled._dataset import DistilledDataset
from ._blocks import BlockParametrization, check_factor, factor_of, n_blocks

__all__ = ["Tiled"]


class Tiled(BlockParametrization):
    """Samples are small images, enlarged bilinearly: several take the storage of one.

    [Kim22]_ cuts each stored image into ``factor`` x ``factor`` tiles, and trains on the tiles,
    enlarged to the size of the image. A tile is a sample here: with the default factor four samples
    per class, ``ipc=4``, take the storage of one. Images are smooth, so that more of them at half
    the resolution may say more than one at the full. (`ipc` need not be a multiple of the tiles of
    an image; ``distilled_.storage`` counts the tiles that are there.)

    Tiles start from the samples of the distiller's ``init``, of which every ``factor``-th row and
    column is taken. With ``init="real"`` these are real samples, which [Kim22] calls "mix".

    Parameters
    ----------
    factor : int, default=2
        Tiles along each side of a stored image. Must divide height and width. [Kim22]: 2, and 3 for
        ImageNet.
    clamp : bool, default=False
        Whether the values of tiles are kept between the least and the greatest value of the
        training data, in each channel, after every outer step. The code of [Kim22] keeps pixels
        between 0 and 1, and does so once per network, that is every 100 steps.

    References
    ----------
    .. [Kim22] J.-H. Kim et al., "Dataset Condensation via Efficient Synthetic-Data
       Parameterization", ICML 2022.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdistill import RaTBPTTDistiller
    >>> from skdistill.parametrization import Tiled
    >>> X, y = load_digits(return_X_y=True)
    >>> distiller = RaTBPTTDistiller(
    ...     ipc=4, parametrization=Tiled(), init="real", image_shape=(1, 8, 8), max_iter=1,
    ...     window=1, unroll=2, random_state=0,
    ... ).fit(X, y)
    >>> distiller.distilled_
    DistilledDataset(ipc=4, storage=1, n_classes=10, X=float64(40, 64), y=int64(40,))
    """

    _parameter_constraints: dict[str, Any] = {
        "factor": [Interval(Integral, 1, None, closed="left")],
        "clamp": ["boolean"],
    }
    _kind, _names, _per_sample = TileBlock, ("tiles",), "tiles"

    def __init__(self, factor: int = 2, clamp: bool = False):
        self.factor = factor
        self.clamp = clamp

    def check_layout(self, layout: Layout) -> None:
        """Raise ValueError if it cannot make samples of this layout."""
        if not layout.is_image:
            raise ValueError(
                f"parametrization={self!r} must be 'pixels' or a LinearBasis for samples that are "
                "not images: tiles are small images."
            )
        check_factor("factor", self.factor, layout)

    def limits(
        self, data: TrainingData, start: DistilledDataset | None, n_fresh: int
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the least and greatest values of the training data for all tiles."""
        if not self.clamp:
            return {}
        limits = data.real.limits()
        return {f"tiles.{k}": limits for k in range(n_blocks(start, n_fresh))}

    def _fresh(
        self,
        make_samples: Callable[[], Tensor],
        data: TrainingData,
        n: int,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        return {"tiles": make_samples()[-n:, :, :: self.factor, :: self.factor]}

    def _read(self, block: TileBlock, data: TrainingData) -> dict[str, Tensor]:
        layout = data.layout.smaller(factor_of(block.tiles, data))
        return {"tiles": data.standardizer.forward(as_tensor(layout.to_engine(block.tiles)))}

    def _part(self, k: int, block: TileBlock | None, data: TrainingData, n: int) -> Part:
        _, height, width = data.layout.network_shape
        return Enlarged(f"tiles.{k}", (height, width))

    def _rates(
        self, rate: float | None, block: TileBlock | None, data: TrainingData, n: int
    ) -> dict[str, float]:
        # Values are as large as those of the samples that they start from.
        return {"tiles": data.auto_rate if rate is None else rate}

    def _keep(
        self, tensors: Mapping[str, Tensor], block: TileBlock | None, data: TrainingData
    ) -> TileBlock:
        factor = self.factor if block is None else factor_of(block.tiles, data)
        return TileBlock(data.to_raw(tensors["tiles"], factor))
