"""Half precision where it is requested, and nowhere else; and what only a GPU does."""

from functools import partial

import numpy as np
import pytest
import tools
import torch
from sklearn.datasets import load_digits
from torch import nn

from skdistill._engine.learner import Learner
from skdistill._engine.optimizers import SGD, Adam
from skdistill._engine.recorded import recorded
from skdistill._engine.steps import CompiledSteps, Steps
from skdistill._engine.unroll import InnerLoop, meta_gradient
from skdistill.networks import ConvNet

quick = partial(tools.quick, max_iter=2, batch_size=32, image_shape=(1, 8, 8))
FACTORY = partial(ConvNet, (1, 8, 8), 3, width=4)


def dtypes(learner):
    """Return those of the convolutions' results, and that of the scores."""
    seen = []
    for layer in learner.module.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda layer, args, output: seen.append(output.dtype))
    scores = learner.logits(learner.init(0), torch.zeros(2, 1, 8, 8))
    return set(seen), scores.dtype


def test_convolutions_are_in_half_precision_and_scores_are_not():
    half = Learner(FACTORY, autocast=torch.bfloat16)
    assert dtypes(half) == ({torch.bfloat16}, torch.float32)
    assert dtypes(Learner(FACTORY)) == ({torch.float32}, torch.float32)
    assert half.init(0).dtype == torch.float32


def test_the_meta_gradient_is_about_the_same():
    generator = torch.Generator().manual_seed(0)
    X, y = torch.randn(6, 1, 8, 8, generator=generator), torch.arange(3).repeat(2)
    vector = torch.randn(Learner(FACTORY).n_parameters, generator=generator)

    def of(autocast):
        learner = Learner(FACTORY, autocast=autocast)
        loop = InnerLoop(Steps(learner, SGD(lr=0.1)), X, y)
        return meta_gradient(loop, learner.init(0), 1, 2, lambda theta: (theta.sum(), vector)).X

    single, half = of(None), of(torch.bfloat16)
    error = ((half - single).norm() / single.norm()).item()
    assert 1e-4 < error < 0.3  # another precision, the same direction


def test_the_default_is_single_precision():
    X, y = load_digits(return_X_y=True)

    def samples(**parameters):
        return quick(**parameters).fit(X, y).transform()[0]

    plain, half = samples(), samples(precision="bfloat16")
    np.testing.assert_array_equal(samples(precision="float32"), plain)
    assert np.isfinite(half).all()
    assert not np.array_equal(half, plain)


def test_unknown_precision():
    X, y = load_digits(return_X_y=True)
    with pytest.raises(ValueError, match="precision"):
        quick(precision="float16").fit(X, y)


def test_numbers_of_each_step_are_tabulated_exactly(learner):
    steps, optimizer = CompiledSteps(learner, Adam()), Adam()
    state = optimizer.init(learner.init(0))
    for t in (1, 2, 300, 299, 5000):
        assert [float(x) for x in steps._scalars(state, t)] == list(optimizer.scalars(t))


def both(x, y):
    return x @ y, (x + 1).relu()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
def test_recorded_functions_are_the_functions():
    draw = partial(torch.randn, device="cuda")
    function = recorded(both)
    for _ in range(3):  # torch records in the second call
        function(draw(4, 4), draw(4, 4))
    first = draw(4, 4), draw(4, 4)
    kept = function(*first)
    function(draw(4, 4), draw(4, 4))
    for got, expected in zip(kept, both(*first)):  # a later call leaves it alone
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("function", [torch.mul, both])
def test_a_recorded_function_gives_away_copies(function, monkeypatch):
    """torch's CUDA graphs write the results of a call where those of the one before are."""
    memory, n_begun, n_calls = [], [], []

    def compile_as_on_a_gpu(function, mode, **options):
        assert mode == "reduce-overhead"

        def replay(*tensors):
            n_calls.append(1)
            assert len(n_begun) == len(n_calls)
            outputs = function(*tensors)
            alone = isinstance(outputs, torch.Tensor)
            outputs = (outputs,) if alone else outputs
            memory[:] = memory or [torch.empty_like(x) for x in outputs]
            for place, output in zip(memory, outputs):
                place.copy_(output)
            return memory[0] if alone else tuple(memory)

        return replay

    monkeypatch.setattr(torch, "compile", compile_as_on_a_gpu)
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: n_begun.append(1))
    replayed = recorded(function)
    first, second = torch.rand(2, 3, 3)
    kept = replayed(first, second)
    replayed(second, first + 1)
    torch.testing.assert_close(kept, function(first, second))
