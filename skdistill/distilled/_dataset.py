"""The result of a distillation: samples, labels, and how to evaluate them. Needs no torch."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .._data import network_input as _network_input
from .._data.arrays import as_array
from .._data.columns import are_comparable
from .._data.dtypes import Dtypes
from .._data.labels import plain_labels
from .._data.older_versions import stamped, unstamped
from .._data.units import warn_of_other_units
from .._files import images as _image_folder
from .._files.paths import expanded
from . import _card, _file, _html, _hub, _known, _to_frame, _to_hf
from ._blocks import BasisBlock as BasisBlock  # where pickles ask for it
from ._blocks import Block
from ._consistency import check_consistency
from ._recipe import EvaluationRecipe

if TYPE_CHECKING:
    import datasets
    import pandas as pd
    from torch.utils.data import TensorDataset

    from ..evaluation._protocol import EvaluationResult
    from ._protocol import EvaluationProtocol

__all__ = ["DistilledDataset", "EvaluationRecipe", "check_is_set"]


@dataclass(frozen=True, eq=False)
class DistilledDataset:
    """Synthetic samples with their labels, and the recipe to evaluate them.

    Rows are ordered so that the first ``k * n_classes`` are ``k`` samples of every class.

    Parameters
    ----------
    X : ndarray of shape (n_classes * ipc, ...)
        Synthetic samples in the units, shape and layout of the training data.
    y : ndarray of shape (n_classes * ipc,) or (n_classes * ipc, n_classes)
        Labels, or learned soft labels with one column per class.
    classes : ndarray of shape (n_classes,)
        The class labels, sorted.
    ipc : int
        Samples per class ("images per class").
    recipe : EvaluationRecipe
        How to train networks on the samples.
    provenance : mapping
        Where the samples come from: method, parameters, versions, steps, seconds (JSON-safe).
    feature_names : tuple of str or None, default=None
        Names of the features of a table or of flat images, where the training data had names.
    preprocessing : fitted transformer or None, default=None
        The steps that the training data went through before it was distilled, as `from_pipeline`
        keeps them. ``preprocessing.inverse_transform(X)`` brings samples back, if it has an
        inverse. With it, `skdistill.evaluation` takes test data as it was before these steps.
    bases : tuple of BasisBlock, TileBlock or HallucinatorBlock, default=()
        What the samples are made of, in order, if they were distilled with a `LinearBasis`, `Tiled`
        or `Hallucinated` of `skdistill.parametrization`.
    target_name : str or None, default=None
        The name of the training labels, where they were a Series or a frame's column.
    original_dtypes : tuple or None, default=None
        The dtype of each column of the training data before `preprocessing`: pandas' name of a
        dtype of numbers or booleans (``"int64"``), ``{"categories": [...], "ordered": bool}`` for
        categories, None for anything else. `to_frame` restores them; None instead of the tuple
        means that they are not known.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skdistill import RaTBPTTDistiller
    >>> X, y = load_iris(return_X_y=True)
    >>> distilled = RaTBPTTDistiller(ipc=2, max_iter=2, window=2, unroll=4).fit(X, y).distilled_
    >>> distilled.X.shape, distilled.y.tolist()
    ((6, 4), [0, 1, 2, 0, 1, 2])
    >>> distilled.subset(1).X.shape
    (3, 4)
    """

    X: np.ndarray
    y: np.ndarray
    classes: np.ndarray
    ipc: int
    recipe: EvaluationRecipe
    provenance: Mapping[str, Any] = field(default_factory=dict)
    feature_names: tuple[str, ...] | None = None
    preprocessing: Any = None
    bases: tuple[Block, ...] = ()
    target_name: str | None = None
    original_dtypes: Dtypes | None = None

    @classmethod
    def from_pipeline(cls, pipeline: Any, X: Any = None) -> "DistilledDataset":
        """Return the set that a fitted pipeline distilled, together with the steps before.

        Whoever loads the set can then bring test data into its units, look at its samples in the
        original units, and evaluate it on unprocessed data.

        Parameters
        ----------
        pipeline : sklearn.pipeline.Pipeline
            Fitted; its last step is a distiller.
        X : DataFrame, array or None, default=None
            The table that the pipeline was fitted on. Only its dtypes are kept, so that
            ``to_frame(original=True)`` can restore integers and booleans.

        Returns
        -------
        DistilledDataset
            It keeps a copy of the steps before the distiller, but for those that do nothing to test
            data: "passthrough", and samplers, such as imbalanced-learn's. Its `feature_names` are
            those of the last of them, if it has names.

        Raises
        ------
        TypeError
            If it is not a pipeline that ends in a fitted distiller.
        ValueError
            If `X` lacks columns that the pipeline was fitted on.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.preprocessing import StandardScaler
        >>> from skdistill import DistilledDataset, RaTBPTTDistiller
        >>> X, y = load_iris(return_X_y=True)
        >>> pipe = make_pipeline(StandardScaler(), RaTBPTTDistiller(max_iter=1, window=1, unroll=1))
        >>> distilled = DistilledDataset.from_pipeline(pipe.fit(X, y))
        >>> distilled.preprocessing.inverse_transform(distilled.X).shape
        (3, 4)
        """
        steps = getattr(pipeline, "steps", None)
        distilled = getattr(steps[-1][1], "distilled_", None) if steps else None
        if not isinstance(distilled, cls):
            raise TypeError(
                "pipeline must be a Pipeline that ends in a fitted distiller; "
                f"got {pipeline!r:.200}."
            )
        from ._way_back import dtypes_before, names_after, steps_before, warn_of_target_before

        before, names = steps_before(pipeline), distilled.feature_names
        if before is None:
            return replace(distilled, preprocessing=None)
        warn_of_target_before(before, distilled.target_name)
        return replace(
            distilled,
            preprocessing=before,
            feature_names=names_after(before, distilled.X[0].size) if names is None else names,
            original_dtypes=dtypes_before(before, X),
        )

    @classmethod
    def from_arrays(
        cls,
        X: ArrayLike,
        y: ArrayLike,
        *,
        classes: ArrayLike | None = None,
        image_shape: Sequence[int] | None = None,
        mean: ArrayLike | None = None,
        scale: ArrayLike | None = None,
        standardized: bool = False,
        preprocessing: Any = None,
        protocol: "str | EvaluationProtocol | None" = None,
        feature_names: Sequence[str] | None = None,
        provenance: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> "DistilledDataset":
        """Return a set whose samples were made elsewhere: by another package, or chosen by hand.

        It evaluates, compares, saves and loads like a set of a distiller.

        Parameters
        ----------
        X : array-like or tensor of shape (n_classes * ipc, ...)
            The samples, in any order: ``(n, features)``, ``(n, H, W)``, ``(n, C, H, W)`` or ``(n,
            H, W, C)``.
        y : array-like or tensor of shape (n_classes * ipc,) or (n_classes * ipc, n_classes)
            Their labels, equally many of each class, or soft labels, which may have any sign and
            any sum.
        classes : array-like of shape (n_classes,) or None, default=None
            The labels that test data has. None takes the distinct ones of `y`. Soft labels need
            them, in the order of their columns.
        image_shape : tuple of int or None, default=None
            ``(channels, height, width)`` of the samples, needed if they are flat or if it is
            ambiguous.
        mean, scale : float, array-like of shape (n_channels or n_features,) or None, default=None
            Mean and standard deviation of the training data per channel or feature. Networks see
            samples standardized by them, test samples as well. None means that networks see `X` as
            it is.
        standardized : bool, default=False
            Whether `X` has been standardized by `mean` and `scale` already, as the tensors of most
            papers are: the set then holds it in the units of the training data, in which test data
            is to be passed, in double precision where these have more digits than single precision
            holds. False means that `X` is in these units.
        preprocessing : fitted transformer or None, default=None
            What the training data went through before `X` was made from it: a `ZCAWhitener`, for
            instance, of which a copy is kept. Test data then is passed as it was before. `mean` and
            `scale` come after it.
        protocol : str, EvaluationProtocol or None, default=None
            The recipe of the set, by which ``score`` and `skdistill.evaluation.evaluate` train
            networks on it: see `with_protocol`. None is the protocol of a distiller's defaults: ten
            networks, "convnet" or "mlp", 300 steps of Adam, no augmentation, and cross-entropy, or
            "mse" if any label is negative.
        feature_names : sequence of str or None, default=None
            Names of the features; None takes the columns of a DataFrame.
        provenance : mapping or None, default=None
            Where the samples come from, JSON-safe: ``{"method": "MTT", "url": ...}``.
        seed : int, default=0
            Determines the networks' initializations, mini-batches and augmentations.

        Returns
        -------
        DistilledDataset
            Rows are ordered so that the first ``k * n_classes`` are ``k`` samples of every class,
            by the largest of soft labels. If these are not equally many of each class, the order is
            kept where most rows are already of the class of their place, as in a set whose labels
            were learned. Otherwise every class gets as many rows, so that labels have the most of
            their mass there.

        Raises
        ------
        ValueError
            If shapes, labels and classes do not fit each other, if a value is not finite, or if `X`
            cannot be in the units that `mean`, `scale` and `standardized` say: bytes from 0 to 255
            without a mean and a scale, for instance. (What only looks wrong can be made by
            ``DistilledDataset(...)``, which does not look.)

        Warns
        -----
        UserWarning
            If `X` is in units of which its dtype can hardly hold the differences: ``float32``
            seconds since 1970, for instance.

        Examples
        --------
        >>> import numpy as np
        >>> from skdistill import DistilledDataset
        >>> from skdistill.evaluation import evaluate
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(4, 3, 8, 8))  # standardized, as another code has saved them
        >>> y = [[0.6, -0.6], [0.4, -0.3], [-0.5, 0.5], [-0.7, 0.9]]
        >>> distilled = DistilledDataset.from_arrays(
        ...     X, y, classes=["cat", "dog"], mean=[0.49, 0.48, 0.45], scale=0.25, standardized=True
        ... )
        >>> distilled.ipc, distilled.hard_labels().tolist(), distilled.recipe.loss
        (2, ['cat', 'dog', 'cat', 'dog'], 'mse')
        >>> X_test = rng.uniform(size=(20, 3, 8, 8))  # pixels
        >>> result = evaluate(distilled, X_test, ["cat", "dog"] * 10, n_networks=2, steps=5)
        >>> result.accuracies.shape
        (2,)
        """
        from ._from_arrays import fields_from_arrays

        parts = fields_from_arrays(
            X,
            y,
            classes,
            image_shape,
            mean,
            scale,
            standardized,
            preprocessing,
            feature_names,
            provenance,
            seed,
        )
        made = cls(**parts)
        check_consistency(
            replace(
                made, classes=plain_labels(made.classes, "classes"), y=plain_labels(made.y, "y")
            )
        )
        if protocol is None:
            return made
        # What the caller says of the set is said of it with this protocol.
        return replace(made.with_protocol(protocol), provenance=made.provenance)

    def with_protocol(self, protocol: "str | EvaluationProtocol") -> "DistilledDataset":
        """Return the set with a recipe that trains networks by this protocol.

        Do this before test data is seen: the recipe is what ``score`` follows. An accuracy that the
        provenance claims is left out, because it was measured by the former recipe.

        Parameters
        ----------
        protocol : str or EvaluationProtocol
            As in `skdistill.evaluation.evaluate`.

        Returns
        -------
        DistilledDataset

        Raises
        ------
        ValueError
            If the protocol is unknown, or its networks cannot be kept in a recipe: a name can, and
            a `functools.partial` of `skdistill.networks.ConvNet` or `skdistill.networks.MLP`.

        Examples
        --------
        >>> from skdistill.datasets import load_distilled
        >>> distilled = load_distilled("digits").with_protocol("dm")
        >>> distilled.recipe.optimizer, distilled.recipe.steps
        ('sgd', 1001)
        """
        from ..evaluation._papers import with_recipe

        return with_recipe(self, protocol)

    def __len__(self) -> int:
        return len(self.X)

    def __repr__(self) -> str:
        storage = "" if self.storage == self.ipc else f"storage={self.storage:.3g}, "
        return (
            f"DistilledDataset(ipc={self.ipc}, {storage}n_classes={len(self.classes)}, "
            f"X={self.X.dtype}{self.X.shape}, y={self.y.dtype}{self.y.shape})"
        )

    def _repr_html_(self) -> str:
        """Return the set as a notebook shows it: pictures or a table, labels and recipe."""
        return _html.render(self)

    @property
    def storage(self) -> float:
        """The storage of the set, in units of samples per class.

        It is `ipc` for samples with hard labels. Bases and coefficients, tiles, or bases and
        hallucinators count instead of the samples that they make [Feng23, section 4.2], and learned
        labels count in full: with them a sample of ``d`` values takes ``1 + n_classes / d``.
        """
        n = sum(block.n_values for block in self.bases) or self.X.size
        if self.y.ndim == 2:
            n += self.y.size
        return n * self.ipc / self.X.size

    def subset(self, ipc: int) -> "DistilledDataset":
        """Return the first ``ipc`` samples of every class."""
        if not isinstance(ipc, Integral) or isinstance(ipc, bool) or not 1 <= ipc <= self.ipc:
            raise ValueError(
                f"ipc={ipc!r} must be an integer between 1 and {self.ipc}, what was distilled."
            )
        n = ipc * len(self.classes)
        bases = _first_samples(self.bases, n)
        return replace(self, X=self.X[:n], y=self.y[:n], ipc=int(ipc), bases=bases)

    def hard_labels(self) -> np.ndarray:
        """Return one label per sample: of learned labels, the class of the largest.

        Returns
        -------
        ndarray of shape (n_classes * ipc,)
        """
        return self.classes[self.y.argmax(axis=1)] if self.y.ndim == 2 else self.y.copy()

    def with_hard_labels(self) -> "DistilledDataset":
        """Return the set with `hard_labels`, for classifiers that cannot learn from soft ones.

        The samples were distilled with the soft labels, and a network may learn less from these: an
        accuracy that the provenance claims for those is left out.

        The largest label need not be that of the class from which a sample was distilled. Then rows
        are not one sample of every class, and the next, any more, and `subset` may have other
        numbers of each. As ``init`` or ``start`` of a distiller such a set is put in order, or
        refused if it has not equally many samples of every class.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from skdistill import RaTBPTTDistiller
        >>> X, y = load_iris(return_X_y=True)
        >>> distiller = RaTBPTTDistiller(learn_labels=True, max_iter=1, window=1, unroll=1)
        >>> distilled = distiller.fit(X, y).distilled_
        >>> distilled.y.shape, distilled.with_hard_labels().y.tolist()
        ((3, 3), [0, 1, 2])
        """
        if self.y.ndim == 1:
            return replace(self, y=self.hard_labels())
        return replace(
            self, y=self.hard_labels(), provenance=_known.without_accuracy(self.provenance)
        )

    def card(self, result: "EvaluationResult | None" = None, *, license: str | None = None) -> str:
        """Return a text to pass on with the set: what it is, how to use it, how it was made.

        Parameters
        ----------
        result : EvaluationResult or None, default=None
            The result of `skdistill.evaluation.evaluate` or the distiller's ``evaluate`` on test
            data. If its networks were not trained as the recipe says, the card says how they were.
            With None the card of a set of `skdistill.datasets.load_distilled` has the accuracy that
            comes with it, unless its recipe has been changed; other cards say that none is given.
        license : str or None, default=None
            The license of the training data, in any words; "unknown" if you do not know it. None
            leaves it out.

        Returns
        -------
        str
            Markdown: samples, classes and preprocessing; lines of code that load it; accuracy and
            recipe; method, all parameters, versions, and the fingerprint of the training data.

        Raises
        ------
        TypeError, ValueError
            If ``result`` is not an evaluation, or is that of a set of another size; or if
            ``license`` is empty.

        See Also
        --------
        push_to_hub : Publish the set with its card.

        Examples
        --------
        >>> from skdistill.datasets import load_distilled
        >>> lines = load_distilled("digits").card().splitlines()
        >>> lines[0]
        '# 10 distilled images of 10 classes'
        >>> [line for line in lines if "data" in line][0]
        "| data | scikit-learn's digits, a quarter held out |"
        """
        return _card.render(self, result, license=license)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save to one ``.npz`` file, without pickles, that needs neither torch nor trust to load.

        The file is an archive of plain NumPy arrays: ``X``, ``y``, ``classes``, and ``meta``, which
        is JSON as bytes of UTF-8: format, version, ipc, recipe, provenance, feature names and
        preprocessing, whose arrays are ``preprocessing.0`` and so on. Bases are ``bases.0.basis``,
        ``bases.0.coefficients``, ``bases.0.offset`` and so on, or ``bases.0.tiles``, or the arrays
        of a `skdistill.distilled.HallucinatorBlock`, beside the samples made of them: the file
        holds both. It is written under another name in the same folder, flushed to the disk
        and renamed: after a crash, the previous file is still at ``path``.

        Parameters
        ----------
        path : path
            Used as it is: no suffix is added. ``~`` is expanded, and a link is followed.

        Raises
        ------
        ValueError
            If labels are objects other than strings, if recipe or provenance are not JSON-safe, if
            arrays and recipe do not fit each other, or if `preprocessing` is anything but
            scikit-learn's scalers, `PowerTransformer`, `QuantileTransformer`,
            `FunctionTransformer` without functions, `OneHotEncoder`, `OrdinalEncoder`,
            `SimpleImputer`, `MissingIndicator` and `PCA`, `ZCAWhitener`, and `ColumnTransformer`
            and `Pipeline` of them.
        OSError
            If the file cannot be written, or its folder does not exist.

        Notes
        -----
        Strings in object arrays are saved, and come back, as NumPy's unicode strings. Tuples in the
        provenance come back as lists. Preprocessing of another version of scikit-learn loads with
        scikit-learn's own warning. A `ColumnTransformer` whose columns were chosen by a function,
        such as ``make_column_selector``, comes back with the chosen columns; ``n_jobs`` and
        ``memory``, which belong to a machine, come back as None, and ``device`` as "auto".

        Examples
        --------
        >>> import tempfile
        >>> from sklearn.datasets import load_iris
        >>> from skdistill import DistilledDataset, RaTBPTTDistiller
        >>> X, y = load_iris(return_X_y=True)
        >>> distilled = RaTBPTTDistiller(max_iter=1, window=1, unroll=1).fit(X, y).distilled_
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     distilled.save(f"{folder}/iris.npz")
        ...     loaded = DistilledDataset.load(f"{folder}/iris.npz")
        >>> (loaded.X == distilled.X).all(), loaded.recipe == distilled.recipe
        (np.True_, True)
        """
        _file.write(path, self)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "DistilledDataset":
        """Load what `save` saved. Runs no code from the file, and needs no torch.

        Parameters
        ----------
        path : path

        Returns
        -------
        DistilledDataset

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        skdistill.exceptions.InvalidFileError
            If the file is truncated, damaged, of another format or a newer version, holds pickled
            objects, or its parts do not fit each other. The message says which.

        See Also
        --------
        save : With an example.
        """
        return _file.read(path, cls)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        license: str,
        result: "EvaluationResult | None" = None,
        private: bool | None = None,
        overwrite: bool = False,
        commit_message: str | None = None,
        token: str | None = None,
        endpoint: str | None = None,
    ) -> str:
        """Publish the set, with its card, as a dataset repository on the Hugging Face Hub.

        The repository has three files, written in one commit: ``set.npz``, as `save` writes it;
        ``README.md``, the `card` below the metadata that the Hub reads; and, of images, the sheet
        ``samples.png``. It is made if there is none. If the upload is interrupted, it has none of
        the three, or what it had before.

        Parameters
        ----------
        repo_id : str
            ``"<user>/<name>"`` or ``"<organization>/<name>"``.
        license : str
            The license of the training data, because the samples were made from it: the Hub's
            identifier of one [1]_, such as "cc-by-4.0"; any other name, which the Hub then shows as
            "other"; or "unknown" if you do not know it, which the card says.
        result : EvaluationResult or None, default=None
            As in `card`: accuracy and its deviation come from here or from the set, or are said not
            to be given.
        private : bool or None, default=None
            Whether a new repository can be seen by you alone, or your organization. None is the
            Hub's default: everybody can see it, unless the organization wants it otherwise.
        overwrite : bool, default=False
            Whether files of these names that are there already are replaced. Other files stay.
        commit_message : str or None, default=None
            The first line of the commit. None says what the set is.
        token : str or None, default=None
            A token of the Hub that may write. None takes that of the environment variable
            ``HF_TOKEN`` or of ``hf auth login``.
        endpoint : str or None, default=None
            The address of another Hub, which is given the token. None takes that of the environment
            variable ``HF_ENDPOINT`` or https://huggingface.co.

        Returns
        -------
        str
            The hash of the commit. As the `revision` of `from_hub`, it always gives these samples.

        Raises
        ------
        ImportError
            If the package huggingface_hub is not installed.
        TypeError, ValueError
            As in `card` and `save`, or if `repo_id` cannot be the name of a repository. Nothing has
            been sent then.
        FileExistsError
            If any of these files is there already, and `overwrite` is False.
        PermissionError
            If no token is found, or if it may not write there.
        OSError
            If the Hub cannot be reached, or the upload fails. A new repository may then exist
            without files.

        See Also
        --------
        from_hub : Load the set.

        Notes
        -----
        Synthetic samples are functions of the real ones: whoever sees them learns something of
        these. The card holds the provenance with all parameters.

        References
        ----------
        .. [1] https://huggingface.co/docs/hub/repositories-licenses

        Examples
        --------
        >>> from skdistill import DistilledDataset
        >>> from skdistill.datasets import load_distilled
        >>> digits = load_distilled("digits")
        >>> commit = digits.push_to_hub("me/digits", license="cc-by-4.0")  # doctest: +SKIP
        >>> DistilledDataset.from_hub("me/digits", revision=commit)  # doctest: +SKIP
        DistilledDataset(ipc=1, n_classes=10, X=float64(10, 64), y=int64(10,))
        """
        return _hub.push(
            self,
            repo_id,
            license=license,
            result=result,
            private=private,
            overwrite=overwrite,
            commit_message=commit_message,
            token=token,
            endpoint=endpoint,
        )

    @classmethod
    def from_hub(
        cls,
        repo_id: str,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        endpoint: str | None = None,
    ) -> "DistilledDataset":
        """Load a set that `push_to_hub` has published, once it is downloaded.

        Only ``set.npz`` is downloaded, and loaded as `load` does it: no code from it is run. Needs
        no torch.

        Parameters
        ----------
        repo_id : str
            The dataset repository, ``"<user>/<name>"``.
        revision : str or None, default=None
            A branch, a tag, or the hash of a commit. Only a hash always gives the same samples, and
            is not looked up again if the file is on this machine. None is the latest commit.
        token : str, bool or None, default=None
            A token of the Hub that may read a private repository. None takes that of the
            environment variable ``HF_TOKEN`` or of ``hf auth login``, if there is one; False sends
            none.
        cache_dir : path or None, default=None
            Where downloaded files are kept. None is the cache of huggingface_hub.
        force_download : bool, default=False
            Whether to download the file again if it is on this machine.
        endpoint : str or None, default=None
            As in `push_to_hub`.

        Returns
        -------
        DistilledDataset

        Raises
        ------
        ImportError
            If the package huggingface_hub is not installed.
        ValueError
            If `repo_id` cannot be the name of a repository.
        FileNotFoundError
            If there is no such repository that may be read, no such revision, or no set in it. The
            message says which.
        skdistill.exceptions.InvalidFileError
            As in `load`.
        PermissionError
            If the token is not valid, or may not read the repository.
        OSError
            If the Hub cannot be reached and the file is not on this machine, or if the download
            ends early.

        See Also
        --------
        push_to_hub : With an example.
        """
        return _hub.pull(
            cls.load,
            repo_id,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            force_download=force_download,
            endpoint=endpoint,
        )

    def __getstate__(self) -> dict[str, Any]:
        # Only Python's own types: torch's version is an instance of a torch class, and a pickle of
        # it would load only with torch.
        plain = json.loads(json.dumps(dict(self.provenance)))
        return stamped({**vars(self), "provenance": plain})

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(unstamped(state, type(self).__name__))

    def to_torch(self, standardize: bool = True) -> "TensorDataset":
        """Return the samples as networks see them, and their labels, as a PyTorch dataset.

        Parameters
        ----------
        standardize : bool, default=True
            Whether samples have the training set's mean subtracted and are divided by its standard
            deviation, as the networks of the evaluation see them; False keeps their units. Test
            samples must be treated in the same way: `standardize` does that.

        Returns
        -------
        torch.utils.data.TensorDataset
            Copies: samples, float32 of shape ``(n, features)`` or ``(n, C, H, W)``; labels, int64
            of shape ``(n,)`` that index ``classes``, or float32 soft labels of shape ``(n,
            n_classes)``.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from skdistill import RaTBPTTDistiller
        >>> X, y = load_iris(return_X_y=True)
        >>> distilled = RaTBPTTDistiller(max_iter=1, window=1, unroll=1).fit(X, y).distilled_
        >>> samples, labels = distilled.to_torch().tensors
        >>> samples.shape, labels
        (torch.Size([3, 4]), tensor([0, 1, 2]))
        """
        import torch

        if standardize:
            samples = self._standardized(self.X)
        else:
            samples = np.ascontiguousarray(self.recipe.layout.to_engine(self.X), dtype=np.float32)
        labels = self.y.astype(np.float32) if self.y.ndim == 2 else self._class_index()
        return torch.utils.data.TensorDataset(torch.tensor(samples), torch.tensor(labels))

    def standardize(self, X: ArrayLike) -> np.ndarray:
        """Return real samples as networks see them: what to feed a network trained on the set.

        They go through the saved preprocessing, if there is one; then the training set's mean is
        subtracted and they are divided by its standard deviation, in double precision, rounded
        once; and channels come first.

        Parameters
        ----------
        X : array-like or tensor of shape (n, ...)
            Test or other real samples in the layout and units of the training data; before
            preprocessing, if the set keeps that.

        Returns
        -------
        ndarray of float32, of shape (n, features) or (n, C, H, W)

        Raises
        ------
        ValueError
            If samples have another shape than the training samples, other columns, or hold text,
            NaN or infinity. Of text and gaps in a data frame the message names the columns.

        Warns
        -----
        UserWarning
            If the result differs so much from standardized samples that ``X`` must have been in
            other units: pixels that were not whitened, or that were divided by 255.

        See Also
        --------
        to_torch : The synthetic samples in the same form, and with the same arithmetic.
        encode_labels : The labels.

        Notes
        -----
        Needs no torch.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from skdistill import RaTBPTTDistiller
        >>> X, y = load_iris(return_X_y=True)
        >>> distilled = RaTBPTTDistiller(max_iter=1, window=1, unroll=1).fit(X, y).distilled_
        >>> Z = distilled.standardize(X)
        >>> Z.dtype, Z.std(axis=0).round(3).tolist()
        (dtype('float32'), [1.0, 1.0, 1.0, 1.0])
        """
        X, names = as_array(X), self.feature_names
        if self.preprocessing is not None:
            X = self.preprocessing.transform(X)
            names = names if are_comparable(X, names) else None
        X = _network_input.as_numbers(X, names)
        Z = self._standardized(X)
        recipe = self.recipe
        n_classes = len(self.classes)
        warn_of_other_units(X, recipe.layout, recipe.mean, recipe.scale, n_classes)
        return Z

    def encode_labels(self, y: ArrayLike) -> np.ndarray:
        """Return labels as the numbers that networks learn: positions in `classes`.

        Parameters
        ----------
        y : array-like or tensor of shape (n,)
            Labels, as the training data had them.

        Returns
        -------
        ndarray of int64, of shape (n,)

        Raises
        ------
        ValueError
            If a label is not a class of the set, which the message names, or is missing.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from skdistill import RaTBPTTDistiller
        >>> iris = load_iris()
        >>> y = iris.target_names[iris.target]
        >>> distiller = RaTBPTTDistiller(max_iter=1, window=1, unroll=1).fit(iris.data, y)
        >>> distiller.distilled_.encode_labels(["virginica", "setosa"])
        array([2, 0])
        """
        return _network_input.class_indices(y, self.classes)

    def to_frame(self, *, original: bool = False, target_name: str | None = None) -> "pd.DataFrame":
        """Return one row per sample: its features, then its label.

        Parameters
        ----------
        original : bool, default=False
            Whether the columns are those of the training data before `preprocessing`, in their
            order and with the `original_dtypes`, if these are known.
        target_name : str or None, default=None
            Name of the label's column. None takes the name that the training labels had or, without
            one, ``target``, followed by underscores if a feature has that name.

        Returns
        -------
        pandas.DataFrame of shape (n_classes * ipc, ...)
            A pandas frame, whatever the training data was. Columns are `feature_names`, or ``x0``,
            ``x1``, ...; images that are not flat are flattened as by ``X.reshape(n, -1)``. Then
            comes the label as ``<target_name>``, or soft labels as ``<target_name>_<class>`` for
            every class.

        Raises
        ------
        ImportError
            If pandas is not installed.
        ValueError
            If a feature has the name of a label's column, or if `original` is True and a column, or
            the images, went through a transformer without an inverse. The message names it.

        Notes
        -----
        Synthetic samples are not exact encodings of rows, so ``original=True`` takes the nearest
        possible row:

        * the largest column of a `OneHotEncoder` gives the category, and in a column of an
          `OrdinalEncoder` the nearest code does;
        * integers are rounded, and kept within the limits of their dtype; booleans are True from
          0.5 on;
        * columns of other transformers go through their ``inverse_transform``. Imputed values stay
          as they are, unless the imputer added an indicator that is above 0.5;
        * a column that was dropped is left out (by ``"drop"``, the default for the remainder
          of a `ColumnTransformer`, or by a selection of features);
        * categories come back as they were given to the encoder: as a pandas ``Categorical`` if
          the column was one (a Categorical or Enum of polars), else as strings or numbers.
          Rare categories that an encoder pooled become its ``infrequent_sklearn``.

        A table that was distilled in a pipeline has its dtypes only if `from_pipeline` was given
        it; without them numbers come back as floats.

        Examples
        --------
        >>> import pandas as pd
        >>> from sklearn.compose import make_column_transformer
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.preprocessing import OneHotEncoder
        >>> from skdistill import DistilledDataset, RaTBPTTDistiller
        >>> X = pd.DataFrame({"legs": [4, 4, 2, 2], "skin": ["fur", "fur", "feathers", "feathers"]})
        >>> y = pd.Series(["cat", "dog", "hen", "owl"], name="animal")
        >>> encode = make_column_transformer(
        ...     (OneHotEncoder(sparse_output=False), ["skin"]), remainder="passthrough"
        ... )
        >>> distiller = RaTBPTTDistiller(init="real", max_iter=1, window=1, unroll=1)
        >>> pipeline = make_pipeline(encode, distiller).fit(X, y)
        >>> distilled = DistilledDataset.from_pipeline(pipeline, X)
        >>> list(distilled.to_frame())
        ['onehotencoder__skin_feathers', 'onehotencoder__skin_fur', 'remainder__legs', 'animal']
        >>> print(distilled.to_frame(original=True).to_csv(index=False))
        legs,skin,animal
        4,fur,cat
        4,fur,dog
        2,feathers,hen
        2,feathers,owl
        <BLANKLINE>
        """
        return _to_frame.to_frame(self, original=original, target_name=target_name)

    def to_hf(
        self, *, images: bool = True, value_range: tuple[float, float] | None = None
    ) -> "datasets.Dataset":
        """Return a Dataset of Hugging Face's package datasets, with one row per sample.

        Parameters
        ----------
        images : bool, default=True
            Whether samples that are images with 1, 3 or 4 channels become pictures of bytes, as
            `export_images` makes them, after the inverse of the preprocessing that the set keeps.
            These have 256 values per channel. With False, numbers and units are those of ``X``.
        value_range : (low, high) or None, default=None
            As in `export_images`: values that become black (0) and white (255). None takes the
            least and the greatest value of the whole set.

        Returns
        -------
        datasets.Dataset
            Its columns are those of a table, named by `feature_names` or ``x0``, ``x1``, ..., or
            ``image``, a ``datasets.Image`` or an array of numbers in the shape of ``X``; and
            ``label``, followed by underscores if a feature has that name: a ``ClassLabel``, or the
            soft labels as a list of numbers. The label of a class is its position in `classes`, and
            its name there is what the set knows as its name, or the class as text.

        Raises
        ------
        ImportError
            If the package datasets is not installed.
        ValueError
            If two features have the same name; or if ``value_range`` is not a range, or is given
            for samples that do not become pictures.

        See Also
        --------
        push_to_hub : Publish the set with its recipe, which a Dataset does not have.

        Examples
        --------
        >>> from skdistill.datasets import load_distilled
        >>> fashion = load_distilled("fashion-mnist").to_hf()
        >>> fashion[9]["image"].size, fashion.features["label"].int2str(fashion[9]["label"])
        ((28, 28), 'Ankle boot')
        """
        return _to_hf.to_hf(self, images=images, value_range=value_range)

    def export_images(
        self,
        folder: str | os.PathLike[str],
        *,
        value_range: tuple[float, float] | None = None,
        overwrite: bool = False,
    ) -> None:
        """Write the images to a tree that `torchvision.datasets.ImageFolder` reads.

        Every image becomes ``<folder>/<class>/<nnn>.png``, numbered from 000 within its class: the
        files below ``k`` are the IPC-k subset. ``<folder>/labels.csv`` lists them in the order of
        rows, with the columns ``file`` and ``label``. Names that a spreadsheet would take for a
        formula, such as the class "=1+1", are written as text: its label as ``'=1+1``, its file as
        ``./=1+1/000.png``.

        With soft labels an image goes to the class of its largest label, so classes may have
        different numbers of images, and a class may have no folder; the columns are ``file`` and
        ``label_<class>`` for every class. Images of a set that keeps its preprocessing first go
        through its inverse.

        Parameters
        ----------
        folder : path
            Made if need be.
        value_range : (low, high) or None, default=None
            Values, in the units of ``X`` (or of the inverse of preprocessing), that become black
            (0) and white (255); values beyond them are clipped. None takes the least and the
            greatest value of the whole set.
        overwrite : bool, default=False
            Whether an earlier export in ``folder`` is replaced. A folder that holds anything else
            is never replaced.

        Raises
        ------
        ValueError
            If samples are not images with 1, 3 or 4 channels (gray, RGB, RGBA) of finite values,
            the name of a class is not safe for a folder, or ``value_range`` is not a range. Nothing
            has been written then.
        FileExistsError
            If ``folder`` is not empty, and ``overwrite`` is False or it is not an earlier export.
        ImportError
            If Pillow is not installed.

        Examples
        --------
        >>> import os, tempfile
        >>> from sklearn.datasets import load_digits
        >>> from skdistill import RaTBPTTDistiller
        >>> X, y = load_digits(n_class=3, return_X_y=True)
        >>> distiller = RaTBPTTDistiller(image_shape=(1, 8, 8), max_iter=1, window=1, unroll=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     distiller.fit(X, y).distilled_.export_images(folder, value_range=(0, 16))
        ...     sorted(os.listdir(folder)), os.listdir(f"{folder}/0")
        (['0', '1', '2', 'labels.csv'], ['000.png'])
        """
        layout = self.recipe.layout
        if not layout.is_image:
            raise ValueError(
                f"export_images needs images; got table rows of {layout.user_shape[0]} features. "
                "If they are flat images, distill with image_shape=(channels, height, width)."
            )
        names = [str(c) for c in self.classes.tolist()]
        _image_folder.check_names(names)
        _image_folder.write(
            expanded(folder),
            self._pixels(value_range),
            [names[i] for i in self._class_index()],
            self._label_columns("label"),
            self.y.reshape(len(self.y), -1).tolist(),
            overwrite=overwrite,
        )

    def _unprocessed(self, X: np.ndarray) -> np.ndarray:
        """Return samples of the units of `X` as before preprocessing, if that has an inverse."""
        if not hasattr(self.preprocessing, "inverse_transform"):
            return X
        return self.preprocessing.inverse_transform(X)

    def _pixels(self, value_range: tuple[float, float] | None) -> np.ndarray:
        """Return the samples of an image set, before preprocessing, as images of bytes."""
        X = self.recipe.layout.to_engine(self._unprocessed(self.X))
        return _image_folder.to_pixels(X, value_range)

    def _standardized(self, X: np.ndarray) -> np.ndarray:
        """Return samples in the units of `X` as networks see them."""
        recipe = self.recipe
        return _network_input.standardize(X, recipe.layout, recipe.mean, recipe.scale)

    def _class_index(self) -> np.ndarray:
        """Return each sample's index into `classes`; of soft labels, that of the largest."""
        return np.searchsorted(self.classes, self.hard_labels()).astype(np.int64)

    def _label_columns(self, name: str) -> list[str]:
        """Return the names of the columns of a table that hold the labels."""
        return [name] if self.y.ndim == 1 else [f"{name}_{c}" for c in self.classes.tolist()]


def _first_samples(bases: tuple[Block, ...], n: int) -> tuple[Block, ...]:
    """Return the bases of the first ``n`` samples."""
    kept = []
    for block in bases:
        if n <= 0:
            break
        kept.append(block.first(n))
        n -= block.n_samples
    return tuple(kept)


def check_is_set(distilled: object) -> None:
    """Raise a TypeError, which says where sets are found, unless this is one."""
    if not isinstance(distilled, DistilledDataset):
        raise TypeError(
            f"distilled must be a DistilledDataset; got {type(distilled).__name__}. A fitted "
            "distiller has one as distilled_, DistilledDataset.from_pipeline(pipe) returns that of "
            "a pipeline, and DistilledDataset.load(path) that of a file."
        )
