"""The memory that an outer step takes, counted before it runs."""

from dataclasses import dataclass

from .learner import Learner
from .steps import n_chunks

# Measured with ConvNets on 28 to 64 pixels, 10 to 40 samples: an adjoint's peak is 1.8 to 2.0 times
# the outputs of the layers, a gradient's 0.85 to 0.92 times.
_ADJOINT, _GRADIENT = 2.0, 0.92
# The same for the C functions of a CPU, on 28 pixels, 4 to 40 samples: they do not keep what the
# first convolution makes. Beside the samples, transformed kernels: so many times the parameters.
_FUSED_ADJOINT, _FUSED_GRADIENT = 1.0, 0.52
_KERNELS_ADJOINT, _KERNELS_GRADIENT = 13, 10
# Measured in the same way, at 20 to 64 samples: the graphs of a linearized network, and those and
# what the derivative of a term with its scores takes beside them, 8.7 to 9.5 times.
_LINEARIZED, _LINEARIZED_ADJOINT = 3.5, 9.0
# States besides those that are kept: one before the window, its sensitivity, a step's own.
_OTHER_STATES = 6
# Of the size of the parameters where gradients are matched: those of the real and the synthetic
# samples, of their distance, and of a chunk.
_GRADIENTS = 4
# Measured on 100 to 2000 synthetic samples of 3 x 32 x 32 pixels, one and three hidden layers, to a
# quarter: matrices of a kernel that autograd keeps, and more for each hidden layer; copies of the
# synthetic samples; bytes of a real sample's value, which comes in single precision.
_KERNEL, _KERNEL_LAYER, _KERNEL_SAMPLES, _KERNEL_REAL = 2, 18, 8, 24


@dataclass(frozen=True)
class PeakMemory:
    """Bytes at the peak of an outer step, by what they grow with.

    Parameters
    ----------
    states : int
        The window's states: parameters and the optimizer's moments, times `window`.
    activations : int
        The layers' outputs for the synthetic samples, in the adjoint of a step.
    real : int
        The layers' outputs for a chunk of the real batch.
    data : int
        The training set, if it is on the device.
    """

    states: int
    activations: int
    real: int
    data: int

    @property
    def total(self) -> int:
        """Bytes at the peak; synthetic and real samples are not in the network at once."""
        return self.states + max(self.activations, self.real) + self.data


def unrolled_peak(
    learner: Learner,
    n_slots: int,
    sample_shape: tuple[int, ...],
    n_synthetic: int,
    n_real: int,
    window: int,
    synthetic_chunk: int | None,
    chunk: int | None,
    data_bytes: int,
    is_fused: bool,
    adjoint_bytes: int | None = None,
) -> PeakMemory:
    """Return the peak of an outer step of `Unrolled`.

    Parameters
    ----------
    learner : Learner
    n_slots : int
        Tensors in a state of the inner optimizer.
    sample_shape : tuple of int
    n_synthetic, n_real : int
        Samples of an inner step, and of the real batch.
    window : int
    synthetic_chunk, chunk : int or None
        Most synthetic and real samples that go through the network at once.
    data_bytes : int
        Bytes of the training set.
    is_fused : bool
        Whether the steps are those of the C functions.
    adjoint_bytes : int or None, default=None
        What the adjoint of a step takes, if that is known.
    """
    parameters = learner.n_parameters * learner.dtype.itemsize
    sample = learner.activation_bytes(sample_shape)
    adjoint, gradient = (_FUSED_ADJOINT, _FUSED_GRADIENT) if is_fused else (_ADJOINT, _GRADIENT)
    activations = adjoint * _most(n_synthetic, synthetic_chunk) * sample
    real = gradient * _most(n_real, chunk) * sample
    if is_fused:
        activations += _KERNELS_ADJOINT * parameters
        real += _KERNELS_GRADIENT * parameters
    return PeakMemory(
        states=(window + _OTHER_STATES) * n_slots * parameters,
        activations=int(activations) if adjoint_bytes is None else adjoint_bytes,
        real=int(real),
        data=data_bytes,
    )


def matching_peak(
    learner: Learner,
    sample_shape: tuple[int, ...],
    n_synthetic: int,
    n_real: int,
    chunk: int | None,
    data_bytes: int,
) -> PeakMemory:
    """Return the peak of a step of `DistributionMatching`; parameters as in `unrolled_peak`."""
    sample = learner.activation_bytes(sample_shape)
    return PeakMemory(
        states=learner.n_parameters * learner.dtype.itemsize,
        activations=int(_GRADIENT * _most(n_synthetic, chunk) * sample),
        # Without gradients, a layer's output is freed once the next layer but one is computed.
        real=int(_GRADIENT * _most(n_real, chunk) * sample),
        data=data_bytes,
    )


def gradients_peak(
    learner: Learner,
    states: int,
    sample_shape: tuple[int, ...],
    n_synthetic: int,
    n_batch: int,
    n_real: int,
    synthetic_chunk: int | None,
    chunk: int | None,
    data_bytes: int,
) -> PeakMemory:
    """Return the peak of an outer step of `GradientMatching`.

    Parameters
    ----------
    learner : Learner
    states : int
        Bytes of the network and of what trains it.
    sample_shape : tuple of int
    n_synthetic, n_batch, n_real : int
        Synthetic samples of a class, samples of a step that trains the network, and real samples
        of a class.
    synthetic_chunk, chunk : int or None
        Most synthetic and real samples that go through the network at once.
    data_bytes : int
        Bytes of the training set.
    """
    sample = learner.activation_bytes(sample_shape)
    matched = _ADJOINT * _most(n_synthetic, synthetic_chunk)
    trained = _GRADIENT * _most(n_batch, synthetic_chunk)
    return PeakMemory(
        states=states + _GRADIENTS * learner.n_parameters * learner.dtype.itemsize,
        activations=int(max(matched, trained) * sample),
        real=int(_GRADIENT * _most(n_real, chunk) * sample),
        data=data_bytes,
    )


def kernel_peak(
    n_features: int, n_synthetic: int, n_rows: int, n_layers: int, data_bytes: int
) -> PeakMemory:
    """Return the peak of a step of `KernelRidge`, which computes in double precision.

    Parameters
    ----------
    n_features : int
        Values of a sample.
    n_synthetic : int
        Synthetic samples.
    n_rows : int
        Real samples in a block of their kernel with the synthetic ones.
    n_layers : int
        Hidden layers of the networks that the kernel stands for.
    data_bytes : int
        Bytes of the training set.
    """
    per_value = 8 * (_KERNEL + _KERNEL_LAYER * n_layers)
    return PeakMemory(
        states=per_value * n_synthetic**2,
        activations=8 * _KERNEL_SAMPLES * n_synthetic * n_features,
        real=per_value * n_rows * n_synthetic + _KERNEL_REAL * n_rows * n_features,
        data=data_bytes,
    )


def features_peak(
    learner: Learner,
    states: int,
    n_features: int,
    sample_shape: tuple[int, ...],
    n_support: int,
    n_real: int,
    chunk: int | None,
    data_bytes: int,
) -> PeakMemory:
    """Return the peak of a step of a regression on features of networks.

    Parameters
    ----------
    learner : Learner
    states : int
        Bytes of the networks.
    n_features : int
        Values of a sample that the regression sees.
    sample_shape : tuple of int
    n_support, n_real : int
        Synthetic samples, mirrored ones included, and samples of the real batch.
    chunk : int or None
        Most samples that go through the network at once.
    data_bytes : int
        Bytes of the training set.
    """
    sample = learner.activation_bytes(sample_shape)
    # Features are kept in the precision of the networks and in double precision.
    features = n_features * (learner.dtype.itemsize + 8)
    return PeakMemory(
        states=states,
        activations=int(_GRADIENT * _most(n_support, chunk) * sample) + n_support * features,
        real=int(_GRADIENT * _most(n_real, chunk) * sample) + n_real * features,
        data=data_bytes,
    )


def linearized_peak(
    learner: Learner,
    states: int,
    n_features: int,
    sample_shape: tuple[int, ...],
    n_support: int,
    n_real: int,
    chunk: int | None,
    data_bytes: int,
) -> PeakMemory:
    """Return the peak of a step of `ImplicitGradient`; parameters as in `features_peak`.

    The graphs of the synthetic samples are kept while real ones are in the network.
    """
    sample = learner.activation_bytes(sample_shape)
    features = (n_support + n_real) * n_features * (learner.dtype.itemsize + 8)
    n_support, n_real = _most(n_support, chunk), _most(n_real, chunk)
    return PeakMemory(
        states=states,
        activations=int(_LINEARIZED_ADJOINT * n_support * sample) + features,
        real=int(_LINEARIZED * (n_support + n_real) * sample) + features,
        data=data_bytes,
    )


def _most(n: int, chunk: int | None) -> int:
    """Return the number of samples in the largest chunk."""
    return -(-n // n_chunks(n, chunk))
