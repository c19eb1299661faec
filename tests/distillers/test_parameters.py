"""A distiller cannot lack parameters that its base class reads."""

import ast
import inspect
from dataclasses import fields
from functools import partial
from numbers import Integral
from typing import ClassVar, Literal, get_args, get_origin

import numpy as np
import pytest
import tools
from sklearn.base import clone

from skdistill import (
    BoostedDistiller,
    FRePoDistiller,
    GradientMatchingDistiller,
    RaTBPTTDistiller,
    all_distillers,
)
from skdistill.distillers import (
    BaseDistiller,
    Gradient,
    Interval,
    Method,
    StrOptions,
    base,
    param,
)
from skdistill.distillers._parameters import may_change
from skdistill.distillers._shared_parameters import SharedParameters
from skdistill.hardness import HardnessSampler
from skdistill.parametrization import LinearBasis
from skdistill.windows import MovingWindow, StageAwareWindow

X = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
Y = np.repeat([0, 1], 6)


class Shrinking(Method):
    """Pulls samples to 0, until a step fails."""

    def __init__(self, error=None, at=0):
        self.error, self.at = error, at

    def gradient(self, problem, synthetic, state, step):
        if self.error is not None and step == self.at:
            raise self.error
        return Gradient(synthetic.X.square().sum(), 2 * synthetic.X), state


class Shrink(BaseDistiller):
    """The shortest distiller: nothing but a method."""

    method = Shrinking()

    def _make_method(self, problem):
        return self.method


SMALL = {"max_iter": 3, "n_networks": 1, "eval_steps": 2, "random_state": 0}


def test_the_shortest_distiller_has_all_that_the_base_reads():
    names = {f.name for f in fields(Shrink)}
    assert names == {f.name for f in fields(SharedParameters)}
    read = {
        node.attr
        for node in ast.walk(ast.parse(inspect.getsource(base)))
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", None) == "self"
    }
    assert len(read & names) > 10
    assert {name for name in read if not hasattr(Shrink(), name)} <= {
        *("_run", "classes_", "device_", "n_features_in_", "n_iter_", "history_", "extra_"),
        *("distilled_", "_origin", "_split_seed"),
    }
    fitted = Shrink(**SMALL).fit(X, Y)
    assert fitted.n_iter_ == 3
    assert 0 <= fitted.score(X, Y) <= 1


@pytest.mark.parametrize("kind", [RuntimeError, MemoryError, KeyboardInterrupt])
def test_the_error_of_a_step_is_the_one_that_is_seen(kind):
    error = kind("first")
    distiller = Shrink(**SMALL)
    distiller.method = Shrinking(error, at=2)
    with pytest.raises(kind) as caught:
        distiller.fit(X, Y)
    assert caught.value is error
    assert distiller.n_iter_ == 2
    assert distiller.transform()[0].shape == (2, 3)


def init_of_its_own():
    class Bad(Shrink):
        def __init__(self, ipc=1):
            self.ipc = ipc


def hidden_from_the_signature():
    class Bad(Shrink):
        augmentation: ClassVar[str]


def without_its_type():
    class Bad(Shrink):
        augmentation = None


def without_param():
    class Bad(Shrink):
        augmentation: str = "dsa"


def a_new_one_without_param():
    class Bad(Shrink):
        decay: float = 0.5


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (init_of_its_own, "__init__"),
        (hidden_from_the_signature, "augmentation"),
        (without_its_type, "augmentation"),
        (without_param, "augmentation"),
        (a_new_one_without_param, "decay"),
    ],
)
def test_a_distiller_whose_parameters_would_not_hold_cannot_be_written(write, name):
    with pytest.raises(TypeError, match=f"Bad must declare its parameters as fields .*{name}"):
        write()


def test_a_parameter_may_be_declared_again_with_another_default():
    class Other(Shrink):
        ipc: int = param(
            default=2,
            constraints=[Interval(Integral, 1, None, closed="left")],
            kind="int",
            doc="More.",
            kw_only=False,
        )

    assert (Shrink().ipc, Other().ipc, Other(3).ipc) == (1, 2, 3)


def test_what_a_parameter_leaves_out_is_the_parents():
    class Several(Shrink):
        """Many.

        Parameters
        ----------
        {parameters}
        """

        ipc: int = param(default=2, doc="Some.")
        max_iter: int = param(default=7, doc="Fewer.")

    assert (Several().ipc, Several(3).ipc, Several().max_iter) == (2, 3, 7)
    assert "max_iter" in may_change(Several())
    assert "ipc : int, default=2\n    Some." in inspect.cleandoc(Several.__doc__)
    with pytest.raises(ValueError, match="The 'max_iter' parameter of Several must be an int"):
        Several(max_iter=0).fit(X, Y)


def test_a_new_parameter_can_leave_nothing_out():
    with pytest.raises(TypeError, match=r"Bad must declare its parameters as fields .*decay"):

        class Bad(Shrink):
            decay: float = param(default=0.5, doc="By how much.")


@pytest.mark.parametrize("kind", [kind for _, kind in all_distillers()])
def test_types_name_the_words_that_constraints_allow(kind):
    in_types, in_constraints = {}, {}
    for f in fields(kind):
        words = set(get_args(f.type)) if get_origin(f.type) is Literal else set()
        words |= {w for t in get_args(f.type) if get_origin(t) is Literal for w in get_args(t)}
        in_types[f.name] = words
        options = [c for c in f.metadata["constraints"] if isinstance(c, StrOptions)]
        in_constraints[f.name] = set().union(*(c.options for c in options))
    assert in_types == in_constraints
    assert in_types["init"] == {"gaussian", "real", "kmeans"}


def test_a_method_must_give_the_labels_derivative_if_labels_are_learned():
    with pytest.raises(ValueError, match="learn_labels must be False for a method whose Gradient"):
        Shrink(**SMALL, learn_labels=True).fit(X, Y)


# --- numbers that are not Python's ------------------------------------------------------------

INT, QUICK = np.int64, partial(tools.quick, architecture=tools.tiny)
SAMPLER = HardnessSampler(n_networks=INT(2), steps=INT(3))
OF_NUMPY = {
    "bptt": (RaTBPTTDistiller, {"ipc": INT(2), "window": INT(2), "learning_rate": np.float32(0.1)}),
    "smoothing": (RaTBPTTDistiller, {"schedule": MovingWindow(smoothing=np.float32(0.5))}),
    "radius": (RaTBPTTDistiller, {"schedule": StageAwareWindow(radius=INT(1))}),
    "sampler": (RaTBPTTDistiller, {"sampler": SAMPLER}),
    "bases": (RaTBPTTDistiller, {"ipc": 2, "parametrization": LinearBasis(n_basis=INT(1))}),
    "pool": (
        FRePoDistiller,
        {"ipc": 2, "pool_size": INT(2), "pool_max_age": INT(3), "pool_batch_size": INT(3)},
    ),
    "networks": (
        GradientMatchingDistiller,
        {"ipc": 2, "outer_loop": INT(2), "inner_loop": INT(2), "network_batch_size": INT(3)},
    ),
}


@pytest.mark.filterwarnings("error::skdistill.exceptions.CheckpointWarning")
@pytest.mark.parametrize(("kind", "parameters"), OF_NUMPY.values(), ids=OF_NUMPY)
def test_numbers_of_numpy_are_as_good_as_pythons(tmp_path, kind, parameters):
    distiller = QUICK(kind, **parameters, checkpoint=tmp_path / "run", checkpoint_every=INT(1))
    before = distiller.get_params()
    fitted = distiller.fit(X, Y)
    fitted.distilled_.save(tmp_path / "set.npz")
    # What was given is left alone, as scikit-learn's clone demands.
    assert all(value is fitted.get_params()[name] for name, value in before.items())
    assert clone(fitted).fit(X, Y).n_iter_ == fitted.n_iter_
    python = {k: v.item() if isinstance(v, np.generic) else v for k, v in parameters.items()}
    expected = QUICK(kind, **python).fit(X, Y)
    np.testing.assert_array_equal(fitted.transform()[0], expected.transform()[0])


def test_boosting_takes_numbers_of_numpy(tmp_path):
    boosted = BoostedDistiller(INT(2), block_size=INT(1), beta=np.float32(0.5), distiller=QUICK())
    boosted.set_params(checkpoint=tmp_path / "runs").fit(X, Y)
    boosted.distilled_.save(tmp_path / "set.npz")
    assert [type(budget) for budget in boosted.budgets_] == [int, int]


@pytest.mark.parametrize("dtype", [">f4", ">i4", np.longdouble])
def test_samples_of_any_form_of_numbers_can_be_saved(tmp_path, dtype):
    given = (10 * X).astype(dtype)
    distilled = QUICK().fit(given, Y).distilled_
    distilled.save(tmp_path / "set.npz")
    assert distilled.original_dtypes == (("int32",) * 3 if dtype == ">i4" else None)
