"""Every method with every feature: it works, or is refused by name before any work."""

import re
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import tools
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from tools import StopAfter, bits

from skdistill import BoostedDistiller, DistillationSampler, DistilledClassifier, all_distillers
from skdistill.distillers import BaseDistiller, base
from skdistill.distillers._features import FEATURES
from skdistill.learning_rates import CosineDecay
from skdistill.parametrization import Hallucinated, LinearBasis, Tiled

METHODS = dict(all_distillers())
RNG = np.random.default_rng(0)
LABELS = np.arange(24) % 2
DATA = {
    "tables": (RNG.normal(size=(24, 3)) + LABELS[:, None], LABELS),
    "images": (RNG.normal(size=(24, 4, 4)) + LABELS[:, None, None], LABELS),
    "one column": (RNG.normal(size=(24, 1)) + LABELS[:, None], LABELS),
}


class Case:
    """A method, and data that it takes."""

    def __init__(self, kind, folder):
        self.kind, self.folder = kind, folder
        self.data = DATA["images" if "tables" in kind._refuses else "tables"]

    def make(self, **parameters):
        return tools.smallest(self.kind, **parameters)

    def fit(self, *data, sample_weight=None, **parameters):
        return self.make(**parameters).fit(*data or self.data, sample_weight=sample_weight)


def works_with_data(*names):
    def works(case):
        for X, y in map(DATA.get, names):
            distiller = case.fit(X, y)
            assert distiller.transform()[0].shape == (2, *X.shape[1:])
            assert 0 <= distiller.score(X, y) <= 1

    return works


def learned_labels(case):
    soft, hard = (case.fit(learn_labels=learn) for learn in (True, False))
    assert soft.transform()[1].shape == (2, 2)
    assert hard.transform()[1].tolist() == [0, 1]


def bases(case):
    (block,) = case.fit(ipc=2, init="gaussian", parametrization=LinearBasis(2)).distilled_.bases
    assert block.basis.shape == (2, *case.data[0].shape[1:])


def made_of_less(parametrization):
    def works(case):
        def fit(**parameters):
            return case.fit(*DATA["images"], ipc=2, parametrization=parametrization, **parameters)

        distiller, moved = fit(), fit(max_iter=4)
        (block,) = distiller.distilled_.bases
        assert block.n_samples == 4
        assert not np.array_equal(moved.transform()[0], distiller.transform()[0])

    return works


def augmentation(case):
    # Some methods augment while they distill, and all of them in the evaluation.
    distiller = case.fit(*DATA["images"], augmentation="flip_rotate")
    assert distiller.distilled_.recipe.augmentation is not None
    assert 0 <= distiller.score(*DATA["images"]) <= 1


def sample_weights(case):
    X, y = case.data
    weight = np.r_[np.ones(20), np.zeros(4)]
    weighted, part = case.fit(sample_weight=weight), case.fit(X[:20], y[:20])
    np.testing.assert_allclose(part.transform()[0], weighted.transform()[0], rtol=1e-5, atol=1e-6)
    others = case.fit(sample_weight=np.linspace(1, 9, 24))
    assert others.history_["loss"] != case.fit().history_["loss"]


def class_weights(case):
    weighted, plain = (case.fit(class_weight=weight) for weight in ({0: 5.0}, None))
    assert weighted.history_["loss"] != plain.history_["loss"]


def validation(case):
    distiller = case.fit(validation_fraction=0.25, validation_interval=1)
    assert all(0 <= accuracy <= 1 for accuracy in distiller.history_["validation_accuracy"])
    assert distiller.distilled_.provenance["best_iter"] in (1, 2, 3)


def averages(case):
    averaged, plain = (case.fit(ema_decay=decay) for decay in (0.9, None))
    assert averaged.history_["loss"] == plain.history_["loss"]
    assert bits(averaged) != bits(plain)


def schedules(case):
    falling, plain = (case.fit(learning_rate_schedule=s) for s in (CosineDecay(0.1), "constant"))
    assert falling.history_["loss"][:2] == plain.history_["loss"][:2]
    assert bits(falling) != bits(plain)


def boosting(case):
    boosted = BoostedDistiller(ipc=2, block_size=1, distiller=case.make(), random_state=0)
    whole, first = (clone(boosted).set_params(ipc=ipc).fit(*case.data) for ipc in (2, 1))
    assert whole.budgets_ == [1, 2]
    for a, b in zip(whole.transform(ipc=1), first.transform()):
        np.testing.assert_array_equal(a, b)


def checkpoints(case):
    make = partial(case.make, learning_rate_schedule="cosine")
    tools.check_same_bits_after("checkpoint after Ctrl-C", make, case.data, case.folder, first=2)


def warm_start(case):
    make = partial(case.make, ema_decay=0.9)
    tools.check_same_bits_after("warm start", make, case.data, case.folder, first=1)


def pipeline(case):
    pipe = make_pipeline(FunctionTransformer(lambda X: 2 * X), case.make()).fit(*case.data)
    assert 0 <= pipe.score(*case.data) <= 1


def grid_search(case):
    grid = {"learning_rate": [0.01, 0.1]}
    search = GridSearchCV(case.make(max_iter=1), grid, cv=2, error_score="raise").fit(*case.data)
    assert search.best_params_["learning_rate"] in (0.01, 0.1)


def estimate(case):
    forecast = case.make().estimate(*case.data, n_steps=1)
    assert forecast.n_steps == 3
    assert forecast.peak_bytes > 0


def callbacks(case):
    stopped = case.make().set_callbacks(StopAfter(2)).fit(*case.data)
    assert stopped.n_iter_ == 2
    assert stopped.transform()[0].tolist() == case.fit(max_iter=2).transform()[0].tolist()


def adapters(case):
    X, y = case.data
    classifier = DistilledClassifier(case.make()).fit(X, y)
    assert set(classifier.predict(X)) <= {0, 1}
    assert classifier.predict_proba(X).shape == (24, 2)
    assert sorted(DistillationSampler(case.make()).fit_resample(X, y)[1]) == [0, 1]


def start_from_a_set(case):
    first = case.fit()
    again = case.fit(init=first.distilled_, learning_rate=1e-12)
    np.testing.assert_allclose(again.transform()[0], first.transform()[0], rtol=1e-5, atol=1e-5)


# Those that a method may refuse by their names in FEATURES, and those that every method must have.
CHECKS = {
    "tables": works_with_data("tables", "one column"),
    "images": works_with_data("images"),
    "learned labels": learned_labels,
    "linear bases": bases,
    "tiles": made_of_less(Tiled()),
    "hallucinators": made_of_less(Hallucinated(n=2)),
    "augmentation": augmentation,
    "sample weights": sample_weights,
    "class weights": class_weights,
    "validation": validation,
    "averages": averages,
    "other learning rates during a run": schedules,
    "boosting": boosting,
    "checkpoints": checkpoints,
    "warm start": warm_start,
    "pipelines": pipeline,
    "grid search": grid_search,
    "estimate": estimate,
    "callbacks": callbacks,
    "adapters": adapters,
    "a set as start": start_from_a_set,
}


@pytest.mark.parametrize("feature", CHECKS)
@pytest.mark.parametrize("method", METHODS)
def test_works_or_is_refused_by_name_before_any_work(method, feature, tmp_path):
    case = Case(METHODS[method], tmp_path)
    why = case.kind._refuses.get(feature)
    if why is None:
        CHECKS[feature](case)
        return
    with tools.OuterStep.refuse(), pytest.raises(ValueError, match=re.escape(f"{method}: {why}.")):
        CHECKS[feature](case)


class Refusing(BaseDistiller):
    """A distiller whose method can do nothing."""

    _refuses = {name: f"it has no {name}" for name in FEATURES if name != "tables"}

    def _make_method(self, problem):
        pytest.fail("work was begun")


@pytest.mark.parametrize("feature", sorted(FEATURES.keys() - {"tables", "several processes"}))
def test_each_feature_can_be_refused(feature, tmp_path):
    with pytest.raises(ValueError, match=f"with Refusing: it has no {feature}"):
        CHECKS[feature](Case(Refusing, tmp_path))


def test_tables_and_several_processes_can_be_refused(monkeypatch):
    monkeypatch.setattr(base, "join_group", lambda: SimpleNamespace(size=2, rank=0))
    with pytest.raises(ValueError, match="a run must have one process with Refusing: it has no"):
        Case(Refusing, None).fit()
    monkeypatch.setattr(Refusing, "_refuses", {"tables": "it needs pixels"})
    with pytest.raises(ValueError, match="X must hold images and no table with Refusing: it needs"):
        Case(Refusing, None).fit(*DATA["tables"])


def test_a_start_is_refused_where_boosting_is(tmp_path):
    start = Case(METHODS["RaTBPTTDistiller"], None).fit().distilled_
    for asked in ({"start": start}, {"learning_rate_factors": [0.5, 1]}):
        with pytest.raises(ValueError, match="no boosting with Refusing: it has no boosting"):
            Case(Refusing, None).make(ipc=2).fit(*DATA["tables"], **asked)
    folder = tmp_path / "blocks"
    with pytest.raises(ValueError, match="no boosting with Refusing"):
        BoostedDistiller(distiller=Refusing(), checkpoint=folder).fit(*DATA["tables"])
    assert not folder.exists()


def test_a_refusal_of_what_is_no_feature_is_an_error_of_the_class(monkeypatch):
    monkeypatch.setattr(Refusing, "_refuses", {"label": "no label enters its loss"})
    with pytest.raises(TypeError, match=r"Refusing._refuses must name .*'learned labels'.*'label'"):
        Case(Refusing, None).fit()


def test_every_method_that_is_public_is_tried():
    assert METHODS.keys() >= {"DistributionMatchingDistiller", "RaTBPTTDistiller"}
    assert BaseDistiller not in METHODS.values()
    assert FEATURES.keys() - {"several processes"} <= CHECKS.keys()
