"""What a type checker accepts of a user's code, and what it refuses. Mypy alone reads this file.

A line that must be refused says with which of mypy's codes, and mypy (``warn_unused_ignores``)
complains if it is not: what checks the package checks this as well.
"""

import os
from functools import partial
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import torch

from skdistill import (
    BoostedDistiller,
    DistillationSampler,
    DistilledClassifier,
    DistilledDataset,
    DistributionMatchingDistiller,
    FRePoDistiller,
    GradientMatchingDistiller,
    KernelRidgeClassifier,
    KIPDistiller,
    LossPruner,
    RaTBPTTDistiller,
    RCIGDistiller,
    RFADDistiller,
    TrajectoryMatchingDistiller,
    ZCAWhitener,
    all_distillers,
    diagnose,
)
from skdistill.augmentation import Compose, Flip, Rotation
from skdistill.coresets import herding
from skdistill.diagnosis import Diagnosis
from skdistill.distillers import BaseDistiller, Gradient, Method, Problem, param
from skdistill.evaluation import EvaluationResult, evaluate
from skdistill.hardness import HardnessSampler
from skdistill.learning_rates import CosineDecay
from skdistill.networks import ConvNet
from skdistill.parametrization import Hallucinated, LinearBasis, Tiled
from skdistill.sampling import KMeansSampler
from skdistill.windows import MovingWindow, StageAwareWindow


class Shrink(BaseDistiller):
    """A distiller of a user's, with a parameter of its own."""

    factor: float = param(default=0.5, constraints=[], kind="float", doc="By how much.")

    def _make_method(self, problem: Problem) -> Method:
        raise NotImplementedError


def right(X: np.ndarray, y: list[str], weights: np.ndarray, distilled: DistilledDataset) -> None:
    distiller = RaTBPTTDistiller(
        10,
        window=3,
        unroll="auto",
        init=distilled,
        class_weight={"cat": 2},
        schedule=MovingWindow("backward", patience=10),
        sampler=HardnessSampler(favor="medium"),
        clip_norm=2,
        sample_norm=1.0,
        augmentation=Compose([Flip(), Rotation(degrees=10)]),
        architecture=partial(ConvNet, width=32),
        parametrization=LinearBasis(4, coef_penalty=1e-4),
        image_shape=(1, 8, 8),
        checkpoint=Path("run.npz"),
        random_state=np.random.RandomState(0),
        learning_rate_schedule=CosineDecay(final=0.1),
        ema_decay=0.99,
        device=torch.device("cpu"),
        verbose=True,
    )
    DistributionMatchingDistiller(ipc=10, architecture="convnet", class_weight="balanced")
    RaTBPTTDistiller(schedule=StageAwareWindow(radius=8), sampler=KMeansSampler("samples"))
    DistributionMatchingDistiller(ipc=4, parametrization=Tiled(factor=2, clamp=True))
    DistributionMatchingDistiller(ipc=10, parametrization=Hallucinated(n=5))
    KIPDistiller(ipc=10, kernel="nngp", depth=2, learn_labels=True)
    TrajectoryMatchingDistiller(10, gradient="first_order", cache=Path("experts"), syn_steps=20)
    BoostedDistiller(10, block_size=5, distiller=distiller, checkpoint=os.fspath("folder"))
    Shrink(factor=0.5, ipc=3, learning_rate="auto")

    assert_type(RaTBPTTDistiller.from_paper("cifar10", ipc=10, max_iter=3), RaTBPTTDistiller)
    RaTBPTTDistiller.from_paper("cifar10", 1, paper="linba", max_iter=3)
    assert_type(LossPruner(keep=0.5).fit(X, y), LossPruner)
    assert_type(all_distillers(), list[tuple[str, type[BaseDistiller]]])
    assert_type(distiller.fit(X, y, sample_weight=weights), RaTBPTTDistiller)
    assert_type(distiller.set_params(ipc=3).set_fit_request(sample_weight=True), RaTBPTTDistiller)
    assert_type(distiller.distilled_.subset(1), DistilledDataset)
    assert_type(distilled.push_to_hub("me/digits", license="mit", private=True), str)
    assert_type(DistilledDataset.from_hub("me/digits", token=False), DistilledDataset)
    assert_type((distiller.window_, distiller.inner_lr_), tuple[int, float])
    assert_type(distiller.transform(), tuple[Any, np.ndarray])
    assert_type(distiller.score(X, y), float)
    assert_type(BoostedDistiller().fit(X, y).budgets_, list[int])
    assert_type(evaluate(distilled, torch.zeros(3, 4), [0, 1, 2], steps=[1, 2]), EvaluationResult)
    assert_type(diagnose(distiller, X, y, X, y, n_networks=2), Diagnosis)
    assert_type(DistilledClassifier(distiller).fit(X, y).predict(X), np.ndarray)
    assert_type(DistillationSampler(class_weight=None).fit(X, y), DistillationSampler)
    assert_type(KIPDistiller().fit(X, y).kernel_classifier(), KernelRidgeClassifier)
    assert_type(ZCAWhitener(per_sample=True).fit(X).transform(X), np.ndarray)
    herding(X, np.asarray(y), np.unique(y), 1, np.random.default_rng(0))


def wrong(gradient: Gradient, distilled: DistilledDataset) -> None:
    # A parameter that must be given.
    distilled.push_to_hub("me/digits")  # type: ignore[call-arg]
    # A parameter that there is not.
    RaTBPTTDistiller(windw=3)  # type: ignore[call-arg]
    DistributionMatchingDistiller(window=3)  # type: ignore[call-arg]
    KIPDistiller(window=3)  # type: ignore[call-arg]
    FRePoDistiller(pool=3)  # type: ignore[call-arg]
    GradientMatchingDistiller(loops=3)  # type: ignore[call-arg]
    RFADDistiller(redraw=3)  # type: ignore[call-arg]
    TrajectoryMatchingDistiller(experts=3)  # type: ignore[call-arg]
    RCIGDistiller(tangents=3)  # type: ignore[call-arg]
    BoostedDistiller(window=3)  # type: ignore[call-arg]
    Shrink(facter=0.5)  # type: ignore[call-arg]
    DistilledClassifier(windw=3)  # type: ignore[call-arg]
    ZCAWhitener(regularisation=0.1)  # type: ignore[call-arg]
    # One of the wrong type.
    RaTBPTTDistiller(ipc="ten")  # type: ignore[arg-type]
    DistributionMatchingDistiller(ipc="ten")  # type: ignore[arg-type]
    KIPDistiller(kernel="rbf")  # type: ignore[arg-type]
    FRePoDistiller(pool_size="ten")  # type: ignore[arg-type]
    GradientMatchingDistiller(distance="l2")  # type: ignore[arg-type]
    RFADDistiller(loss="hinge")  # type: ignore[arg-type]
    TrajectoryMatchingDistiller(gradient="second_order")  # type: ignore[arg-type]
    RCIGDistiller(inner_lr="fast")  # type: ignore[arg-type]
    BoostedDistiller(ipc="ten")  # type: ignore[arg-type]
    Shrink(ipc="ten")  # type: ignore[arg-type]
    diagnose(RaTBPTTDistiller(), [[1.0]], [1], n_networks="ten")  # type: ignore[arg-type]
    RaTBPTTDistiller(inner_optimizer="adamw")  # type: ignore[arg-type]
    RaTBPTTDistiller(architecture="konvnet")  # type: ignore[arg-type]
    RaTBPTTDistiller(learning_rate_schedule="exponential")  # type: ignore[arg-type]
    DistributionMatchingDistiller(augmentation="flip")  # type: ignore[arg-type]
    BoostedDistiller(distiller=RaTBPTTDistiller)  # type: ignore[arg-type]
    RaTBPTTDistiller(sampler="kmeans")  # type: ignore[arg-type]
    RaTBPTTDistiller(clip_norm="always")  # type: ignore[arg-type]
    KMeansSampler("pixels")  # type: ignore[arg-type]
    LossPruner(favor="medium")  # type: ignore[arg-type]
    MovingWindow("sideways")  # type: ignore[arg-type]
    # One by its place that must be named.
    RaTBPTTDistiller(10, 200)  # type: ignore[call-arg]
    # What fit does not set.
    print(RaTBPTTDistiller().destilled_)  # type: ignore[attr-defined]
    print(gradient.learning_rate)  # type: ignore[attr-defined]
