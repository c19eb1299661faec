"""Distribution matching: synthetic samples whose mean embedding is that of the real ones."""

import numpy as np

from ._class_weight import class_weights
from ._engine.data import as_tensor
from ._engine.matching import Embedding, MatchingObjective
from ._engine.runtime import chunk_size
from ._validation import StrOptions
from .augmentation import AUGMENTATIONS, Augmentation, check_augmentation
from .base import BaseDistiller
from .forecast import MATCHING

__all__ = ["DistributionMatchingDistiller"]


class DistributionMatchingDistiller(BaseDistiller):
    """Distil a data set by matching distributions in the eyes of random networks (DM).

    Learns ``ipc`` synthetic samples a class whose mean embedding is that of the class's real
    samples. Every outer step draws a freshly initialised network, embeds real and synthetic samples
    with all of it but the last linear layer, and moves the synthetic ones down the squared distance
    of the class means, summed over classes (Algorithm 1 of Zhao and Bilen, "Dataset Condensation
    with Distribution Matching", WACV 2023).

    No network is trained, so a step costs one pass over the real batch, whatever `ipc` is, and
    memory hardly grows with it: the method for many samples a class. For few, `RaTBPTTDistiller`
    makes better ones: one sample can match the mean of its class, and nothing else.

    Parameters
    ----------
    ipc : int, default=1
        Synthetic samples a class ("images per class").
    max_iter : int, default=200
        Outer steps. The paper: 20000.
    batch_size : int, default=256
        Real samples *of each class* in each outer step; a class that has fewer uses all. The
        default is the paper's.
    class_weight : dict, "balanced" or None, default=None
        What multiplies each class's term of the sum that is minimised: ``{label: weight}``, where a
        class that is not named has 1. None and "balanced" are the same here: classes count alike,
        however many samples they have.
    learning_rate : float or "auto", default="auto"
        Of the outer Adam, which this package shares among its distillers, with gradients clipped at
        twice their norm's moving average. "auto" is ``0.25 / sqrt(number of values in a sample)``:
        0.031 for 8 x 8 pixels; measured on digits, a third and an eighth of it do less well after
        200 steps. The paper has SGD with learning rate 1 and momentum 0.5; rates of SGD say nothing
        about Adam's.
    init : {"gaussian", "real", "kmeans"} or DistilledDataset, default="real"
        What the samples start from: Gaussian noise of norm 1, random real samples (the paper's),
        the centroids of k-means in every class (of standardised samples), or a set that was
        distilled before.
    parametrization : {"pixels"}, Pixels or LinearBasis, default="pixels"
        What is learned: the values of the samples, or bases that the samples are linear
        combinations of (section 4.2). See `skdistill.parametrization`.
    learn_labels : bool, default=False
        Whether labels are learned with the samples: one-hot to begin with, kept non-negative and
        not normalised (Appendix C.1 of the RaT-BPTT paper). Not in the paper of this method: a
        sample then counts in the mean of every class by its label there. `transform` returns a row
        of soft labels a sample.
    label_lr_scale : float, default=0.3
        What multiplies `learning_rate` for the labels, as in `RaTBPTTDistiller`. Only used with
        `learn_labels`.
    augmentation : {"dsa", "flip_rotate"}, Augmentation or None, default=None
        Differentiable augmentation of images, the same for all samples of a class in a step, real
        and synthetic ("siamese"), drawn anew for each class and step. `score` and `evaluate` train
        networks on augmented samples, each with numbers of its own. The paper: DSA's, "dsa". See
        `skdistill.augmentation`. None, for what leaves a sample in its class depends on the data: a
        mirrored digit is none, and a table has no sides to flip.
    architecture : {"auto", "convnet", "convnet_x4", "convnet_x8", "resnet18", "vgg11", \
"alexnet", "mlp"} or callable, default="auto"
        The networks: "auto" is "convnet" for images and "mlp" for tables; a callable is
        ``(input_shape, n_classes) -> torch.nn.Module`` and must end in a linear layer, whose input
        is what is matched. The paper: a ConvNet of width 128 and depth 3. See `skdistill.networks`.
    image_shape : tuple of int or None, default=None
        ``(channels, height, width)`` of the samples, needed if they are flat or if it is ambiguous.
    n_networks : int, default=10
        Networks over which `score` and `evaluate` average.
    eval_steps : int, default=300
        Steps of Adam, learning rate 0.001, that train each of them.
    validation_fraction : float or None, default=None
        Fraction of the training data to hold out. If given, the samples of every
        `validation_interval`-th outer step are evaluated on it (three networks, the same ones each
        time), and the best are the result. None: the last are.
    validation_interval : int, default=25
        Outer steps between two evaluations on the held-out part.
    n_iter_no_change : int or None, default=None
        Stop after this many outer steps without a better held-out accuracy. Needs
        `validation_fraction`.
    warm_start : bool, default=False
        Whether `fit` continues the last one: with a larger `max_iter`, which counts from the start,
        the result is the same, bit for bit on the CPU, as if it had not been interrupted.
    checkpoint : path or None, default=None
        File in which the run is kept, to go on from exactly; see `RaTBPTTDistiller`.
    checkpoint_every : int or float, default=60.0
        Outer steps (an int) or seconds (a float) between two writings of it.
    random_state : int, RandomState instance or None, default=None
        Determines the initial samples, the networks, batches and augmentations. The same int gives
        the same bits on the CPU. Global random states are neither read nor changed.
    device : str, default="auto"
        Where to compute: "auto" is a CUDA GPU if there is one, else the CPU.
    verbose : int, default=0
        1 prints about ten lines a run, 2 a line an outer step. For a progress bar, call
        ``set_callbacks(sklearn.callback.ProgressBar())``.

    Attributes
    ----------
    distilled_ : DistilledDataset
        The synthetic samples with the recipe to evaluate them.
    history_ : dict of str to list
        One value an outer step: "loss" (the summed squared distance), "grad_norm" (before
        clipping), "clip_level", "skipped", "seconds", and with `validation_fraction`
        "validation_accuracy". None stands for values that were not finite or not measured.
    n_iter_ : int
        Outer steps done.
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    device_ : str
        Where the run was computed.
    n_features_in_ : int
        Number of features, or of values in an image, of a sample.

    See Also
    --------
    RaTBPTTDistiller : Learns what trains a network well, not what looks alike to one.
    BoostedDistiller : Distils block by block around either, so that every prefix is a good set.

    Notes
    -----
    Samples are standardised inside (a channel or a feature) and come back in the units of `X`.
    ``fit(X, y, sample_weight=...)`` weighs the samples in the real means; classes count alike
    however many samples they have, unless `class_weight` says otherwise.

    A network that couples the samples of a batch, as batch normalisation does, embeds the real
    batch of all classes together, and the synthetic samples together.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdistill import DistributionMatchingDistiller
    >>> X, y = load_digits(return_X_y=True)
    >>> distiller = DistributionMatchingDistiller(
    ...     ipc=2, image_shape=(1, 8, 8), max_iter=2, random_state=0
    ... ).fit(X, y)
    >>> X_syn, y_syn = distiller.transform()
    >>> X_syn.shape, y_syn[:12].tolist()
    ((20, 64), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1])
    """

    _hints = MATCHING

    _parameter_constraints: dict = {
        **BaseDistiller._parameter_constraints,
        "augmentation": [StrOptions(set(AUGMENTATIONS)), Augmentation, None],
    }

    def __init__(
        self,
        ipc=1,
        *,
        max_iter=200,
        batch_size=256,
        class_weight=None,
        learning_rate="auto",
        init="real",
        parametrization="pixels",
        learn_labels=False,
        label_lr_scale=0.3,
        augmentation=None,
        architecture="auto",
        image_shape=None,
        n_networks=10,
        eval_steps=300,
        validation_fraction=None,
        validation_interval=25,
        n_iter_no_change=None,
        warm_start=False,
        checkpoint=None,
        checkpoint_every=60.0,
        random_state=None,
        device="auto",
        verbose=0,
    ):
        self.ipc = ipc
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.class_weight = class_weight
        self.learning_rate = learning_rate
        self.init = init
        self.parametrization = parametrization
        self.learn_labels = learn_labels
        self.label_lr_scale = label_lr_scale
        self.augmentation = augmentation
        self.architecture = architecture
        self.image_shape = image_shape
        self.n_networks = n_networks
        self.eval_steps = eval_steps
        self.validation_fraction = validation_fraction
        self.validation_interval = validation_interval
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def check_input(self, X, y, *, sample_weight=None):
        """Check parameters and data as `fit` does before any work; see `BaseDistiller`."""
        checked = super().check_input(X, y, sample_weight=sample_weight)
        check_augmentation(self.augmentation, checked[-1].inner)
        return checked

    def _weigh_classes(self, weight, y, classes):
        # Each class's mean is over its own samples: it is the classes' distances that are weighed.
        return weight

    def _make_objective(self, data, learner, streams):
        shape = data.layout.inner
        labels = data.real.y.cpu().numpy()
        # What depends on its whole batch, as batch normalisation does, cannot be taken in chunks.
        chunk = None if learner.couples_samples(shape) else chunk_size(learner, shape)
        return MatchingObjective(
            embed=Embedding(learner, shape),
            data=data.real,
            rows=[np.flatnonzero(labels == c) for c in range(len(data.classes))],
            batch_size=self.batch_size,
            chunk=chunk,
            streams=streams,
            augmentation=check_augmentation(self.augmentation),
            class_weight=self._term_weights(data.classes, learner),
        )

    def _term_weights(self, classes, learner):
        """Return what multiplies each class's distance, ``(n_classes, 1)``; None if all count 1."""
        if not isinstance(self.class_weight, dict):
            return None
        weights = class_weights(self.class_weight, classes, y=None, sample_weight=None)
        return as_tensor(weights[:, None]).to(device=learner.device, dtype=learner.dtype)
