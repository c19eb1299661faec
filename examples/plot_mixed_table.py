"""
A table of text and numbers
===========================

From ``read_csv`` to ``to_csv``: a table with text, booleans, whole numbers and gaps is distilled to
five rows per class, and the rows that come out have the columns of the file that went in.

The file is made here, from scikit-learn's wines: 178 rows, three cultivars. Some measurements are
put into words, by the rules below, so that there is something to encode.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_wine
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from skdistill import DistilledDataset, RaTBPTTDistiller
from skdistill.evaluation import compare, evaluate

folder = tempfile.TemporaryDirectory()
file = Path(folder.name, "wines.csv")

# %%
# The file. Thirds of the color's intensity become words with an order, the hue becomes words
# without one; a wine with more than 13 % of alcohol is strong; every twentieth row lacks its ash.
# Magnesium and proline are whole numbers in scikit-learn's data already.

wine = load_wine(as_frame=True)
pd.DataFrame(
    {
        "color": pd.qcut(wine.data["color_intensity"], 3, labels=["pale", "medium", "deep"]),
        "hue": pd.cut(wine.data["hue"], [0, 0.8, 1.05, 2], labels=["brick", "ruby", "purple"]),
        "strong": wine.data["alcohol"] > 13,
        "malic_acid": wine.data["malic_acid"],
        "ash": wine.data["ash"].where(wine.data.index % 20 != 0),
        "magnesium": wine.data["magnesium"].astype(int),
        "proline": wine.data["proline"].astype(int),
        "cultivar": wine.target_names[wine.target],
    }
).to_csv(file, index=False)

table = pd.read_csv(file)
print(table.head())
X_train, X_test, y_train, y_test = train_test_split(
    table.drop(columns="cultivar"), table["cultivar"], stratify=table["cultivar"], random_state=0
)

# %%
# A distiller takes numbers. Words without an order become one column each, words with an order
# their position in it; gaps are filled with the column's mean. The distiller itself standardizes
# columns.

encode = make_column_transformer(
    (OneHotEncoder(sparse_output=False), ["hue"]),
    (OrdinalEncoder(categories=[["pale", "medium", "deep"]]), ["color"]),
    remainder=SimpleImputer(),
)
distiller = RaTBPTTDistiller(
    ipc=5, init="kmeans", max_iter=40, window=10, unroll=30, random_state=0
)
pipeline = make_pipeline(encode, distiller).fit(X_train, y_train)

# %%
# A set with its preprocessing accepts test data as they are. ``compare`` encodes the table for its
# rivals, too: equally many random rows, herded rows and k-means centroids. Networks are trained on
# all of them in the same way. The steps are kept in the set's file, without a pickle.

distilled = DistilledDataset.from_pipeline(pipeline, X_train)
comparison = compare(distilled, X_train, y_train, X_test, y_test, n_networks=5, n_networks_whole=3)
print(comparison)
distilled.save(file.with_name("wines.npz"))

# %%
# The rows as networks see them, but in the units of the encoded table: an indicator may be 0.6.

distilled = DistilledDataset.load(file.with_name("wines.npz"))
print(distilled.to_frame().iloc[:5, :5].round(2).to_string())

# %%
# And with the columns of the file: the largest indicator of a group gives the word, a position is
# rounded to the nearest one that exists, whole numbers and booleans get their dtypes back.
# (``from_pipeline`` was given the table for these dtypes.)

rows = distilled.to_frame(original=True)
rows.to_csv(file.with_name("fifteen_wines.csv"), index=False)
print(file.with_name("fifteen_wines.csv").read_text())
again = pd.read_csv(file.with_name("fifteen_wines.csv"))
assert list(again) == list(table)

# %%
# Rounded rows are not quite what was distilled. So the rows of the file are tested as well: they
# are encoded again, and networks are trained on them like on the others.

X_again = distilled.preprocessing.transform(again.drop(columns="cultivar"))
result = evaluate(replace(distilled, X=X_again), X_test, y_test, n_networks=5)
print(f"distilled, from the file: {result}")

# %%
# The fifteen rows among the wines, in the units of the file, and what networks learn from them. On
# so small a table centroids are a strong rival, and one wine of the test set is two points.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
for k, name in enumerate(distilled.classes):
    real, synthetic = (part[part["cultivar"] == name] for part in (table, again))
    left.scatter(real["malic_acid"], real["proline"], s=10, color=f"C{k}", alpha=0.4)
    left.scatter(
        synthetic["malic_acid"], synthetic["proline"], s=50, color=f"C{k}", marker="D", label=name
    )
left.set(xlabel="malic acid", ylabel="proline", title="wines (dots) and distilled rows")
left.legend(fontsize="small")
ours, *theirs = comparison.results.items()
results = dict([ours, ("distilled, rounded", result), *theirs])
places = np.arange(len(results))[::-1]
right.barh(
    places,
    [100 * r.mean for r in results.values()],
    xerr=[100 * r.std for r in results.values()],
    color=[*["tab:orange"] * 2, *["0.7"] * (len(results) - 2)],
)
right.set_yticks(places, results)
right.set(xlabel="test accuracy (%)", xlim=(50, 100), title="networks trained on them")
for ax in (left, right):
    ax.spines[["top", "right"]].set_visible(False)
plt.show()
folder.cleanup()
