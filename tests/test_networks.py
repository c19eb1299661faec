"""Networks: shapes, the depths of [Feng23], and the learner as a function of parameters."""

import json
import pickle
import random
import subprocess
import sys
from functools import partial
from threading import Thread

import numpy as np
import pytest
import tools
import torch
import torch.nn.functional as F
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from skdistill import DistributionMatchingDistiller
from skdistill._engine.learner import Learner
from skdistill._engine.optimizers import SGD, Adam
from skdistill._engine.steps import Steps
from skdistill._engine.unroll import InnerLoop, meta_gradient
from skdistill.distilled import DistilledDataset
from skdistill.evaluation import evaluate
from skdistill.evaluation._plain_architecture import from_plain, to_plain
from skdistill.networks import ARCHITECTURES, MLP, VGG11, ConvNet, network_factory, resnet18

OPTIONS = [
    {"norm": "batch"},
    {"norm": "layer"},
    {"norm": "group"},
    {"norm": "none"},
    {"pooling": "max"},
    {"pooling": "none"},
    {"activation": "leaky_relu"},
    {"activation": "sigmoid"},
    {"activation": "swish"},
]
# "convnet" and "mlp" have tests of their own.
TRANSFER = ["convnet_x4", "convnet_x8", "resnet18", "vgg11", "alexnet"]


def layers(network, kind):
    return [module for module in network.modules() if isinstance(module, kind)]


def n_parameters(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("side", "depth", "width"),
    [(4, 1, 64), (8, 2, 64), (28, 3, 128), (32, 3, 128), (64, 4, 128), (128, 5, 128)],
)
def test_convnet_depth_follows_the_image(side, depth, width):
    network = ConvNet((3, side, side), 7)
    convolutions = [m for m in network if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == depth
    assert {m.out_channels for m in convolutions} == {width}
    assert network(torch.zeros(2, 3, side, side)).shape == (2, 7)


def test_instance_normalization_makes_the_convnet_blind_to_scale():
    network = ConvNet((1, 8, 8), 3)
    X = torch.rand(4, 1, 8, 8)
    torch.testing.assert_close(network(5 * X), network(X), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(("shape", "kind"), [((7,), MLP), ((1, 8, 8), ConvNet), ((1, 2, 9), MLP)])
def test_auto(shape, kind):
    assert isinstance(network_factory("auto", shape, 3)(), kind)


def test_too_small_images_name_the_way_out():
    with pytest.raises(
        ValueError, match=r"at least 4 pixels per side; got 3 x 9.*architecture='mlp'"
    ):
        ConvNet((1, 3, 9), 2, depth=2)


def test_a_table_has_no_convnet():
    with pytest.raises(ValueError, match="architecture='convnet' must be given images"):
        network_factory("convnet", (7,), 3)


def test_blocks_that_double_after_a_stem_with_wide_padding():
    network = ConvNet(
        (1, 28, 28), 3, width=4, norm="none", doubling=True, stem=True, padding=3, depth=3
    )
    channels = [(m.in_channels, m.out_channels) for m in layers(network, nn.Conv2d)]
    assert channels == [(1, 4), (4, 4), (4, 8), (8, 16)]
    # 28 + 2 * (3 - 1) = 32 pixels, halved three times.
    assert network[-1].in_features == 16 * 4 * 4
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "variance", "bias"), [("lecun", 1, 0), ("he", 2, 0.1), ("torch", 1 / 3, None)]
)
@pytest.mark.parametrize("kind", ["convnet", "mlp"])
def test_initializations(name, variance, bias, kind):
    torch.manual_seed(0)
    if kind == "convnet":
        network = ConvNet((16, 8, 8), 10, width=64, norm="none", initialization=name)
    else:
        network = MLP((64,), 10, width=256, norm="none", initialization=name)
    for layer in layers(network, nn.Conv2d | nn.Linear):
        fan_in = layer.weight[0].numel()
        assert float(layer.weight.detach().var()) * fan_in == pytest.approx(variance, rel=0.1)
        if name == "lecun":
            # Cut off at two deviations of the normal distribution before it is cut off.
            assert float(layer.weight.detach().abs().max()) < 2 * fan_in**-0.5 / 0.879
        if bias is not None:
            assert float(layer.bias.detach().std()) == pytest.approx(bias, rel=0.7)


def test_a_perceptron_without_normalization():
    assert layers(MLP((5,), 2), nn.LayerNorm)
    assert not layers(MLP((5,), 2, norm="none"), nn.LayerNorm)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (ConvNet, {"initialization": "glorot"}, "initialization must be one of 'torch', 'lecun'"),
        (MLP, {"initialization": "glorot"}, "initialization must be one of 'torch', 'lecun'"),
        (MLP, {"norm": "instance"}, "norm must be one of 'layer', 'none'; got 'instance'"),
        (ConvNet, {"padding": -1}, "padding must be an integer of at least 0; got -1"),
        (ConvNet, {"width": 0}, "width must be an integer of at least 1; got 0"),
        (ConvNet, {"width": -1}, "width must be an integer of at least 1; got -1"),
        (ConvNet, {"width": 2.5}, r"width must be an integer of at least 1; got 2\.5"),
        (ConvNet, {"depth": 1.0}, r"depth must be an integer of at least 1; got 1\.0"),
        (MLP, {"width": 0}, "width must be an integer of at least 1; got 0"),
        (MLP, {"depth": -1}, "depth must be an integer of at least 0; got -1"),
        (ConvNet, {"padding": 0, "depth": 3}, "needs images of at least 10 .*; got 8 x 8"),
    ],
)
def test_bad_initializations_norms_and_paddings(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind((1, 8, 8), 3, **options)


def test_widths_may_be_numpys_and_a_perceptron_may_be_linear():
    assert ConvNet((1, 8, 8), 3, width=np.int64(4))[0].out_channels == 4
    assert len(layers(MLP((5,), 2, depth=0), nn.Linear)) == 1


# What a recipe keeps of a network -----------------------------------------------------------------

PLAIN = {
    "mlp": "mlp",
    ConvNet: "convnet",
    partial(ConvNet): {"class": "ConvNet"},
    partial(ConvNet, width=8, norm="none", doubling=True): {
        "class": "ConvNet", "width": 8, "norm": "none", "doubling": True
    },
    partial(MLP, width=8, depth=1): {"class": "MLP", "width": 8, "depth": 1},
}  # fmt: skip


@pytest.mark.parametrize(("architecture", "plain"), PLAIN.items(), ids=range(len(PLAIN)))
def test_networks_of_the_package_have_a_plain_form(architecture, plain):
    assert to_plain(architecture) == json.loads(json.dumps(plain)) == plain
    shape = (1, 8, 8)
    built = network_factory(from_plain(plain), shape, 3)()
    expected = network_factory(architecture, shape, 3)()
    assert str(built) == str(expected)


@pytest.mark.parametrize(
    "architecture",
    [
        lambda shape, n_classes: ConvNet(shape, n_classes),
        partial(ConvNet, width=np.int64(8)),
        partial(ConvNet, (1, 8, 8)),
        partial(resnet18),
    ],
    ids=range(4),
)
def test_other_networks_have_none(architecture):
    assert to_plain(architecture) is None


@pytest.mark.parametrize(
    "plain",
    [
        {"class": "Sequential"},
        {"class": ["ConvNet"]},
        {"class": "ConvNet", "width": 10**9},
        {"class": "ConvNet", "width": "8"},
        {"class": "ConvNet", "n_classes": 5},
        {"class": "MLP", "doubling": True},
        {"width": 8},
    ],
    ids=str,
)
def test_a_file_can_name_no_other_network(plain):
    with pytest.raises(ValueError, match="architecture cannot be restored from"):
        from_plain(plain)


def test_a_set_keeps_the_options_of_its_networks(tmp_path):
    X, y = np.random.default_rng(0).normal(size=(20, 6, 6)), np.arange(20) % 2
    distiller = tools.quick(architecture=partial(ConvNet, width=4, norm="none")).fit(X, y)
    distiller.distilled_.save(tmp_path / "set.npz")
    loaded = DistilledDataset.load(tmp_path / "set.npz")
    assert loaded.recipe.architecture == {"class": "ConvNet", "width": 4, "norm": "none"}
    assert evaluate(loaded, X, y).mean == distiller.score(X, y)
    assert "fresh networks (ConvNet(width=4, norm='none'))" in loaded._repr_html_().replace(
        "&#x27;", "'"
    )


def test_what_builds_a_network_may_build_others_first():
    def factory():
        width = Learner(partial(nn.Linear, 3, 2)).n_parameters
        return nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, 2))

    found = []
    # In a thread that does not outlive the test, if it waits for itself.
    thread = Thread(target=lambda: found.append(Learner(factory).init(0)), daemon=True)
    thread.start()
    thread.join(30)
    alone = Learner(lambda: nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)))
    assert torch.equal(found[0], alone.init(0))


def test_learner_equals_the_module():
    learner = Learner(network_factory("convnet", (1, 8, 8), 3))
    theta = learner.init(11)
    module = ConvNet((1, 8, 8), 3)
    module.load_state_dict(learner.parameters(theta))
    X = torch.randn(5, 1, 8, 8)
    torch.testing.assert_close(learner.logits(theta, X), module(X))


def test_initializations_are_repeatable_and_differ():
    learner = Learner(network_factory("mlp", (7,), 3))
    before = torch.get_rng_state()
    assert torch.equal(learner.init(1), learner.init(1))
    assert not torch.equal(learner.init(1), learner.init(2))
    assert torch.equal(before, torch.get_rng_state())


def with_weight(change):
    layer = nn.Linear(3, 3)
    layer.weight = nn.Parameter(change(layer.weight.detach()))
    return layer


def with_hook(register):
    layer = nn.Linear(3, 3)
    getattr(layer.weight, register)(lambda grad: None)
    return layer


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (lambda: nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), "must not keep running stat"),
        (lambda: nn.Flatten(), "must have trainable parameters"),
        (
            lambda: nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.2)),
            r"must have no dropout; layer '1' \(Dropout\(p=0.2.*Leave it out, or build it with p=0",
        ),
        (lambda: nn.LazyLinear(3), "must give its layers their sizes"),
        (
            lambda: with_weight(lambda weight: torch.complex(weight, weight)),
            r"real parameters; .* 'weight' of torch.complex64.*\(\.\.\., 2\).*view_as_complex",
        ),
        (lambda: nn.Linear(3, 3, device="meta"), "must build its layers with values; .* 'weight'"),
        (lambda: with_hook("register_hook"), "no hooks on parameters; .* 'weight'.* in forward"),
        (lambda: with_hook("register_post_accumulate_grad_hook"), "no hooks on parameters"),
    ],
)
def test_modules_that_are_not_pure_functions(factory, message):
    with pytest.raises(ValueError, match=message):
        Learner(factory)


def test_dropout_that_drops_nothing_is_taken():
    learner = Learner(lambda: nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.0)))
    assert learner.n_parameters == 12


# Networks of a user
# ---------------------------------------------------------------------------------


class Own(nn.Module):
    """A linear network; the tests change one of its steps."""

    def __init__(self, shape, n_classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(36, n_classes))

    def forward(self, X):
        return self.changed(self.layers(X))

    def changed(self, scores):
        return scores


class Dropping(Own):
    def changed(self, scores):
        return F.dropout(scores)


class Undecided(Own):
    """Its random numbers are the same for a long time, so its scores do not reveal them."""

    def changed(self, scores):
        return scores if random.random() < 2 else -scores


class Noisy(Own):
    """It has a generator of its own."""

    def __init__(self, *args):
        super().__init__(*args)
        self.generator = torch.Generator()

    def changed(self, scores):
        return scores + torch.rand(scores.shape, generator=self.generator)


class Remembering(Own):
    n_calls = 0

    def changed(self, scores):
        self.n_calls += 1
        return scores + self.n_calls


class Double(Own):
    def changed(self, scores):
        return scores.double()


class TwoHeads(Own):
    def changed(self, scores):
        return scores, scores


class Own3(Own):
    def __init__(self, channels, side, n_classes):
        super().__init__((channels, side, side), n_classes)


BAD_NETWORKS = {
    Dropping: "must not draw random numbers; .* torch's global random state",
    Undecided: "must not draw random numbers; .* Python's global random state",
    Noisy: "gave other scores when it saw the same batch again",
    Remembering: "gave other scores when it saw the same batch again",
    Double: "scores are torch.float32 if its samples are; the one built gave torch.float64",
    TwoHeads: "returns one tensor, scores of shape .*; the one built returned tuple",
    Own3: r"callable \(input_shape, n_classes\) .*; Own3 takes \(channels, side, n_classes\).*Wrap",
    nn.Linear: r"callable \(input_shape, n_classes\) .*; Linear\(\(1, 6, 6\), 2\) failed",
    nn.Sequential(nn.Flatten(), nn.Linear(36, 2)): r"got a Module \(Sequential\). Pass a function",
    dict.fromkeys: r"fromkeys\(\(1, 6, 6\), 2\) returned dict",
}


@pytest.fixture(params=BAD_NETWORKS.items(), ids=[f"network {k}" for k in range(len(BAD_NETWORKS))])
def bad_network(request):
    """Return an architecture that cannot be trained, and the expected message."""
    return request.param


quick = partial(tools.quick, architecture="mlp", max_iter=1, window=1, unroll=1, eval_steps=2)


def global_states():
    numpys = np.random.get_state()[1].tolist()  # noqa: NPY002
    return torch.get_rng_state().tolist(), random.getstate(), numpys


def test_a_network_that_cannot_be_trained_is_refused_before_any_work(
    bad_network, monkeypatch, images
):
    # Hashing a large training set is work.
    monkeypatch.setattr(
        "skdistill._data.training.describe", lambda *args: pytest.fail("work was started")
    )
    architecture, message = bad_network
    before = global_states()
    with pytest.raises(ValueError, match=message):
        quick(architecture=architecture).fit(*images)
    assert global_states() == before


def test_a_network_that_cannot_be_trained_is_refused_in_an_evaluation(bad_network, images):
    architecture, message = bad_network
    distilled = quick().fit(*images).distilled_
    with pytest.raises(ValueError, match=message):
        evaluate(distilled, *images, architecture=architecture)


class Projected(nn.Sequential):
    """A network that keeps a random projection in a buffer."""

    def __init__(self, shape, n_classes):
        super().__init__(nn.Flatten(), nn.Linear(36, n_classes))
        self.register_buffer("projection", torch.randn(36, 36))

    def forward(self, X):
        """Return the scores."""
        return self[1](self[0](X) @ self.projection)


class Remembering(Own):
    """A network with buffers that are the same for all, or are filled as it is used."""

    def __init__(self, shape, n_classes):
        super().__init__(shape, n_classes)
        self.register_buffer("nothing", torch.full((2,), torch.nan))
        self.register_buffer("sparse", torch.eye(3).to_sparse())
        self.register_buffer("calls", torch.zeros(()))

    def changed(self, scores):
        """Count this call."""
        self.calls += 1
        return scores


def test_other_buffers_are_no_fault(images):
    assert quick(architecture=Remembering).fit(*images).n_iter_ == 1


def half_frozen(shape, n_classes):
    network = Own(shape, n_classes)
    network.layers[1].bias.requires_grad_(False)
    return network


class InAList(Own):
    """Its hidden layer is in a list, where torch does not look for parameters."""

    def __init__(self, shape, n_classes):
        super().__init__(shape, n_classes)
        self.hidden = [nn.Linear(36, 36)]

    def forward(self, X):
        return super().forward(self.hidden[0](X.flatten(1)))


class Attribute(Own):
    """A random tensor is an attribute, and a last layer of zeros hides it at first."""

    def __init__(self, shape, n_classes):
        super().__init__(shape, n_classes)
        self.projection = torch.randn(36, 36)
        nn.init.zeros_(self.layers[1].weight)

    def forward(self, X):
        return super().forward(X.flatten(1) @ self.projection)


def of_random_width(shape, n_classes):
    width = int(torch.randint(2, 1000, ()))
    return nn.Sequential(nn.Flatten(), nn.Linear(36, width), nn.Linear(width, n_classes))


class Pair(Own):
    """It takes two samples and no other number of them."""

    def forward(self, X):
        return super().forward(X.reshape(2, -1))


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        (Projected, "buffer 'projection' differs between two of them"),
        (half_frozen, r"has 'layers.1.bias' with requires_grad=False"),
        (InAList, r"^architecture must register all .* nn.ModuleList, not in a list"),
        (Attribute, r"must register all that differs .* tensors as nn.Parameter"),
        (of_random_width, "networks of the same parameters for every seed"),
        (Pair, "batches of any size; the one built took two samples, and failed on 3: "),
    ],
)
def test_networks_of_which_parts_would_be_ignored_are_refused(architecture, message, images):
    with pytest.raises(ValueError, match=message):
        quick(architecture=architecture).fit(*images)
    with pytest.raises(ValueError, match=message):
        quick().fit(*images).evaluate(*images, architecture=architecture)


class Softmax(Own):
    def changed(self, scores):
        return scores.softmax(dim=1)


def test_networks_that_end_in_softmax_raise_one_warning(images):
    message = "architecture=Softmax builds networks that end in softmax.*Leave it out"
    with pytest.warns(UserWarning, match=message) as caught:
        quick(architecture=Softmax).fit(*images)
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_a_last_layer_of_zeros_hides_no_batch_normalization(norm):
    def factory():
        network = ConvNet((1, 8, 8), 3, width=4, depth=1, norm=norm)
        nn.init.zeros_(network[-1].weight)
        return network

    assert Learner(factory).couples_samples((1, 8, 8)) == (norm == "batch")


@pytest.mark.parametrize("architecture", [*TRANSFER, "mlp", partial(ConvNet, norm="none")])
def test_no_other_network_of_the_package_couples_samples(architecture):
    factory = network_factory(architecture, (3, 16, 16), 3)
    assert not Learner(factory).couples_samples((3, 16, 16))


# Derivatives of a user's networks


class InPlace(Own):
    def forward(self, X):
        X -= X.mean()
        return super().forward(X)


class Clamping(Own):
    """It changes the batch by nothing, as long as samples are small."""

    def forward(self, X):
        return super().forward(X.clamp_(-1000, 1000))


class Detached(Own):
    def forward(self, X):
        return super().forward(X.detach())


class Rounded(Own):
    def forward(self, X):
        return super().forward(X.round())


class Fixed(Own):
    """No gradient reaches its parameters."""

    def changed(self, scores):
        return scores.detach()


class Fused(Own):
    """Attention by torch's fused kernels, which have no second derivative."""

    def __init__(self, shape, n_classes):
        super().__init__(shape, n_classes)
        self.rows = nn.Linear(6, 6)

    def forward(self, X):
        return super().forward(self.attention(self.rows(X)))

    def attention(self, rows):
        return F.scaled_dot_product_attention(rows, rows, rows)


class Products(Fused):
    """The same by the way out that the error names."""

    def attention(self, rows):
        Q = K = V = rows
        d = rows.shape[-1]
        return (Q @ K.mT / d**0.5).softmax(-1) @ V


def test_the_way_out_for_fused_attention_computes_the_same():
    fused, X = Fused((1, 6, 6), 2), torch.randn(4, 1, 6, 6)
    products = Products((1, 6, 6), 2)
    products.load_state_dict(fused.state_dict())
    torch.testing.assert_close(products(X), fused(X))


def traced(shape, n_classes):
    return torch.jit.trace(Own(shape, n_classes), torch.zeros(2, *shape))


def compiled(shape, n_classes):
    return torch.compile(Own(shape, n_classes))


def compiled_in_part(shape, n_classes):
    network = Own(shape, n_classes)
    network.layers[1].compile()
    return network


# Refused in an evaluation, too.
UNFIT_TO_TRAIN = {
    InPlace: r"leave the batch as it is; .*x = x - \.\.\. instead of x -= ",
    Clamping: "leave the batch as it is",
    Fixed: "nothing leads from the scores of the network built back to its parameters",
    compiled: "build a plain .* the one built is compiled by torch.compile",
    compiled_in_part: "layer 'layers.1' is compiled by torch.compile",
    traced: "the one built is compiled by torch.jit",
}
UNFIT_TO_DISTILL_THROUGH = {
    Detached: "differentiable with respect to the samples, or they cannot be distilled",
    Rounded: "differentiable with respect to the samples",
    Fused: r"twice differentiable; .*\(.*attention.*\)\. .*softmax\(-1\) @ V in place of",
}


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore:.*jit:DeprecationWarning")
@pytest.mark.parametrize("architecture", UNFIT_TO_TRAIN, ids=lambda each: each.__name__)
def test_networks_that_cannot_be_trained_are_refused_everywhere(architecture, images):
    message = UNFIT_TO_TRAIN[architecture]
    for work in (quick(architecture=architecture).fit, quick(architecture=architecture).estimate):
        with pytest.raises(ValueError, match=f"^architecture must .*{message}"):
            work(*images)
    distilled = quick().fit(*images).distilled_
    with pytest.raises(ValueError, match=message):
        evaluate(distilled, *images, architecture=architecture)


@pytest.mark.parametrize("architecture", UNFIT_TO_DISTILL_THROUGH, ids=lambda each: each.__name__)
def test_networks_that_cannot_be_distilled_through_can_be_evaluated(architecture, images):
    message = UNFIT_TO_DISTILL_THROUGH[architecture]
    with pytest.raises(ValueError, match=f"^architecture must be {message}"):
        quick(architecture=architecture).fit(*images)
    with pytest.raises(ValueError, match=r"^inner_architecture must be"):
        quick(inner_architecture=architecture).fit(*images)
    distiller = quick().fit(*images)
    assert distiller.evaluate(*images, architecture=architecture).mean >= 0
    # Where the evaluation alone has it, and another network is distilled through.
    assert quick(architecture=architecture, inner_architecture="mlp").fit(*images).n_iter_ == 1


def test_a_method_without_second_derivatives_does_not_ask_for_them(images):
    fused = tools.quick(DistributionMatchingDistiller, architecture=Fused, max_iter=1)
    assert fused.fit(*images).n_iter_ == 1
    with pytest.raises(ValueError, match="with respect to the samples"):
        tools.quick(DistributionMatchingDistiller, architecture=Detached).fit(*images)


class ZeroHead(Own):
    """Scores that no sample moves, until a first step has moved the parameters."""

    def __init__(self, shape, n_classes):
        super().__init__(shape, n_classes)
        nn.init.zeros_(self.layers[1].weight)


class Unused(Own):
    def __init__(self, shape, n_classes):
        super().__init__(shape, n_classes)
        self.unused = nn.Linear(3, 3)


class Dead(Own):
    """No unit is active for the samples that a network is tried on; for larger ones they are."""

    def changed(self, scores):
        return (scores - 1).relu()


@pytest.mark.filterwarnings("ignore:.*diverge")
@pytest.mark.parametrize("architecture", [ZeroHead, Unused, Dead, Products])
def test_networks_with_derivatives_that_are_zero_somewhere_are_taken(architecture, images):
    assert quick(architecture=architecture).fit(*images).n_iter_ == 1


class Encoder(nn.Module):
    """A layer of a transformer; ``options`` are those of a call of its attention."""

    def __init__(self, shape, n_classes):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True)
        self.head = nn.Linear(6, n_classes)

    def forward(self, X):
        return self.head(self.layer(X.flatten(1, 2)).mean(1))


class Attention(Encoder):
    def __init__(self, shape, n_classes):
        super().__init__(shape, n_classes)
        self.layer = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, X):
        X = X.flatten(1, 2)
        return self.head(self.layer(X, X, X, None, False)[0].mean(1))


@pytest.mark.parametrize("architecture", [Encoder, Attention])
def test_meta_gradient_through_attention(architecture):
    factory = network_factory(architecture, (1, 6, 6), 2)
    learner = Learner(factory, dtype=torch.float64, twice=True)
    X = draw(4, (1, 6, 6))
    # The same function as torch's own, which a fused kernel computes.
    plain = factory().eval().to(torch.float64)
    plain.load_state_dict(learner.module.state_dict())
    torch.testing.assert_close(learner.module(X), plain(X))
    ours, expected = one_step_meta_gradient(learner, X, torch.arange(4) % 2)
    assert expected.norm() > 1e-8
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)


def test_a_network_with_attention_is_distilled_through(images):
    distiller = quick(architecture=Encoder, max_iter=2).fit(*images)
    assert min(distiller.history_["grad_norm"]) > 0
    # Networks of an evaluation in a stack, too.
    assert distiller.evaluate(*images, n_networks=2).mean >= 0


def batch_normalized(shape, n_classes):
    norm = nn.BatchNorm1d(36, track_running_stats=False)
    return nn.Sequential(nn.Flatten(), norm, nn.Linear(36, n_classes))


def test_a_single_sample_for_batch_normalization_is_a_clear_error(images):
    X, y = images
    distiller = quick(architecture=batch_normalized).fit(X, y)
    with pytest.raises(ValueError, match=r"must not leave one sample to itself.*more samples at"):
        distiller.score(X[:1], y[:1])
    assert distiller.score(X[:2], y[:2]) >= 0


def test_a_checked_network_moves_no_global_state_and_costs_four_passes():
    n_calls = []

    class Counting(Own):
        def changed(self, scores):
            n_calls.append(len(scores))
            return scores

    from skdistill.evaluation._network_checks import make_learner

    before = global_states()
    make_learner(Counting, (1, 6, 6), 2, torch.device("cpu"))
    assert n_calls == [2, 2, 3, 3]
    assert global_states() == before


def test_a_thread_that_draws_numbers_is_not_the_networks_fault():
    class Disturbed(Own):
        n_calls = 0

        def changed(self, scores):
            # This is what another thread of the caller may do, once.
            Disturbed.n_calls += 1
            if Disturbed.n_calls == 1:
                torch.rand(1)
            return scores

    from skdistill.evaluation._network_checks import make_learner

    make_learner(Disturbed, (1, 6, 6), 2, torch.device("cpu"))
    assert Disturbed.n_calls == 4


def same_network(shape, n_classes):
    network = Own(shape, n_classes)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    return network


def network_of_no_seed(shape, n_classes):
    network = Own(shape, n_classes)
    with torch.no_grad():
        network.layers[1].weight += torch.from_numpy(UNSEEDED.normal(size=(2, 36)))
    return network


UNSEEDED = np.random.default_rng()


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        (same_network, "architecture=same_network builds the same network each time"),
        (network_of_no_seed, "architecture=network_of_no_seed builds two networks from one seed"),
    ],
)
def test_networks_that_ignore_the_seed_raise_a_warning(architecture, message, images):
    with pytest.warns(UserWarning, match=message) as caught:
        distiller = quick(architecture=architecture).fit(*images)
    assert {warning.filename for warning in caught} == {__file__}
    with pytest.warns(UserWarning, match=message):
        distiller.score(*images)


@pytest.mark.filterwarnings("error")
def test_good_networks_raise_no_warning(images):
    for architecture in (Own, partial(ConvNet, norm="batch"), lambda shape, n: Own(shape, n)):
        distiller = quick(architecture=architecture).fit(*images)
        distiller.score(*images)
        assert distiller.n_iter_ == 1


def test_an_unknown_name_is_refused_in_an_evaluation(images):
    distilled = quick().fit(*images).distilled_
    with pytest.raises(ValueError, match=r"architecture must be one of 'auto', .*'resnet'"):
        evaluate(distilled, *images, architecture="resnet")


def test_activation_bytes_count_the_layers_outputs():
    learner = Learner(lambda: nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)))
    assert learner.activation_bytes((3,)) == 4 * (5 + 5 + 2)


# Options of the ConvNet -------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "width", "depth"), [(8, 64, 2), (28, 128, 3), (64, 128, 4)])
def test_the_default_convnet_keeps_its_bits(side, width, depth):
    def by_hand():
        blocks, channels = [], 3
        for _ in range(depth):
            blocks += [
                nn.Conv2d(channels, width, kernel_size=3, padding=1, bias=False),
                nn.GroupNorm(width, width),
                nn.ReLU(),
                nn.AvgPool2d(2),
            ]
            channels = width
        rest = width * (side // 2**depth) ** 2
        return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(rest, 10))

    ours = Learner(network_factory("convnet", (3, side, side), 10))
    assert torch.equal(ours.init(7), Learner(by_hand).init(7))
    assert str(list(ours.module)) == str(list(by_hand()))
    assert list(ours.module.state_dict()) == list(by_hand().state_dict())


@pytest.mark.parametrize(
    ("norm", "kind", "bias"),
    [
        ("instance", nn.GroupNorm, False),
        ("batch", nn.BatchNorm2d, False),
        ("layer", nn.LayerNorm, True),
        ("group", nn.GroupNorm, True),
        ("none", None, True),
    ],
)
def test_norm_layers_and_the_biases_that_they_leave(norm, kind, bias):
    network = ConvNet((1, 12, 8), 3, width=8, depth=2, norm=norm)
    kinds = (nn.GroupNorm, nn.BatchNorm2d, nn.LayerNorm)
    assert [type(m) for m in layers(network, kinds)] == ([] if kind is None else [kind] * 2)
    assert {m.bias is not None for m in layers(network, nn.Conv2d)} == {bias}
    if kind is nn.GroupNorm:
        assert {m.num_groups for m in layers(network, kind)} == {8 if norm == "instance" else 4}


def test_norms_take_their_mean_over_what_they_say():
    X = torch.randn(6, 1, 8, 8)
    for norm, dims in {
        "instance": (2, 3), "batch": (0, 2, 3), "layer": (1, 2, 3), "none": None
    }.items():  # fmt: skip
        network = ConvNet((1, 8, 8), 3, width=8, depth=1, norm=norm)
        before = network[0](X)
        if dims is None:
            expected = before
        else:
            mean = before.mean(dims, keepdim=True)
            variance = before.var(dims, correction=0, keepdim=True)
            expected = (before - mean) / (variance + 1e-5).sqrt()
        after = F.avg_pool2d(expected.relu(), 2).flatten(1)
        torch.testing.assert_close(network(X), network[-1](after), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"pooling": "avg"}, nn.AvgPool2d),
        ({"pooling": "max"}, nn.MaxPool2d),
        ({"activation": "relu"}, nn.ReLU),
        ({"activation": "leaky_relu"}, nn.LeakyReLU),
        ({"activation": "sigmoid"}, nn.Sigmoid),
        ({"activation": "swish"}, nn.SiLU),
    ],
)
def test_pooling_and_activation(options, kind):
    network = ConvNet((2, 9, 12), 5, width=4, depth=2, **options)
    assert len(layers(network, kind)) == 2
    assert network(torch.randn(3, 2, 9, 12)).shape == (3, 5)


def test_without_pooling_the_image_keeps_its_size_and_may_be_small():
    network = ConvNet((2, 3, 5), 5, width=4, depth=3, pooling="none")
    assert not layers(network, (nn.AvgPool2d, nn.MaxPool2d))
    assert network[-1].in_features == 4 * 3 * 5
    assert network(torch.randn(3, 2, 3, 5)).shape == (3, 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "spectral"}, "norm must be one of 'instance', 'batch', .*; got 'spectral'"),
        ({"pooling": "sum"}, "pooling must be one of 'avg', 'max', 'none'; got 'sum'"),
        ({"activation": None}, "activation must be one of 'relu', .*; got None"),
        ({"norm": "group", "width": 6}, "width=6 must be divisible by 4 for norm='group'"),
        ({"depth": 0}, "depth must be an integer of at least 1; got 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        ConvNet((1, 8, 8), 3, **options)


def one_step_meta_gradient(learner, X, y):
    """Return the meta-gradient through one step of SGD, by the engine and by autograd."""
    theta = learner.init(5)
    real = torch.randn(3, *X.shape[1:], dtype=X.dtype, generator=torch.Generator().manual_seed(2))
    real_y = torch.arange(3) % 2

    def outer_loss(theta):
        theta = theta.detach().requires_grad_()
        with torch.enable_grad():
            loss = learner.loss(theta, real, real_y)
        return loss.detach(), torch.autograd.grad(loss, theta)[0]

    loop = InnerLoop(Steps(learner, SGD(lr=0.01)), X, y)
    ours = meta_gradient(loop, theta, 0, 1, outer_loss)
    theta, X = theta.requires_grad_(), X.clone().requires_grad_()
    inner = torch.autograd.grad(learner.loss(theta, X, y), theta, create_graph=True)[0]
    loss = learner.loss(theta - 0.01 * inner, real, real_y)
    return ours.X, torch.autograd.grad(loss, X)[0]


def draw(n, shape, dtype=torch.float64):
    return torch.randn(n, *shape, dtype=dtype, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_meta_gradient_through_every_option(options):
    factory = partial(ConvNet, (1, 8, 8), 2, width=4, depth=2, **options)
    learner = Learner(factory, dtype=torch.float64)
    ours, expected = one_step_meta_gradient(learner, draw(4, (1, 8, 8)), torch.arange(4) % 2)
    assert expected.norm() > 1e-8
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)


def test_batch_normalization_takes_the_statistics_of_the_batch_it_sees():
    # The docstring warns of it: a sample's scores depend on the other samples.
    X = draw(6, (1, 8, 8), torch.float32)
    for norm, expected in (("batch", False), ("instance", True)):
        network = Learner(lambda n=norm: ConvNet((1, 8, 8), 3, norm=n)).module
        assert torch.allclose(network(X)[:3], network(X[:3]), atol=1e-5) is expected


def test_options_reach_a_distiller_through_a_callable_that_pickles():
    architecture = pickle.loads(pickle.dumps(partial(ConvNet, norm="layer", pooling="max")))
    network = network_factory(architecture, (1, 8, 8), 3)()
    assert layers(network, nn.LayerNorm)
    assert layers(network, nn.MaxPool2d)
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 3)


# Architectures for transfer ---------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64)], ids=str)
@pytest.mark.parametrize("architecture", TRANSFER)
def test_output_shapes_and_purity(architecture, shape):
    # Learner refuses running statistics.
    learner = Learner(network_factory(architecture, shape, 7))
    X = draw(2, shape, torch.float32)
    scores = learner.module(X)
    assert scores.shape == (2, 7)
    # Samples do not see each other, and none is lost on the way to the scores.
    torch.testing.assert_close(learner.module(X[:1]), scores[:1], rtol=1e-3, atol=1e-4)
    assert (scores[0] - scores[1]).abs().max() > 1e-3
    assert not layers(learner.module, nn.Dropout)
    assert not list(learner.module.buffers())


@pytest.mark.parametrize(
    ("architecture", "shape", "expected"),
    [
        # kuangliu/pytorch-cifar, with batch normalization: as many scales and shifts.
        ("resnet18", (3, 32, 32), 11_173_962),
        # 64 x 3 x 3 weights fewer per channel of the first convolution.
        ("resnet18", (1, 28, 28), 11_173_962 - 2 * 64 * 9),
        # There 9,231,114, with one bias per channel of the convolutions, which ours do not have.
        ("vgg11", (3, 64, 64), 9_231_114 - (64 + 128 + 2 * 256 + 4 * 512)),
        # Convolutions, scales and shifts, linear layer.
        ("alexnet", (3, 32, 32), 1_840_512 + 2 * 960 + 193 * 10),
    ],
)
def test_parameter_counts(architecture, shape, expected):
    assert n_parameters(network_factory(architecture, shape, 10)()) == expected


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [
        # Convolution, normalization, ReLU; pooling; average, flatten, linear.
        ("vgg11", "CNRP CNRP CNRCNRP CNRCNRP CNRCNRP AFL"),
        ("alexnet", "CNRP CNRP CNRCNRCNRP AFL"),
    ],
)
def test_layers(architecture, expected):
    letters = {
        nn.Conv2d: "C", nn.GroupNorm: "N", nn.ReLU: "R", nn.MaxPool2d: "P",
        nn.AdaptiveAvgPool2d: "A", nn.Flatten: "F", nn.Linear: "L",
    }  # fmt: skip
    network = network_factory(architecture, (3, 32, 32), 10)()
    assert "".join(letters[type(m)] for m in network) == expected.replace(" ", "")


@pytest.mark.parametrize("architecture", TRANSFER)
def test_every_normalization_is_instance_normalization(architecture):
    norms = layers(network_factory(architecture, (3, 32, 32), 10)(), nn.GroupNorm)
    assert len(norms) == {"resnet18": 20, "vgg11": 8, "alexnet": 5}.get(architecture, 3)
    assert all(m.num_groups == m.num_channels and m.affine for m in norms)


@pytest.mark.parametrize(("name", "times"), [("convnet_x4", 4), ("convnet_x8", 8)])
@pytest.mark.parametrize(("side", "width"), [(8, 64), (32, 128)])
def test_wide_convnets_are_wide(name, times, side, width):
    network = network_factory(name, (3, side, side), 10)()
    usual = layers(ConvNet((3, side, side), 10), nn.Conv2d)
    wide = layers(network, nn.Conv2d)
    assert [m.out_channels for m in wide] == [times * width] * len(usual)


def test_resnet_is_cifars():
    network = resnet18((3, 32, 32), 10)
    assert (network.conv1.kernel_size, network.conv1.stride) == ((3, 3), (1, 1))
    assert network.layer1(network.maxpool(network.conv1(torch.zeros(1, 3, 32, 32)))).shape == (
        1, 64, 32, 32,
    )  # fmt: skip
    # torchvision draws convolutions with variance 2 / fan_out; the new stem as well.
    assert network.conv1.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.1)


def test_small_images_are_padded_in_the_middle_for_vgg():
    network = VGG11((1, 27, 28), 10)
    X = draw(2, (1, 27, 28), torch.float32)
    padded = F.pad(X, (2, 2, 2, 3))
    assert padded.shape == (2, 1, 32, 32)
    torch.testing.assert_close(network[0](X), padded)
    assert not layers(VGG11((1, 32, 40), 10), nn.ZeroPad2d)
    assert network(X).shape == (2, 10)


@pytest.mark.parametrize(("name", "least"), [("resnet18", 9), ("vgg11", 16), ("alexnet", 8)])
def test_smallest_images(name, least):
    network = network_factory(name, (1, least, least + 1), 3)()
    X = draw(2, (1, least, least + 1), torch.float32)
    # A normalization over one pixel would have lost the image.
    assert (network(X)[0] - network(X)[1]).abs().max() > 1e-3
    message = f"architecture='{name}' needs images of at least {least} pixels per side; got 40 x "
    with pytest.raises(ValueError, match=message + str(least - 1)):
        network_factory(name, (1, 40, least - 1), 3)()


@pytest.mark.parametrize("architecture", TRANSFER)
def test_a_table_has_none_of_them(architecture):
    with pytest.raises(ValueError, match=f"architecture='{architecture}' must be given images"):
        network_factory(architecture, (7,), 3)


@pytest.mark.parametrize("architecture", TRANSFER)
def test_a_step_of_adam_reduces_the_loss(architecture):
    learner = Learner(network_factory(architecture, (3, 16, 16), 4))
    X, y = draw(4, (3, 16, 16), torch.float32), torch.arange(4)
    adam = Adam(lr=1e-4)
    state = adam.init(learner.init(0))
    before = learner.loss(state[0], X, y).item()
    state = Steps(learner, adam).forward(state, X, y, 1)
    assert learner.loss(state[0], X, y).item() < before - 0.1


@pytest.mark.parametrize(
    "architecture",
    [pytest.param(name, marks=pytest.mark.slow) for name in ("resnet18", "vgg11")] + ["alexnet"],
)
def test_meta_gradient_through_deep_networks(architecture):
    learner = Learner(network_factory(architecture, (1, 16, 16), 2), dtype=torch.float64)
    ours, expected = one_step_meta_gradient(learner, draw(2, (1, 16, 16)), torch.arange(2))
    assert expected.norm() > 1e-8
    torch.testing.assert_close(ours, expected, rtol=1e-8, atol=1e-14)


@pytest.mark.slow
def test_resnet_can_be_traced():
    # torchvision writes in place: a traced step must still be the step.
    learner = Learner(network_factory("resnet18", (1, 9, 9), 2))
    steps, theta = Steps(learner, SGD(lr=0.01)), learner.init(0)
    X, y = draw(2, (1, 9, 9), torch.float32), torch.arange(2)
    state = steps.optimizer.init(theta)

    def adjoint(state, X, bar):
        return steps.adjoint(torch.stack((state, state)), X, y, bar, 1)

    with torch.enable_grad():
        traced = make_fx(adjoint)(state, X, state)
    traced.graph.eliminate_dead_code()
    traced.recompile()
    other = draw(2, (1, 9, 9), torch.float32).flip(0) + 0.1
    for result, expected in zip(traced(state, other, state), adjoint(state, other, state)):
        torch.testing.assert_close(result, expected)


def test_importing_the_networks_does_not_import_torchvision():
    code = "import sys, skdistill.networks; print('torchvision' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_architecture_has_a_test():
    assert {"convnet", "mlp", *TRANSFER} == set(ARCHITECTURES)
