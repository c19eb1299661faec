"""
Balancing a data set by distilling it
=====================================

A distilled set holds as many samples of a rare class as of a common one. ``DistillationSampler``
is a sampler in the sense of imbalanced-learn: in its pipeline it stands in front of a classifier,
and replaces the training set, at ``fit`` only, by a few synthetic rows a class.

Needs imbalanced-learn.
"""

from imblearn.pipeline import make_pipeline
from imblearn.under_sampling import ClusterCentroids, RandomUnderSampler
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.preprocessing import StandardScaler

from skdistill import DistillationSampler, RaTBPTTDistiller

# %%
# Two thousand rows, one in twenty of them positive. The sampler weighs both classes the same
# (``class_weight="balanced"``); without that, twenty balanced rows would still teach the
# frequencies of the two thousand.

X, y = make_classification(
    n_samples=2000, n_features=12, n_informative=6, weights=[0.95], class_sep=1.2, random_state=0
)
folds = StratifiedKFold(3, shuffle=True, random_state=0)
distiller = RaTBPTTDistiller(ipc=10, init="kmeans", max_iter=40, random_state=0)
samplers = {
    "all rows": "passthrough",
    "random, as many as the rare class": RandomUnderSampler(random_state=0),
    "random, 10 a class": RandomUnderSampler(sampling_strategy={0: 10, 1: 10}, random_state=0),
    "cluster centroids, 10 a class": ClusterCentroids(
        sampling_strategy={0: 10, 1: 10}, random_state=0
    ),
    "distilled, 10 a class": DistillationSampler(distiller),
}
print(f"{'training rows':<36}balanced accuracy (%)")
for name, sampler in samplers.items():
    pipeline = make_pipeline(StandardScaler(), sampler, LogisticRegression())
    scores = cross_val_score(pipeline, X, y, cv=folds, scoring="balanced_accuracy")
    print(f"{name:<36}{100 * scores.mean():.1f} ± {100 * scores.std():.1f}")

# %%
# The distiller's own parameters can be searched through the pipeline.

pipeline = make_pipeline(StandardScaler(), DistillationSampler(distiller), LogisticRegression())
search = GridSearchCV(
    pipeline,
    {"distillationsampler__distiller__ipc": [2, 10]},
    cv=folds,
    scoring="balanced_accuracy",
).fit(X, y)
print(f"\nBest: {search.best_params_}, {100 * search.best_score_:.1f} %")
