"""Names of 0.1.0 are promises: what could be imported then can be imported now."""

import pickle
from importlib import import_module

import pytest

from skdistill._old_names import _NEW_NAMES

# The public modules of 0.1.0 and their ``__all__``. One name is gone: `evaluation.subsample_curve`,
# whose home was and is `intercorrelation`.
PUBLIC = {
    "skdistill": (
        "BoostedDistiller DistillationSampler DistilledClassifier DistilledDataset "
        "DistributionMatchingDistiller RaTBPTTDistiller ZCAWhitener paper_settings"
    ),
    "skdistill.adapters": "DistillationSampler DistilledClassifier",
    "skdistill.augmentation": (
        "AUGMENTATIONS Augmentation Color Compose Crop Cutout Flip OneOf Rotation Scale "
        "check_augmentation"
    ),
    "skdistill.base": "BaseDistiller",
    "skdistill.boosted": "BoostedDistiller",
    "skdistill.coresets": "herding kmeans_centroids random_samples",
    "skdistill.datasets": (
        "fetch_cifar10 fetch_cifar100 fetch_fashion_mnist load_cub200 load_digits "
        "load_image_folder load_tiny_imagenet"
    ),
    "skdistill.distilled": "BasisBlock DistilledDataset EvaluationRecipe",
    "skdistill.distribution_matching": "DistributionMatchingDistiller",
    "skdistill.evaluation": "BASELINES WHOLE Comparison EvaluationResult compare evaluate",
    "skdistill.exceptions": (
        "CheckpointWarning DivergenceError DivergenceWarning InvalidFileError LostProcessError"
    ),
    "skdistill.forecast": "Forecast",
    "skdistill.hardness": (
        "AdaptiveSampler HardnessResult HardnessSampler WeightedSampler accuracy_by_hardness "
        "count_forgetting_events disagreement_scores forgetting_scores hardness_weights "
        "scores_in_a_run"
    ),
    "skdistill.hardness.disagreement": "disagreement_scores scores_in_a_run",
    "skdistill.hardness.forgetting": "count_forgetting_events forgetting_scores",
    "skdistill.hardness.sampler": (
        "AdaptiveSampler HardnessSampler WeightedSampler hardness_weights"
    ),
    "skdistill.hardness.stratified": "HardnessResult accuracy_by_hardness",
    "skdistill.inspection": (
        "BudgetCurveDisplay DistilledImagesDisplay HardnessDisplay TrainingCurveDisplay"
    ),
    "skdistill.inspection.budgets": "BudgetCurveDisplay",
    "skdistill.inspection.hardness": "HardnessDisplay",
    "skdistill.inspection.images": "DistilledImagesDisplay",
    "skdistill.inspection.training": "TrainingCurveDisplay",
    "skdistill.intercorrelation": "SubsampleCurve compare_blocks subsample_curve",
    "skdistill.monitoring": "TensorBoard",
    "skdistill.networks": (
        "ARCHITECTURES MLP VGG11 AlexNet ConvNet convnet_x4 convnet_x8 network_factory "
        "resnet18 resolve_architecture"
    ),
    "skdistill.paper": "paper_settings",
    "skdistill.parametrization": "LinearBasis Pixels SampleParametrization resolve_parametrization",
    "skdistill.preprocessing": "ZCAWhitener",
    "skdistill.rat_bptt": "RaTBPTTDistiller",
    "skdistill.sampling": "UniformSampler",
    "skdistill.windows": (
        "SCHEDULES EarlyWindow FixedWindow FullWindow MovingWindow RandomLengthWindow "
        "UniformWindow WindowSchedule resolve_schedule"
    ),
}
# Classes that pickles of 0.1.0 name and no user does.
PRIVATE = {
    "skdistill._engine.memory": "PeakMemory",
    "skdistill._engine.outer": "OuterState",
    "skdistill._layout": "Layout",
    "skdistill._run": "Best Point Run",
}


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_are_where_they_were(module):
    there = import_module(module)
    assert [name for name in PUBLIC[module].split() if not hasattr(there, name)] == []


def test_names_in_pickles_are_where_they_were():
    for module, names in PRIVATE.items():
        there = import_module(module)
        for name in names.split():
            # As pickles ask for them.
            assert pickle.loads(f"c{module}\n{name}\n.".encode()) is getattr(there, name)


@pytest.mark.parametrize("name", _NEW_NAMES)
def test_old_names_of_modules_are_those_of_today(name):
    old, today = (import_module(f"skdistill.{each}") for each in (name, _NEW_NAMES[name]))
    assert old is today
    assert today.__name__ == today.__spec__.name == f"skdistill.{_NEW_NAMES[name]}"
