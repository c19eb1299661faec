"""The settings of [Feng23]: each column of Table 1, from sections 4, C.1 and C.2."""

from functools import partial

import numpy as np
import pytest
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
from skdistill.distillers import BaseDistiller
from skdistill.networks import ConvNet, network_factory

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


def test_distribution_matching_has_the_values_of_its_own_paper():
    # Read in main_DM.py, the paper's code.
    assert DistributionMatchingDistiller.from_paper("cifar100", 50).get_params() == (
        DistributionMatchingDistiller(
            ipc=50, max_iter=20_000, batch_size=256, outer_optimizer="sgd", learning_rate=1.0,
            init="real", augmentation="dsa", architecture="convnet", n_networks=20,
            eval_steps=1000,
        ).get_params()
    )  # fmt: skip
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
    assert (distiller.learning_rate, distiller.max_iter) == (0.001, 100_000)
    network = distiller.architecture((3, 32, 32), 10)
    assert [m.out_channels for m in network if isinstance(m, nn.Conv2d)] == [256] * 3
    # The others are the defaults.
    for name in ("init", "loss", "log_scale_lr", "regularization", "redraw_every", "learn_labels"):
        assert getattr(distiller, name) == getattr(RFADDistiller(), name)


def test_implicit_gradients_have_the_values_of_their_own_paper():
    # Read in configs_final and in the names of the sets, of the paper's code.
    flips = {("cifar10", 1), ("cifar10", 10), ("cifar10", 50), ("cifar100", 1), ("cifar100", 10)}
    for dataset in ("cifar10", "cifar100", "fashion_mnist"):
        for ipc in (1, 10, 50):
            distiller = RCIGDistiller.from_paper(dataset, ipc)
            assert distiller.flips == ((dataset, ipc) in flips)
            assert distiller.max_iter == (15_000 if ipc == 1 else 10_000)
            assert (distiller.batch_size, distiller.learning_rate) == (1024, 0.003)
            assert (distiller.pool_size, distiller.pool_max_age) == (30, 100)
    network = distiller.architecture((1, 28, 28), 10)
    assert [m.out_channels for m in network if isinstance(m, nn.Conv2d)] == [128, 256, 512]
    # The others are the defaults.
    settings = distiller.get_params()
    for name in (
        *("init", "learn_labels", "label_lr_scale", "ema_decay", "regularization", "softplus_beta"),
        *("inner_steps", "inner_lr", "inverse_steps", "inverse_lr", "log_scale_lr"),
        *("pool_steps", "pool_lr"),
    ):
        assert settings[name] == RCIGDistiller().get_params()[name]


def test_trajectory_matching_has_the_values_of_four_papers():
    make = TrajectoryMatchingDistiller.from_paper
    names = ("syn_steps", "expert_epochs", "max_start", "learning_rate", "inner_lr_lr", "inner_lr")
    for paper, dataset, ipc, expected in [
        ("mtt", "cifar10", 1, (50, 2, 2, 100, 1e-7, 0.01)),
        ("mtt", "cifar100", 1, (20, 3, 20, 1000, 1e-5, 0.01)),
        ("tesla", "cifar10", 1, (50, 2, 5, 1000, 1e-7, 0.01)),
        ("ftd", "cifar100", 10, (20, 2, 40, 1000, 1e-5, 0.01)),
        ("datm", "cifar10", 50, (80, 2, 40, 1000, 1e-5, 0.01)),
    ]:
        distiller = make(dataset, ipc, paper=paper)
        assert tuple(getattr(distiller, name) for name in names) == expected
        assert (distiller.outer_optimizer, distiller.n_experts) == ("sgd", 100)
    assert make("cifar10", 10).eval_steps == 1001
    assert make("cifar10", 10).get_params() == make("cifar10", 10, paper="mtt").get_params()
    assert make("cifar10", 1, paper="tesla").gradient == "first_order"
    flat = make("cifar10", 10, paper="ftd")
    assert (flat.expert_rho, flat.expert_alpha, flat.ema_decay) == (0.01, 0.3, 0.9995)
    grown = make("cifar10", 10, paper="datm", cache="experts")
    assert (grown.first_max_start, grown.max_start, grown.expansion_steps) == (10, 20, 1000)
    assert (grown.learn_labels, grown.expert_labels, grown.cache) == (True, True, "experts")
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
    dc = {"max_iter": 10_000, "outer_optimizer": "sgd", "learning_rate": 0.1, "n_networks": 20}
    dc = GradientMatchingDistiller(10, **dc, architecture="convnet", eval_steps=1000)
    assert make("cifar10", 10).get_params() == dc.get_params()
    assert make("cifar10", 10, paper="dc").get_params() == dc.get_params()
    dsa = dc.set_params(augmentation="dsa")
    assert make("cifar100", 10, paper="dsa").get_params() == dsa.get_params()
    idc = make("fashion_mnist", 10, paper="idc", max_iter=1)
    # Four tiles take the storage of an image.
    assert (idc.ipc, idc.parametrization.factor, idc.parametrization.clamp) == (40, 2, True)
    assert (idc.distance, idc.matched, idc.network_data) == ("l1", "convolutions", "real")
    assert (idc.batch_size, idc.network_batch_size, idc.inner_loop) == (64, 64, 8)
    assert (idc.network_momentum, idc.network_weight_decay) == (0.9, 5e-4)
    # A step of 0.0001 in pixels of deviation 0.353.
    assert idc.learning_rate == pytest.approx(1e-4 / 0.353**2, rel=0.02)
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
