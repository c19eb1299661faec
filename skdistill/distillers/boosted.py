"""Boost-DD: distilled sets whose every prefix of blocks is a good set of its size."""

import os
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import check_is_fitted

from .._data.bases import BaseEstimator, MetaEstimatorMixin
from .._data.columns import check_names
from .._data.older_versions import FORMER_AUTO
from .._data.seeds import draw_seed
from .._data.strategy import plain, plain_parameters
from .._data.validation import Interval, fit_context
from .._data.warn import warn
from .._engine.group import join_group
from .._run.block_folder import BlockFolder
from .._run.callbacks import CallbackSupportMixin, with_callbacks
from ..distilled._dataset import DistilledDataset
from ..distilled._protocol import EvaluationProtocol
from ..evaluation._output import DistillerOutputMixin
from ..evaluation._protocol import EvaluationResult
from ..exceptions import CheckpointWarning
from ..forecast import Forecast
from ..networks import Architecture
from ._parameters import Parameters, param
from .base import BaseDistiller
from .rat_bptt import RaTBPTTDistiller

__all__ = ["BoostedDistiller"]

# What the provenance of a set tells of its run, which of several runs is the sum.
_COSTS = "n_iter", "n_skipped", "seconds"


class BoostedDistiller(
    Parameters,
    CallbackSupportMixin,
    MetaEstimatorMixin,
    DistillerOutputMixin,
    BaseEstimator,
    auto_wrap_output_keys=None,
):
    """Distill block by block, so that the first k samples per class are good for every budget k.

    The samples of a jointly distilled set depend on each other: a random part of it is worse than a
    set distilled at that size, often worse than real samples (section 5.1 of [Feng23]_). Boost-DD
    (its Algorithm 2) distills a block, adds a fresh one, and distills again while the earlier
    samples move slowly or not at all. One file then serves all budgets.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    distilled_ : DistilledDataset
        The samples of all blocks, in their order.
    budgets_ : list of int
        Samples per class after each block: the values of ``ipc`` that `transform` takes.
    distiller_ : estimator
        The distiller of the last block, fitted.
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    history_ : dict of str to list
        The distillers' histories, one after the other, and the ``block`` of each outer step. None
        stands for what was not measured in a block.
    n_iter_ : int
        Outer steps in all.
    n_features_in_ : int
        Values in a sample.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if `X` was a DataFrame with names.

    See Also
    --------
    RaTBPTTDistiller : Distills all samples together.

    Notes
    -----
    `TrajectoryMatchingDistiller` learns the learning rate of the networks with the samples, anew in
    each block. `evaluate_budgets` trains networks at the rate of each budget. The recipe of
    ``distilled_``, and so of what ``distilled_.subset`` returns, has that of the last block; those
    of all are "recipe_learning_rate" in ``distilled_.provenance["blocks"]``.

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skdistill import BoostedDistiller, RaTBPTTDistiller
    >>> X, y = load_iris(return_X_y=True)
    >>> distiller = RaTBPTTDistiller(max_iter=2, window=2, unroll=4)
    >>> boosted = BoostedDistiller(ipc=5, block_size=2, distiller=distiller).fit(X, y)
    >>> boosted.budgets_
    [2, 4, 5]
    >>> X_syn, y_syn = boosted.transform(ipc=4)
    >>> X_syn.shape
    (12, 4)
    """

    # ipc is not metadata that a pipeline could route.
    __metadata_request__transform = {"ipc": UNUSED}

    ipc: int = param(
        default=10,
        constraints=[Interval(Integral, 1, None, closed="left")],
        kind="int",
        doc="Samples per class in all.",
        kw_only=False,
    )
    block_size: int = param(
        default=5,
        constraints=[Interval(Integral, 1, None, closed="left")],
        kind="int",
        doc="""Samples per class in a block; 5 as in [Feng23, 5.2]. If `ipc` is not a multiple of
        it, the last block is smaller; if `ipc` is smaller, there is a single block of `ipc`
        samples.""",
    )
    beta: float = param(
        default=0.0,
        constraints=[Interval(Real, 0, 1, closed="both")],
        kind="float",
        doc="""Factor of the learning rate of earlier blocks, from 0 to 1. 0 is strong boosting:
        earlier samples stay the same bit for bit. Weak boosting is 0.1 in [Feng23]: they adapt a
        little, and so prefixes change.""",
    )
    distiller: BaseDistiller | None = param(
        default=None,
        constraints=[BaseDistiller, None],
        kind="estimator or None",
        doc="""Distills a block: any distiller of this package; None is ``RaTBPTTDistiller()``. It
        is cloned, its `ipc` is replaced, and its `max_iter` is that of each block. A search reaches
        its parameters as ``distiller__window`` and so on, but only if it is given: as in
        scikit-learn's meta-estimators, None has no parameters, so pass ``RaTBPTTDistiller()``.""",
    )
    warm_start: bool = param(
        default=False,
        constraints=["boolean"],
        kind="bool",
        doc="""Whether `fit` adds blocks to those of an earlier `fit`, up to a larger `ipc`. It also
        continues an interrupted `fit`, after the blocks that were finished. The one that was not
        begins again from its first outer step; only with a `checkpoint` does it go on. The
        distiller's `validation_fraction` must be that of the blocks before, or None: no block is
        validated on samples that another was trained on.""",
    )
    checkpoint: str | os.PathLike[str] | None = param(
        default=None,
        constraints=[str, os.PathLike, None],
        kind="path or None",
        doc="""Folder, made if it does not exist, in which every block has a checkpoint, as often as
        the distiller's `checkpoint_every` says. A later `fit` with the same parameters and data, or
        with a larger `ipc`, also in another process, takes finished blocks from there and continues
        the block that was interrupted. Other parameters or data are refused, as by
        `RaTBPTTDistiller`; but blocks that others began from keep their outer steps, so that a
        larger `max_iter` of the distiller is for the last one, and for those to come, which is
        warned of. None writes nothing.""",
    )
    random_state: int | np.random.RandomState | None = param(
        default=None,
        constraints=["random_state"],
        kind="int, RandomState instance or None",
        doc="""Seeds the blocks, each differently. None takes fresh entropy, unless the distiller
        has a `random_state`.""",
    )

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=False)
    # As in `BaseDistiller`, y has a default only for the sake of the error.
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Distill a training set block by block.

        Parameters
        ----------
        X : array-like of shape (n, features), (n, H, W), (n, C, H, W) or (n, H, W, C)
            Training samples, as the distiller takes them.
        y : array-like of shape (n,)
            Class labels.
        sample_weight : array-like of shape (n,) or None, default=None
            Weights of the real samples, as the distiller takes them; its `class_weight` weighs the
            classes. It takes part in metadata routing.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a parameter or the data is unfit, before any work starts, or is not that of the runs
            in the folder `checkpoint`.
        InvalidFileError
            If a file in the folder `checkpoint` and the one before it are damaged.
        DivergenceError
            If a block diverges. The blocks before are kept: `transform` returns them. As after
            Ctrl-C, ``distiller_`` is that of the block in progress, with its samples so far.
        """
        done = self._check_blocks()
        # Once, because the program may change its folder between two blocks.
        folder = None if self.checkpoint is None else BlockFolder(self.checkpoint)
        # An error that would stop the last block must stop the first.
        last = self._make_distiller(plain(self.ipc), 0, 0, folder)
        last._check_refusals(start=X)
        last._check_input(X, y, sample_weight)
        if done:
            self._check_continuation(last)
        # Only one of several processes looks into the folder, or makes it.
        group = join_group()
        seed, ends = group.decide(lambda: self._begin(folder, self._seed if done else None))
        start = self.distilled_ if done else None
        budgets = self._budgets_after(done)
        callbacks = self._init_callback_context(max_subtasks=len(budgets))
        callbacks.call_on_fit_task_begin(estimator=self, X=X, y=y)
        tells_time = True
        for k, budget in enumerate(budgets):
            task = callbacks.subcontext(task_name="block")
            task.call_on_fit_task_begin(estimator=self, X=X, y=y)
            if start is not None and folder is not None and group.rank == 0:
                block = start.provenance["blocks"][-1]
                folder.note_end(start.ipc, block["n_iter"], block["parameters"]["max_iter"])
            distiller = self._next_distiller(budget, start is None, seed, folder)
            distiller._last_step = ends.get(str(budget), [None])[0]
            # The first block that does steps here (others may come from their files) warns of how
            # long all will take, the others of nothing more.
            distiller._n_blocks_ahead = len(budgets) - k if tells_time else 0
            factors = np.ones(budget)
            factors[: 0 if start is None else start.ipc] = self.beta
            try:
                with task.propagate_callback_context(distiller):
                    distiller.fit(
                        X,
                        y,
                        sample_weight=sample_weight,
                        start=start,
                        learning_rate_factors=factors,
                    )
            finally:
                for name in ("_n_blocks_ahead", "_last_step"):
                    vars(distiller).pop(name)
                # However the block ended, its result so far is kept. An earlier fit's result goes
                # only now, because a block that has not begun has none.
                if hasattr(distiller, "distilled_"):
                    if start is None:
                        self._begin_anew(seed)
                    self.distiller_: BaseDistiller = distiller
            tells_time = tells_time and distiller._n_steps_here == 0
            start = self._add_block(distiller, budget)
            stop = task.call_on_fit_task_end(estimator=self, X=X, y=y)
            if stop:
                break
        callbacks.call_on_fit_task_end(estimator=self, X=X, y=y)
        return self

    def _begin_anew(self, seed: int) -> None:
        """Drop the result of an earlier fit, and count from the first block."""
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)
        self._seed, self.history_, self.n_iter_ = seed, {}, 0
        self.budgets_: list[int] = []

    def _check_blocks(self) -> int:
        """Return the samples per class that this fit adds to; raise ValueError if it cannot."""
        done = self.budgets_[-1] if self.warm_start and hasattr(self, "distilled_") else 0
        if self.ipc < done:
            raise ValueError(
                f"ipc={self.ipc} must be at least {done}, what an earlier fit has distilled; "
                "warm_start=True adds to it."
            )
        is_set = isinstance(getattr(self.distiller, "init", None), DistilledDataset)
        if is_set and len(self._budgets_after(done)) > (not done):
            raise ValueError(
                "distiller's init must not be a set unless there is a single block: every other "
                "block starts from the ones before."
            )
        if getattr(self.distiller, "checkpoint", None) is not None:
            raise ValueError(
                "distiller's checkpoint must be None, because every block needs a file of its own; "
                "pass a folder as BoostedDistiller's checkpoint."
            )
        return done

    def _check_continuation(self, distiller: BaseDistiller) -> None:
        """Raise ValueError unless a distiller that has checked its data may add blocks to these."""
        check_names(
            getattr(distiller, "feature_names_in_", None),
            self.distilled_.feature_names,
            "the earlier fit",
            "X[list(boosted.feature_names_in_)]",
        )
        fraction = distiller.validation_fraction
        parameters = [block["parameters"] for block in self.distilled_.provenance["blocks"]]
        before = [each.get("validation_fraction") for each in parameters]
        other = next((each for each in before if each != fraction), fraction)
        if fraction is not None and other != fraction:
            raise ValueError(
                f"distiller's validation_fraction={fraction} must be {other}, as in the earlier "
                "fit, which warm_start=True continues: blocks of it were trained on samples that "
                "would be held out now. Use warm_start=False to begin anew."
            )

    def _begin(
        self, folder: BlockFolder | None, seed: int | None
    ) -> tuple[int, dict[str, list[int]]]:
        """Return the seed of the blocks' seeds, and the ends of blocks that must not change.

        Parameters
        ----------
        folder : BlockFolder or None
        seed : int or None
            That of an earlier fit; None takes what is given, saved or drawn.

        Returns
        -------
        seed : int
        ends : dict of str to list of int
            Outer steps of blocks that others began from, and of how many they were to have, by
            their samples per class.
        """
        state = self.random_state
        if state is None:
            state = getattr(self.distiller, "random_state", None)
        is_open = seed is None and state is None
        seed = draw_seed(state) if seed is None else seed
        if folder is None:
            return seed, {}
        # The seeds of the blocks depend on their number as well, and beta matters from the second
        # on.
        here: dict[str, Any] = {
            "seed": seed,
            "block_size": plain(self.block_size),
            "beta": float(self.beta),
        }
        saved = folder.share(here, is_open)
        if is_open:
            here["seed"] = saved["seed"]
        for name in here:
            if saved[name] != here[name]:
                wording = "the seed that random_state gives" if name == "seed" else name
                raise ValueError(
                    f"{wording} must be {saved[name]}; got {here[name]}; as in the blocks that "
                    f"{folder!r} holds. Give another folder to begin anew."
                )
        distiller = RaTBPTTDistiller() if self.distiller is None else self.distiller
        max_iter = plain(distiller.max_iter)
        short = [int(ipc) for ipc, end in saved["ends"].items() if end[1] < max_iter]
        if short:
            warn(
                f"Blocks of up to {max(short)} samples per class keep their outer steps, because "
                f"others began from them: distiller's max_iter={max_iter} is for those after. "
                f"Another folder than {folder!r} gives it to all.",
                CheckpointWarning,
            )
        return here["seed"], saved["ends"]

    def _budgets_after(self, done: int) -> list[int]:
        """Return the samples per class after each block that comes when there are so many."""
        ipc, size = plain(self.ipc), plain(self.block_size)
        budgets = list(range(done + size, ipc + 1, size))
        last = budgets[-1] if budgets else done
        return budgets if last == ipc else [*budgets, ipc]

    def _next_distiller(
        self, budget: int, is_first: bool, seed: int, folder: BlockFolder | None
    ) -> BaseDistiller:
        """Return the distiller of the block that begins."""
        number = 0 if is_first else len(self.budgets_)
        distiller = self._make_distiller(budget, number, seed, folder)
        if not is_first:
            # What "auto" stood for in the block before, perhaps of an older version.
            used = self.distiller_._left_open(distiller)
            distiller.set_params(**{n: used[n] for n in FORMER_AUTO if n in used})
        return distiller

    def _make_distiller(
        self, ipc: int, block: int, seed: int, folder: BlockFolder | None = None
    ) -> BaseDistiller:
        distiller = RaTBPTTDistiller() if self.distiller is None else clone(self.distiller)
        first, seed = (
            int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
            for number in (0, block)
        )
        # All blocks hold out what the first does: no block is validated on samples that an earlier
        # one was trained on.
        distiller._hold_out_as(draw_seed(first))
        if folder is not None:
            distiller.set_params(checkpoint=folder.of_block(ipc))
        return distiller.set_params(ipc=ipc, random_state=seed, warm_start=False)

    def _add_block(self, distiller: BaseDistiller, budget: int) -> DistilledDataset:
        """Set the fitted attributes after a block, and return the set so far."""
        block = distiller.distilled_
        earlier = self.distilled_.provenance["blocks"] if self.budgets_ else []
        params = plain_parameters(self)
        of_budget = {"ipc": budget, "recipe_learning_rate": block.recipe.learning_rate}
        blocks = [*earlier, {**of_budget, **block.provenance}]
        provenance = {
            **block.provenance,
            # What the set has cost is what all blocks have.
            **{name: sum(each.get(name, 0) for each in blocks) for name in _COSTS},
            "method": type(self).__name__,
            "parameters": {
                name: params[name] for name in ("ipc", "block_size", "beta", "warm_start")
            },
            "seed": self._seed,
            "blocks": blocks,
        }
        # It is told of each block, and there is none of a whole set.
        provenance.pop("best_iter", None)
        self.distilled_ = replace(block, provenance=provenance)
        self.classes_ = distiller.classes_
        self.n_features_in_ = distiller.n_features_in_
        vars(self).pop("feature_names_in_", None)
        if hasattr(distiller, "feature_names_in_"):
            self.feature_names_in_ = distiller.feature_names_in_
        self._origin = distiller._origin
        n = distiller.n_iter_
        before, new = self.history_, {**distiller.history_, "block": [len(self.budgets_)] * n}
        # What a block did not measure is None: one of two may be validated, say.
        self.history_ = {
            name: [
                *before.get(name, []),
                *[None] * (self.n_iter_ - len(before.get(name, []))),
                *new.get(name, [None] * n),
            ]
            for name in dict.fromkeys([*before, *new])
        }
        self.n_iter_ += n
        self.budgets_ = [*self.budgets_, budget]
        return self.distilled_

    def estimate(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        n_steps: int = 3,
    ) -> Forecast:
        """Estimate what distilling all blocks will take, from a few steps of the first and last.

        Parameters
        ----------
        X, y, sample_weight : array-like
            As in `fit`.
        n_steps : int, default=3
            Outer steps to time in each of the two, after one that is not counted.

        Returns
        -------
        Forecast
            For all blocks together that `fit` would distill, with `warm_start` those that are left:
            their outer steps, the mean of the first and the last block's seconds per step (they
            grow evenly with the samples), and the memory of the last block.

        Raises
        ------
        ValueError
            If a parameter or the data is unfit, as in `fit`.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from skdistill import BoostedDistiller, RaTBPTTDistiller
        >>> X, y = load_iris(return_X_y=True)
        >>> block = RaTBPTTDistiller(max_iter=10, window=2, unroll=4)
        >>> BoostedDistiller(ipc=4, block_size=2, distiller=block).estimate(X, y).n_steps
        20
        """
        self._validate_params()
        budgets = self._budgets_after(self._check_blocks())
        # With no block left, what the last one would take, for no steps.
        sizes = budgets or [plain(self.ipc)]
        first, last = (
            self._make_distiller(ipc, 0, 0).estimate(
                X, y, sample_weight=sample_weight, n_steps=n_steps
            )
            for ipc in (sizes[0], sizes[-1])
        )
        return replace(
            last,
            seconds_per_step=(first.seconds_per_step + last.seconds_per_step) / 2,
            n_steps=len(budgets) * last.n_steps,
            validation_seconds=len(budgets)
            * (first.validation_seconds + last.validation_seconds)
            / 2,
        )

    def transform(
        self, X: ArrayLike | None = None, *, ipc: int | None = None
    ) -> tuple[Any, np.ndarray]:
        """Return the synthetic samples and their labels, of all blocks or of the first ones.

        Parameters
        ----------
        X : array-like or None, default=None
            Checked if given, but not used.
        ipc : int or None, default=None
            Samples per class, one of ``budgets_``; None returns all.

        Returns
        -------
        X_syn : ndarray or DataFrame of shape (n_classes * ipc, ...)
            Samples in the units, shape and layout of the training samples.
        y_syn : ndarray of shape (n_classes * ipc,) or (n_classes * ipc, n_classes)
            Their labels; a row of soft labels for each if they are learned.

        Raises
        ------
        ValueError
            If no block ends at ``ipc``. ``distilled_.subset`` takes any size.
        """
        X_syn, y_syn = super().transform(X)
        if ipc is None:
            return X_syn, y_syn
        if type(plain(ipc)) is not int or ipc not in self.budgets_:
            raise ValueError(
                f"ipc={ipc} must be one of {self.budgets_}, at which blocks end; "
                "distilled_.subset takes any size, and block_size=1 builds every one."
            )
        n = ipc * len(self.classes_)
        return X_syn[:n], y_syn[:n]

    def evaluate_budgets(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        protocol: str | EvaluationProtocol | None = None,
        sample_weight: ArrayLike | None = None,
        n_networks: int | None = None,
        steps: int | Sequence[int] | Literal["curve"] | None = None,
        architecture: str | Architecture | None = None,
    ) -> dict[int, EvaluationResult]:
        """Train fresh networks on the samples of every budget, and test them.

        The recipe is that of ``distilled_``, with the learning rate of networks that was learned
        with a budget's samples if the distiller learns one.

        Parameters
        ----------
        X, y : array-like
            Test samples in the layout of the training samples, and their labels.
        protocol, sample_weight, n_networks, steps, architecture
            As in `evaluate`.

        Returns
        -------
        dict of int to EvaluationResult
            By samples per class, ascending: one for each of ``budgets_``.
        """
        check_is_fitted(self, "distilled_")
        results = self._evaluate(
            [self._of_budget(number) for number in range(len(self.budgets_))],
            X,
            y,
            protocol=protocol,
            sample_weight=sample_weight,
            n_networks=n_networks,
            steps=steps,
            architecture=architecture,
        )
        return dict(zip(self.budgets_, results))

    def _of_budget(self, number: int) -> DistilledDataset:
        """Return the samples of a budget, with the learning rate of networks that is theirs."""
        distilled = self.distilled_.subset(self.budgets_[number])
        # Pickles of before have none.
        own = self.distilled_.provenance["blocks"][number].get("recipe_learning_rate")
        rate = distilled.recipe.learning_rate if own is None else own
        return replace(distilled, recipe=replace(distilled.recipe, learning_rate=rate))

    def _evaluates_like(self) -> BaseDistiller:
        return self.distiller_
