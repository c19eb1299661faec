"""Methods by name, and parameters from NAME=VALUE."""

from functools import partial

import click
import pytest

import skdistill
from skdistill import BoostedDistiller, FRePoDistiller, RaTBPTTDistiller, all_distillers
from skdistill._command_line.parameters import METHODS, make_distiller, parse_settings
from skdistill.augmentation import Flip, OneOf, Rotation
from skdistill.hardness import HardnessSampler
from skdistill.learning_rates import CosineDecay
from skdistill.networks import ConvNet
from skdistill.parametrization import LinearBasis
from skdistill.windows import MovingWindow


def test_every_method_has_a_name():
    known = {*dict(all_distillers()), "BoostedDistiller"}
    assert set(METHODS.values()) == known
    # The name of the class, with dashes between its words.
    for name, kind in METHODS.items():
        assert name.replace("-", "") == kind.removesuffix("Distiller").lower()
        assert type(make_distiller(name, {}, {})) is getattr(skdistill, kind)
    assert {"rat-bptt", "distribution-matching", "frepo", "boosted"} <= METHODS.keys()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("40", 40),
        ("1e-3", 0.001),
        ("True", True),
        ("true", True),
        ("None", None),
        ("null", None),
        ("kmeans", "kmeans"),
        ("'40'", "40"),
        ("", ""),
        ("a=b", "a=b"),
        ("(1, 8, 8)", (1, 8, 8)),
        ("[1,8,8]", [1, 8, 8]),
        ('{"a": 2, "b": 0.5}', {"a": 2, "b": 0.5}),
        ("{1: 2.5}", {1: 2.5}),
        # Neither literals nor JSON: text, which no parameter takes, and nothing is run.
        ("__import__('os').getcwd()", "__import__('os').getcwd()"),
        ("[1,", "[1,"),
        ("(" * 5000, "(" * 5000),
        # A class of a data set may have this name.
        ('{"class": 2.5}', {"class": 2.5}),
    ],
)
def test_values(text, value):
    found = parse_settings([f"name={text}", "other=1"])
    assert found == {"name": value, "other": 1}
    assert type(found["name"]) is type(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"class": "MovingWindow", "patience": 3}', MovingWindow(patience=3)),
        ('{"class": "CosineDecay"}', CosineDecay()),
        ("{'class': 'LinearBasis', 'n_basis': 5}", LinearBasis(5)),
        ('{"class": "HardnessSampler"}', HardnessSampler()),
        (
            '{"class": "OneOf", "steps": [{"class": "Flip"}, {"class": "Rotation", "degrees": 5}]}',
            OneOf([Flip(), Rotation(5)]),
        ),
    ],
)
def test_objects(text, expected):
    (value,) = parse_settings([f"name={text}"]).values()
    assert type(value) is type(expected)
    assert repr(value) == repr(expected)


def test_a_network_with_options():
    text = 'inner_architecture={"class": "ConvNet", "width": 32}'
    (value,) = parse_settings([text]).values()
    assert isinstance(value, partial)
    assert (value.func, value.args, value.keywords) == (ConvNet, (), {"width": 32})
    distiller = make_distiller("rat-bptt", {}, parse_settings([text]))
    assert distiller.inner_architecture.keywords == {"width": 32}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('a={"class": "Popen", "args": "ls"}', "class must be one of ConvNet, MLP, .*'Popen'"),
        ('a={"class": "Augmentation"}', "class must be one of .*got 'Augmentation'"),
        ('a={"class": "Flip", "q": 1}', "Flip cannot be made of {'q': 1}: .*'q'"),
        ("a={'class': 'Flip', 1: 1}", "Flip cannot be made of {1: 1}"),
        ('a={"class": "LinearBasis"}', "LinearBasis cannot be made of {}: .*'n_basis'"),
    ],
)
def test_objects_that_cannot_be(text, message):
    with pytest.raises(ValueError, match=message):
        parse_settings([text])


def test_no_parameter_is_given_twice():
    with pytest.raises(click.BadParameter, match="window is set twice"):
        parse_settings(["window=1", "window=2"])
    with pytest.raises(click.UsageError, match="ipc must be given by an option or by --set"):
        make_distiller("rat-bptt", {"ipc": 1, "device": None}, {"ipc": 2})


def test_parameters_reach_the_distiller():
    given = {"ipc": 3, "random_state": 5, "device": None, "checkpoint": None}
    distiller = make_distiller("rat-bptt", given, {"window": 7, "unroll": 9})
    assert isinstance(distiller, RaTBPTTDistiller)
    expected = RaTBPTTDistiller(ipc=3, random_state=5, window=7, unroll=9)
    assert distiller.get_params() == expected.get_params()


def test_a_boosted_distiller_has_the_method_that_is_named():
    settings = {"block_size": 1, "distiller": "frepo", "distiller__max_iter": 7}
    made = make_distiller("boosted", {"ipc": 2, "distiller__device": "cpu"}, settings)
    assert isinstance(made, BoostedDistiller)
    assert isinstance(made.distiller, FRePoDistiller)
    assert (made.ipc, made.block_size) == (2, 1)
    assert (made.distiller.max_iter, made.distiller.device) == (7, "cpu")
    assert isinstance(make_distiller("boosted", {}, {}).distiller, RaTBPTTDistiller)


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("boosted", {"distiller": "boosted"}, "distiller must be one of .*got 'boosted'"),
        ("boosted", {"distiller": [1]}, r"distiller must be one of .*got \[1\]"),
        ("boosted", {"distiller__window": 0}, "'window' parameter"),
        ("boosted", {"window": 3}, "Invalid parameter 'window'"),
        ("frepo", {"window": 3}, "Invalid parameter 'window'"),
        ("kip", {"learning_rate": "fast"}, "'learning_rate' parameter"),
    ],
)
def test_the_distillers_own_checks_apply(method, settings, message):
    with pytest.raises(ValueError, match=message):
        make_distiller(method, {}, settings)
