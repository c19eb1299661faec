"""The settings of [Feng23]: each column of Table 1, from sections 4, C.1 and C.2; other papers'."""

import json
from copy import deepcopy
from functools import partial

import numpy as np
import pytest
import torch
from tools import ROOT
from torch import nn

from skdistill import (
    DistributionMatchingDistiller,
    FRePoDistiller,
    GradientMatchingDistiller,
    KIPDistiller,
    RaTBPTTDistiller,
    RCIGDistiller,
    RFADDistiller,
    TrajectoryMatchingDistiller,
    paper_settings,
)
from skdistill._engine.linearized import softened
from skdistill._engine.outer_optimizers import OuterAdaBelief
from skdistill.distillers import BaseDistiller
from skdistill.networks import ConvNet, network_factory
from skdistill.paper import _DEVIATIONS, _descent_rate

# window, unroll, batch_size, learn_labels, classes, side; read from [Feng23].
COLUMNS = {
    ("cifar10", 1): (60, 200, 5000, False, 10, 32),
    ("cifar10", 10): (80, 250, 5000, False, 10, 32),
    ("cifar10", 50): (100, 300, 5000, True, 10, 32),
    ("cifar100", 1): (100, 300, 5000, True, 100, 32),
    ("cifar100", 10): (100, 300, 5000, True, 100, 32),
    ("cifar100", 50): (100, 300, 5000, True, 100, 32),
    ("cub200", 1): (60, 200, 3000, True, 200, 32),
    ("cub200", 10): (60, 200, 3000, True, 200, 32),
    ("tinyimagenet", 1): (100, 300, 1000, True, 200, 64),
    ("tinyimagenet", 10): (100, 300, 1000, True, 200, 64),
}
EVERYWHERE = {
    "learning_rate": 0.001,
    "inner_optimizer": "adam",
    "inner_lr": 0.001,
    "inner_weight_decay": 0.0,
    "schedule": "rat-bptt",
    "init": "gaussian",
    "augmentation": "flip_rotate",
    "n_networks": 10,
}


@pytest.mark.parametrize(("column", "expected"), COLUMNS.items(), ids=map(str, COLUMNS))
def test_settings_are_those_of_the_paper(column, expected):
    settings = paper_settings(*column)
    names = ("ipc", "window", "unroll", "batch_size", "learn_labels")
    assert tuple(settings[name] for name in names) == (column[1], *expected[:4])
    assert {name: settings[name] for name in EVERYWHERE} == EVERYWHERE


@pytest.mark.parametrize(("column", "expected"), COLUMNS.items(), ids=map(str, COLUMNS))
def test_the_distiller_takes_them_for_data_of_that_kind(column, expected):
    *_, n_classes, side = expected
    settings = paper_settings(*column)
    y = np.repeat(np.arange(n_classes), max(2, column[1]))
    X = np.zeros((len(y), side, side, 3), dtype=np.uint8)
    distiller = RaTBPTTDistiller(**settings)
    *_, layout = distiller.check_input(X, y)
    network = network_factory(settings["architecture"], layout.network_shape, n_classes)()
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in layers] == [128] * (3 if side == 32 else 4)
    per_class = settings["inner_batch_size"] or settings["ipc"]
    assert 10 <= per_class * (settings["classes_per_step"] or n_classes) <= 200


def test_the_result_belongs_to_the_caller():
    paper_settings("cifar10", 1)["window"] = 0
    assert paper_settings("cifar10", 1)["window"] == 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cifar", 1), "dataset must be one of 'cifar10', 'cifar100', 'cub200', 'tinyimagenet', .*"
         "got 'cifar'"),
        ((None, 1), "dataset must be one of .*; got None"),
        (("cub200", 50), r"ipc must be one of 1, 10 for 'cub200', .*; got 50\."),
        (("cifar10", 2), r"ipc must be one of 1, 10, 50 for 'cifar10', .*; got 2\."),
        (("cifar10", True), "got True"),
        (("cifar10", "1"), "got '1'"),
    ],
)  # fmt: skip
def test_what_table_1_does_not_have(arguments, message):
    with pytest.raises(ValueError, match=message):
        paper_settings(*arguments)
    with pytest.raises(ValueError, match=message):
        RaTBPTTDistiller.from_paper(*arguments)


def test_a_distiller_has_the_values_of_its_paper_and_those_that_are_given():
    distiller = RaTBPTTDistiller.from_paper("cifar10", ipc=10, max_iter=3, random_state=1)
    expected = {**paper_settings("cifar10", 10), "max_iter": 3, "random_state": 1}
    assert distiller.get_params() == RaTBPTTDistiller(**expected).get_params()


# --- units ------------------------------------------------------------------------------------


def root_mean_square(values, divisors):
    return float(np.sqrt(np.mean((np.array(values) / divisors) ** 2)))


def test_deviations_are_those_of_the_data_sets_in_the_units_of_the_codes():
    # Deviations of the pixels, of FRePo's data_stats, and what VICO's utils.py divides by.
    cifar10 = (0.2470, 0.2435, 0.2616)
    divided = {
        "cifar10": (cifar10, (0.2023, 0.1994, 0.2010)),
        "cifar100": ((0.2673, 0.2564, 0.2762), (0.2673, 0.2564, 0.2762)),
        "fashion_mnist": ((0.3530,), (0.3530,)),
        "tinyimagenet": ((0.2763, 0.2687, 0.2813), (0.229, 0.224, 0.225)),
    }
    expected = {name: root_mean_square(*pair) for name, pair in divided.items()}
    assert _DEVIATIONS["divided"] == pytest.approx(expected, rel=0.003)
    assert _DEVIATIONS["pixels"] == pytest.approx(
        {"cifar10": root_mean_square(cifar10, 1), "fashion_mnist": 0.353}, rel=0.005
    )
    report = ROOT / "examples/benchmarks/results/whitened-deviation.json"
    measured = json.loads(report.read_text())["deviations"]
    assert measured["whitened as by kornia"] == pytest.approx(
        _DEVIATIONS["kornia"]["cifar10"], abs=5e-4
    )
    assert measured["standardized and whitened"] == pytest.approx(
        _DEVIATIONS["frepo"]["cifar10"], abs=5e-4
    )


def test_a_step_at_a_converted_rate_is_that_of_the_code():
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ConvNet((3, 8, 8), 5, width=4, depth=2).double()
    X = torch.randn(6, 3, 8, 8, generator=generator, dtype=torch.float64)

    def step(samples, rate):
        samples = samples.clone().requires_grad_()
        network(samples).square().sum().backward()
        return samples.detach() - rate * samples.grad

    deviation = _DEVIATIONS["divided"]["cifar10"]
    theirs = step(deviation * X, 0.1) / deviation
    ours = step(X, _descent_rate(0.1, deviation))
    # But for what instance normalization adds to a variance.
    torch.testing.assert_close(ours - X, theirs - X, rtol=1e-3, atol=1e-5)
    assert not torch.allclose(step(X, 0.1) - X, theirs - X, rtol=0.1, atol=1e-5)


def test_regressions_of_rcig_do_not_depend_on_units():
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    X, X_real, y = draw(6, 3, 8, 8), draw(5, 3, 8, 8), draw(6, 2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ConvNet((3, 8, 8), 2, width=4, norm="none", initialization="lecun").double()

    def predictions(distiller, unit):
        layers = list(softened(deepcopy(network), distiller.softplus_beta))
        body = nn.Sequential(*layers[:-1])
        phi, real = body(unit * X), body(unit * X_real)
        ridge = len(X) * distiller.regularization * torch.eye(len(X), dtype=X.dtype)
        return real @ phi.T @ torch.linalg.solve(phi @ phi.T + ridge, y)

    # Those of Fashion-MNIST, which has deviation 1 there, are the code's own for all data.
    code, color = (RCIGDistiller.from_paper(name, 1) for name in ("fashion_mnist", "cifar10"))
    theirs, ours = predictions(code, _DEVIATIONS["frepo"]["cifar10"]), predictions(color, 1.0)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)
    assert not torch.allclose(predictions(code, 1.0), theirs, rtol=1e-3)


def test_steps_of_the_adabelief_of_rfad():
    # torch_optimizer's: the variance is around the moving average after the step.
    grads = torch.randn(30, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    theta, m, v = torch.zeros(3, 4, dtype=torch.float64)
    ours, slots = OuterAdaBelief(), OuterAdaBelief().init(theta)
    rate = RFADDistiller.from_paper("fashion_mnist", 10).learning_rate
    for t, grad in enumerate(grads, 1):
        m = 0.9 * m + 0.1 * grad
        v = 0.999 * v + 0.001 * (grad - m) ** 2 + 1e-16
        theta = theta - 0.001 / (1 - 0.9**t) * m / (v / (1 - 0.999**t)).sqrt()
        slots = ours.step(slots, grad, rate, t)
    torch.testing.assert_close(slots[0], theta, rtol=1e-6, atol=0)


# --- other papers -----------------------------------------------------------------------------


def test_distribution_matching_has_the_values_of_its_own_paper():
    # Read in main_DM.py, the paper's code.
    assert DistributionMatchingDistiller.from_paper("cifar100", 50).get_params() == (
        DistributionMatchingDistiller(
            ipc=50, max_iter=20_000, batch_size=256, outer_optimizer="sgd", learning_rate=1.0,
            init="real", augmentation="dsa", architecture="convnet", n_networks=20,
            eval_steps=1000,
        ).get_params()
    )  # fmt: skip
    # Samples of CIFAR-10 and Tiny-ImageNet have a larger deviation than 1 there.
    rates = [
        DistributionMatchingDistiller.from_paper(name, 1).learning_rate
        for name in ("cifar10", "tinyimagenet")
    ]
    assert rates == pytest.approx([1 / 1.25**2, 1 / 1.22**2])
    X = np.random.default_rng(0).integers(256, size=(20, 32, 32, 3)).astype(np.uint8)
    y = np.arange(20) % 10
    distiller = DistributionMatchingDistiller.from_paper("cifar10", 1, max_iter=1, batch_size=1)
    X_syn, _ = distiller.fit(X, y).transform()
    assert X_syn.shape == (10, 32, 32, 3)
    with pytest.raises(ValueError, match=r"dataset must be one of 'cifar10', .* runs of \[Zh"):
        DistributionMatchingDistiller.from_paper("cub200", 1)


def test_kip_has_the_values_of_its_notebook_which_are_its_defaults():
    assert KIPDistiller.from_paper("cifar10", 10).get_params() == KIPDistiller(10).get_params()
    with pytest.raises(ValueError, match=r"ipc must be one of 10 for 'cifar10', as in the noteb"):
        KIPDistiller.from_paper("cifar10", 1)


def test_feature_regression_has_the_values_of_its_own_paper():
    # Read in script/distill.py, the paper's code.
    flips = {("cifar10", 1), ("cifar10", 10), ("cifar10", 50), ("cifar100", 1)}
    for dataset in ("cifar10", "cifar100", "fashion_mnist"):
        for ipc in (1, 10, 50):
            distiller = FRePoDistiller.from_paper(dataset, ipc)
            assert distiller.flips == ((dataset, ipc) in flips)
            assert distiller.batch_size == 1024
            assert distiller.learning_rate == 3e-4
            factor = distiller.learning_rate_schedule.factor
            assert factor(500_000, 500_000) == pytest.approx(0.1)
    assert (distiller.pool_size, distiller.pool_max_age, distiller.max_iter) == (10, 100, 500_000)
    network = distiller.architecture((1, 28, 28), 10)
    layers = [layer for layer in network if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in layers] == [128, 256, 512]
    assert network[-1].in_features == 512 * 4 * 4
    # The others are the defaults.
    settings = distiller.get_params()
    for name in ("init", "learn_labels", "label_lr_scale", "regularization", "pool_lr"):
        assert settings[name] == FRePoDistiller().get_params()[name]


def test_random_features_have_the_values_of_their_own_paper():
    distiller = RFADDistiller.from_paper("cifar10", 10)
    assert (distiller.batch_size, distiller.n_feature_networks) == (5120, 8)
    assert distiller.max_iter == 100_000
    # 0.001 by an AdaBelief whose steps are longer, for whitened samples of deviation 0.447.
    assert distiller.learning_rate == pytest.approx(0.001 / 0.9 / 0.447)
    # Where the same rate is that of the labels.
    labels = distiller.label_lr_scale * distiller.learning_rate
    assert (labels, distiller.log_scale_lr) == pytest.approx((0.001 / 0.9, 0.01 / 0.9))
    gray = RFADDistiller.from_paper("fashion_mnist", 10)
    assert (gray.learning_rate, gray.label_lr_scale) == pytest.approx((0.001 / 0.9, 1.0))
    network = distiller.architecture((3, 32, 32), 10)
    assert [m.out_channels for m in network if isinstance(m, nn.Conv2d)] == [256] * 3
    # The others are the defaults.
    for name in ("init", "loss", "regularization", "redraw_every", "learn_labels"):
        assert getattr(distiller, name) == getattr(RFADDistiller(), name)


def test_implicit_gradients_have_the_values_of_their_own_paper():
    # Read in configs_final and in the names of the sets, of the paper's code.
    flips = {("cifar10", 1), ("cifar10", 10), ("cifar10", 50), ("cifar100", 1), ("cifar100", 10)}
    for dataset in ("cifar10", "cifar100", "fashion_mnist"):
        for ipc in (1, 10, 50):
            distiller = RCIGDistiller.from_paper(dataset, ipc)
            assert distiller.flips == ((dataset, ipc) in flips)
            assert distiller.max_iter == (15_000 if ipc == 1 else 10_000)
            assert distiller.batch_size == 1024
            assert (distiller.pool_size, distiller.pool_max_age) == (30, 100)
            # Whitened samples have a deviation of 0.447 there, and labels the same rate.
            unit = 1.0 if dataset == "fashion_mnist" else 0.447
            names = ("learning_rate", "label_lr_scale", "regularization", "softplus_beta")
            expected = (0.003 / unit, unit, 5e-4 / unit**2, 60 * unit)
            assert tuple(getattr(distiller, name) for name in names) == pytest.approx(expected)
    network = distiller.architecture((1, 28, 28), 10)
    assert [m.out_channels for m in network if isinstance(m, nn.Conv2d)] == [128, 256, 512]
    # The others are the defaults.
    settings = distiller.get_params()
    for name in (
        *("init", "learn_labels", "ema_decay"),
        *("inner_steps", "inner_lr", "inverse_steps", "inverse_lr", "log_scale_lr"),
        *("pool_steps", "pool_lr"),
    ):
        assert settings[name] == RCIGDistiller().get_params()[name]


def test_trajectory_matching_has_the_values_of_four_papers():
    make = TrajectoryMatchingDistiller.from_paper
    names = ("syn_steps", "expert_epochs", "max_start", "learning_rate", "inner_lr_lr", "inner_lr")
    # In units of deviation 1: whitened images have 0.254 in the codes.
    white, divided, tiny = 0.254**2, 1.25**2, 1.22**2
    for paper, dataset, ipc, expected in [
        ("mtt", "cifar10", 1, (50, 2, 2, 100 / white, 1e-7, 0.01)),
        ("mtt", "cifar100", 1, (20, 3, 20, 1000 / white, 1e-5, 0.01)),
        # Half the gradient in the code.
        ("tesla", "cifar10", 1, (50, 2, 5, 500 / divided, 1e-7, 0.01)),
        ("tesla", "cifar100", 50, (80, 2, 40, 500 / white, 1e-5, 0.01)),
        ("ftd", "cifar100", 10, (20, 2, 40, 1000 / white, 1e-5, 0.01)),
        ("ftd", "tinyimagenet", 1, (30, 2, 10, 10_000 / tiny, 1e-4, 0.01)),
        ("datm", "cifar10", 50, (80, 2, 40, 1000 / white, 1e-5, 0.01)),
        ("datm", "cifar100", 1, (40, 3, 20, 1000 / white, 1e-5, 0.01)),
    ]:
        distiller = make(dataset, ipc, paper=paper)
        assert tuple(getattr(distiller, name) for name in names) == pytest.approx(expected)
        assert (distiller.outer_optimizer, distiller.n_experts) == ("sgd", 100)
        # No run begins at the bound, so that the rate can fall.
        assert distiller.inner_lr_min < 0.01 * distiller.inner_lr
    assert make("cifar10", 10).eval_steps == 1001
    assert make("cifar10", 10).get_params() == make("cifar10", 10, paper="mtt").get_params()
    assert make("cifar10", 1, paper="tesla").gradient == "first_order"
    flat = make("cifar10", 10, paper="ftd")
    assert (flat.expert_rho, flat.expert_alpha, flat.ema_decay) == (0.01, 0.3, 0.9995)
    # Table 7 of its paper: alpha, and samples per class and classes of a step.
    for dataset, ipc, expected in [
        ("cifar10", 1, (0.3, None, None)),
        ("cifar10", 50, (1.0, None, None)),
        ("cifar100", 1, (1.0, None, None)),
        ("cifar100", 50, (1.0, 10, None)),
        ("tinyimagenet", 10, (1.0, 10, 50)),
    ]:
        flat = make(dataset, ipc, paper="ftd")
        found = (flat.expert_alpha, flat.inner_batch_size, flat.classes_per_step)
        assert found == expected
    for dataset, ipc, expected, label_rate in [
        ("cifar10", 10, (10, 20, 1000), 2.0),
        ("cifar100", 1, (10, 20, 1000), 10.0),
    ]:
        grown = make(dataset, ipc, paper="datm", cache="experts")
        assert (grown.first_max_start, grown.max_start, grown.expansion_steps) == expected
        assert grown.label_lr_scale * grown.learning_rate == pytest.approx(label_rate)
    assert (grown.learn_labels, grown.expert_labels, grown.cache) == (True, True, "experts")
    assert (grown.expert_rho, grown.expert_alpha, grown.ema_decay) == (0.01, 0.3, None)
    # 1001 epochs of batches of 256, and in the code of DATM of 128.
    assert make("cifar10", 50, paper="ftd").eval_steps == 1001 * 2
    assert make("cifar10", 50, paper="datm").eval_steps == 1001 * 4
    for paper, dataset, ipc, message in [
        ("mtt", "cifar10", 50, r"ipc must be one of 1, 10 for 'cifar10', as in the known runs"),
        ("tesla", "tinyimagenet", 1, r"dataset must be one of 'cifar10', 'cifar100'"),
        ("att", "cifar10", 1, "paper must be one of None, 'mtt', 'tesla', 'ftd', 'datm' for"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(dataset, ipc, paper=paper)


def test_all_runs_of_trajectory_matching_are_valid():
    X, y = np.zeros((2, 3, 32, 32)), np.zeros(2)
    for name, paper in TrajectoryMatchingDistiller._other_papers.items():
        for dataset, budgets in paper.columns.items():
            for ipc in budgets:
                distiller = TrajectoryMatchingDistiller.from_paper(dataset, ipc, paper=name)
                with pytest.raises(ValueError, match="class"):
                    distiller.fit(X, y)


def test_gradient_matching_has_the_values_of_three_papers():
    # Read in main.py and utils.py, and in argument.py, condense.py and misc/reproduce.py.
    make = GradientMatchingDistiller.from_paper
    dc = {"max_iter": 10_000, "outer_optimizer": "sgd", "n_networks": 20}
    dc["learning_rate"] = 0.1 / 1.25**2
    dc = GradientMatchingDistiller(10, **dc, architecture="convnet", eval_steps=1000)
    assert make("cifar10", 10).get_params() == dc.get_params()
    assert make("cifar10", 10, paper="dc").get_params() == dc.get_params()
    # Samples of CIFAR-100 have deviation 1 there, too.
    dsa = dc.set_params(augmentation="dsa", learning_rate=0.1)
    assert make("cifar100", 10, paper="dsa").get_params() == dsa.get_params()
    idc = make("fashion_mnist", 10, paper="idc", max_iter=1)
    # Four tiles take the storage of an image.
    assert (idc.ipc, idc.parametrization.factor, idc.parametrization.clamp) == (40, 2, True)
    assert (idc.distance, idc.matched, idc.network_data) == ("l1", "convolutions", "real")
    assert (idc.batch_size, idc.network_batch_size, idc.inner_loop) == (64, 64, 8)
    assert (idc.network_momentum, idc.network_weight_decay) == (0.9, 5e-4)
    # A step of 0.0001, less for the smaller images, in pixels of deviation 0.353.
    assert idc.learning_rate == pytest.approx(1e-4 * (28 / 32) ** 2 / 0.353**2)
    # Gray images become 32 x 32 in the first layer, and are 4 x 4 after three poolings.
    for paper in ("dc", "dsa", "idc", "idc-i"):
        network = make("fashion_mnist", 10, paper=paper).architecture((1, 28, 28), 10)
        widths = [m.out_channels for m in network if isinstance(m, nn.Conv2d)]
        assert (widths, network[-1].in_features) == ([128] * 3, 128 * 4 * 4)
    assert make("cifar10", 50, paper="idc").learning_rate == pytest.approx(5 * 5e-3 * 16)
    X = np.random.default_rng(0).integers(256, size=(80, 32, 32, 3)).astype(np.uint8)
    tiled = make("cifar10", 1, paper="idc", max_iter=1, architecture=partial(ConvNet, width=2))
    assert tiled.fit(X, np.arange(80) % 10).transform()[0].shape == (40, 32, 32, 3)
    assert tiled.distilled_.storage == 1
    plain = make("cifar10", 1, paper="idc-i")
    assert (plain.ipc, plain.parametrization.factor, plain.inner_loop) == (1, 1, 32)
    with pytest.raises(
        ValueError, match=r"paper must be one of None, 'dc', 'dsa', 'idc', 'idc-i' .* got 'dm'"
    ):
        make("cifar10", 1, paper="dm")
    with pytest.raises(ValueError, match=r"dataset must be one of 'cifar10', .* runs of \[Kim"):
        make("cifar100", 1, paper="idc")


def test_a_distiller_without_a_paper_says_so():
    class Own(BaseDistiller):
        """A user's."""

    with pytest.raises(ValueError, match="Own knows no runs of a paper"):
        Own.from_paper("cifar10", 1)
