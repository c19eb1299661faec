"""The card that goes with a distilled set."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler
from tools import make

from skdistill import DistilledDataset
from skdistill.datasets import list_distilled, load_distilled
from skdistill.evaluation import EvaluationResult


def result(n_samples=6):
    accuracies = np.array([0.5, 0.75])
    return EvaluationResult(accuracies, np.array([30]), accuracies[:, None], n_samples)


def test_a_card_says_what_the_set_knows():
    data = make("gray", soft=True)
    provenance = {
        "method": "RaTBPTTDistiller",
        "parameters": {"window": 3, "augmentation": None},
        "training_data": {"fingerprint": "abc123", "shape": [60, 4, 3], "dtype": "uint8"},
        "seconds": 12.345,
        "versions": {"skdistill": "0.1.0"},
    }
    card = replace(data, provenance=provenance).card(result())
    assert card.startswith("# 6 distilled images of 3 classes\n\n## What it is\n")
    for line in (
        "| samples | 6, 2 for each of 3 classes; they take the storage of 2.5 per class |",
        "| shape and type of a sample | (4, 3), float32 |",
        "| classes | a, bc, d |",
        "| labels | learned, soft |",
        "| preprocessing | none that is kept with the set |",
        "Test accuracy: **62.5 ± 12.5 % (2 networks, 30 steps)**",
        "| method | RaTBPTTDistiller |",
        "| its shape and type | \\[60, 4, 3\\], uint8 |",
        "| its fingerprint, joblib.hash((X, y)) | abc123 |",
        "| seconds | 12.3 |",
        "| skdistill (version) | 0.1.0 |",
        "| window (parameter) | 3 |",
        "| augmentation (parameter) | None |",
    ):
        assert line in card.splitlines()
    assert 'distilled = DistilledDataset.load("set.npz")' in card
    assert "30 steps of Adam" in card


def test_lines_that_load_a_set_are_python():
    code = make("table").card().split("```python\n")[1].split("```")[0]
    assert "skdistill" in compile(code, "card", "exec").co_names


def test_the_lines_load_a_ready_set_only_if_the_set_is_that_one():
    for name, ipc in list_distilled():
        code = f'distilled = load_distilled("{name}", ipc={ipc})'
        assert code in load_distilled(name, ipc).card().splitlines()
    digits, recipe = load_distilled("digits"), load_distilled("digits").recipe
    for other in (
        # There is a ready set of this size, and it is another one.
        load_distilled("fashion-mnist", 10).subset(1),
        digits.with_protocol("dm"),
        replace(digits, recipe=replace(recipe, steps=100)),
        replace(digits, recipe=replace(recipe, n_networks=3)),
        replace(digits, recipe=replace(recipe, seed=1)),
        replace(digits, y=np.eye(10)),
        replace(digits, preprocessing=StandardScaler()),
        make(provenance={"about": {"name": "lake"}}),
    ):
        card = other.card()
        assert "load_distilled" not in card
        assert 'distilled = DistilledDataset.load("set.npz")' in card


def test_a_card_without_a_result_says_so():
    card = make("table", provenance={}).card()
    assert card.startswith("# 6 distilled table rows")
    assert "Test accuracy: not given." in card
    assert "## How it was made\n\nNot known.\n" in card


def test_preprocessing_that_is_kept_is_named():
    data = make("table", preprocessing=StandardScaler(with_mean=False))
    assert "| preprocessing | kept with the set: StandardScaler(with\\_mean=False) |" in data.card()
    assert "# runs no code, needs NumPy and scikit-learn\n" in data.card()
    assert "# runs no code, needs NumPy alone\n" in make("table").card()


def test_names_are_shown_as_they_are():
    names = ["*a* | `b`", "<b>c</b>\n\n# d", "[e](f)"]
    card = make("gray", classes=sorted(names)).card()
    line = "| classes | \\*a\\* \\| \\`b\\`, \\<b\\>c\\</b\\> \\# d, \\[e\\](f) |"
    assert line in card.splitlines()


def test_names_in_a_file_do_not_steer_a_terminal():
    # The letters are Persian; between them stands what keeps them apart.
    names = ["\x1b[31mred", "caf\udce9", "\u0645\u06cc\u200c\u062e"]
    card = make("gray", classes=names).card()
    assert f"| classes | \ufffd\\[31mred, caf\ufffd, {names[2]} |" in card.splitlines()


def test_many_classes_are_listed_in_part():
    card = make("table", classes=np.arange(60), ipc=1).card()
    assert "48, 49, and 10 more |" in card


def test_a_result_must_be_of_the_set():
    with pytest.raises(ValueError, match="has 6 samples; networks were trained on 9"):
        make().card(result(9))
    with pytest.raises(TypeError, match=r"result must be an EvaluationResult or None; got 0\.9"):
        make().card(0.9)


def test_networks_that_were_not_trained_as_the_recipe_says():
    assert "and not as the recipe says" not in make().card(result())
    shorter = replace(result(), steps=np.array([10, 20]))
    said = "These networks were trained for 20 steps, and not as the recipe says."
    assert said in make().card(shorter).splitlines()


def test_the_license_of_the_training_data_is_said_if_it_is_given():
    assert "icense" not in make().card()
    card = make().card(license="Terms of *our* lake")
    assert "License of the training data: **Terms of \\*our\\* lake**" in card.splitlines()
    with pytest.raises(ValueError, match="license must be the license of the training data"):
        make().card(license=" ")


def test_a_card_says_how_networks_were_trained_if_it_was_in_another_way():
    data = make("rgb")
    as_it_says = replace(data.recipe, n_networks=2, seed=1)
    assert "These networks" not in data.card(replace(result(), recipe=as_it_says))
    other = replace(as_it_says, architecture="mlp")
    card = data.card(replace(result(), recipe=other))
    (said,) = [line for line in card.splitlines() if line.startswith("These networks")]
    assert said.startswith("These networks were not trained as the recipe says, but so: 2 fresh ")
    assert "(mlp), 30 steps of Adam" in said
    # Whether two functions are the same network, nobody knows.
    unsaved = replace(as_it_says, architecture=None)
    card = replace(data, recipe=unsaved).card(replace(result(), recipe=unsaved))
    assert "The networks were of a kind that is not saved." in card.splitlines()


def test_a_claim_goes_with_its_recipe_and_labels():
    digits = load_distilled("digits")
    claim = "Test accuracy: **93.3 ± 0.9 % (10 networks)**"
    recipe = digits.recipe
    for same in (digits, digits.with_hard_labels(), digits.with_protocol("recipe")):
        assert claim in same.card()
    assert claim in replace(digits, recipe=replace(recipe, n_networks=3)).card()
    soft = replace(digits, y=np.eye(10))
    changed = [
        digits.with_protocol("dm"),
        soft.with_hard_labels(),
        replace(digits, recipe=replace(recipe, architecture="mlp")),
        replace(digits, recipe=replace(recipe, steps=100)),
        replace(digits, recipe=replace(recipe, augmentation="flip_rotate")),
        replace(digits, recipe=replace(recipe, learning_rate=0.01)),
        replace(digits, recipe=replace(recipe, loss="mse")),
    ]
    for other in changed:
        assert "Test accuracy: not given." in other.card()
        assert other.provenance["about"]["class_names"] == digits.provenance["about"]["class_names"]
    assert claim in digits.card()  # as it was


def test_a_claim_is_kept_where_a_distiller_has_learned_rate_or_labels():
    digits = load_distilled("digits")
    parameters = {**digits.provenance["parameters"], "augmentation": "Flip()"}
    digits = replace(digits, provenance={**digits.provenance, "parameters": parameters})
    recipe = replace(digits.recipe, augmentation={"class": "Flip", "p": 0.5})
    for learned in (
        {"optimizer": "sgd", "learning_rate": 0.3},
        {"loss": "mse", "targets": "centered"},
    ):
        card = replace(digits, recipe=replace(recipe, **learned)).card()
        assert "Test accuracy: **93.3" in card


def test_what_is_said_of_a_set_from_arrays_is_said_of_its_protocol():
    claim = {"mean": 0.5, "std": 0.1, "n_networks": 3}
    made = DistilledDataset.from_arrays(
        np.eye(4), [0, 1, 0, 1], protocol="bptt", provenance={"about": {"test_accuracy": claim}}
    )
    assert "Test accuracy: **50.0 ± 10.0 % (3 networks)**" in made.card()
