"""A distilled set's card: a page of Markdown to pass on with the file."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ._front_matter import check_license
from ._known import accuracy, class_texts, mapping, network, protocol, short, storage

if TYPE_CHECKING:
    from ..evaluation._protocol import EvaluationResult
    from ._dataset import DistilledDataset
    from ._recipe import EvaluationRecipe

# Class names beyond these are left out.
_CLASSES = 50


def render(
    distilled: "DistilledDataset",
    result: "EvaluationResult | None" = None,
    *,
    license: str | None = None,
    repo_id: str | None = None,
    picture: str | None = None,
) -> str:
    """Return the card; see `DistilledDataset.card`.

    Parameters
    ----------
    distilled, result, license
        As there.
    repo_id : str or None, default=None
        Where the set is on the Hugging Face Hub.
    picture : str or None, default=None
        The file of a `sheet` beside the card.
    """
    sections = {
        "What it is": _what(distilled),
        "Load it": _load(distilled, repo_id),
        "How well networks do": _how_well(distilled, result),
        "How it was made": _how_made(distilled),
        "License": None if license is None else _license(check_license(license)),
        "What to know": _caveats(distilled),
    }
    parts = [f"# {title(distilled)}"]
    if picture is not None:
        parts.append(f"![The first samples]({picture})")
    parts += [f"## {name}\n\n{text}" for name, text in sections.items() if text is not None]
    return "\n\n".join(parts) + "\n"


def title(distilled: "DistilledDataset") -> str:
    """Return what a set is, in one line."""
    n, kind = len(distilled), "images" if distilled.recipe.layout.is_image else "table rows"
    return f"{n} distilled {kind} of {len(distilled.classes)} classes"


def _what(distilled: "DistilledDataset") -> str:
    X, about = distilled.X, mapping(distilled.provenance.get("about"))
    names = class_texts(distilled)
    if len(names) > _CLASSES:
        names = [*names[:_CLASSES], f"and {len(names) - _CLASSES} more"]
    rows = {
        "data": about.get("data"),
        "samples": storage(distilled),
        "shape and type of a sample": f"{X.shape[1:]}, {X.dtype}",
        "values": f"from {X.min():.4g} to {X.max():.4g}",
        "classes": ", ".join(names),
        "labels": "learned, soft" if distilled.y.ndim == 2 else "hard",
        "preprocessing": _preprocessing(distilled),
    }
    return _table({name: value for name, value in rows.items() if value is not None})


def _preprocessing(distilled: "DistilledDataset") -> str:
    kept, note = distilled.preprocessing, mapping(distilled.provenance.get("about"))
    if kept is not None:
        return f"kept with the set: {short(kept, 300)}"
    if note.get("preprocessing") is not None:
        return short(note["preprocessing"], 600)
    return "none that is kept with the set"


def _load(distilled: "DistilledDataset", repo_id: str | None) -> str:
    name = _name_if_ready(distilled)
    more = ""
    if repo_id is not None:
        lines = [
            "from skdistill import DistilledDataset",
            "",
            f'distilled = DistilledDataset.from_hub("{repo_id}")  # runs no code',
        ]
        more = (
            "\n\n`from_hub` needs the package huggingface_hub. With `revision=`, the hash of a "
            "commit, it loads these samples even if others are pushed later. The file is an "
            "archive of plain arrays, which `numpy.load` opens as well."
        )
    elif name is not None:
        lines = [
            "from skdistill.datasets import load_distilled",
            "",
            f'distilled = load_distilled("{name}", ipc={distilled.ipc})',
        ]
    else:
        needs = "NumPy alone" if distilled.preprocessing is None else "NumPy and scikit-learn"
        lines = [
            "from skdistill import DistilledDataset",
            "",
            f'distilled = DistilledDataset.load("set.npz")  # runs no code, needs {needs}',
        ]
    lines += [
        "samples, labels = distilled.to_torch().tensors",
        "X_real, y_real = distilled.standardize(X_test), distilled.encode_labels(y_test)",
    ]
    return "\n".join(["```python", *lines, "```"]) + more


def _name_if_ready(distilled: "DistilledDataset") -> str | None:
    """Return the name by which `load_distilled` loads this very set, or None if it does not.

    The file is not read for it: what has been changed since is told by what the set says of itself.
    """
    provenance, recipe = distilled.provenance, distilled.recipe
    name = mapping(provenance.get("about")).get("name")
    if not isinstance(name, str) or not re.fullmatch("[a-z0-9-]+", name):
        return None
    # A set that comes with the package claims an accuracy: not a part of it, and not by another
    # way to train networks.
    if accuracy(distilled) is None:
        return None
    # By these the claim is not judged.
    made = mapping(provenance.get("parameters"))
    is_as_made = (
        (recipe.n_networks, recipe.seed) == (made.get("n_networks"), provenance.get("seed"))
        and (distilled.y.ndim == 2) == made.get("learn_labels")
        and distilled.preprocessing is None
    )
    return name if is_as_made else None


def _how_well(distilled: "DistilledDataset", result: "EvaluationResult | None") -> str:
    if result is not None:
        if not hasattr(result, "accuracies") or not hasattr(result, "n_samples"):
            raise TypeError(f"result must be an EvaluationResult or None; got {result!r:.200}.")
        if result.n_samples != len(distilled):
            raise ValueError(
                f"result must be of this set, which has {len(distilled)} samples; networks were "
                f"trained on {result.n_samples}."
            )
    said = accuracy(distilled) if result is None else str(result)
    lines = [f"Test accuracy: **{said}**"] if said is not None else ["Test accuracy: not given."]
    if result is not None:
        lines += _in_another_way(distilled, result)
    lines.append(
        f"The recipe, fixed before any test data is seen: {_escaped(protocol(distilled))}."
    )
    return "\n\n".join(lines)


def _in_another_way(distilled: "DistilledDataset", result: "EvaluationResult") -> list[str]:
    """Return a line that says how networks were trained, unless it was as the recipe says."""
    recipe = result.recipe
    if recipe is None:  # in pickles of earlier versions
        if result.steps[-1] == distilled.recipe.steps:
            return []
        n = result.steps[-1]
        return [f"These networks were trained for {n} steps, and not as the recipe says."]
    if _training(recipe) == _training(distilled.recipe):
        # Functions have no form in which they could be compared.
        return ["The networks were of a kind that is not saved."] if not recipe.architecture else []
    how = protocol(replace(distilled, recipe=recipe))
    return [f"These networks were not trained as the recipe says, but so: {_escaped(how)}."]


def _training(recipe: "EvaluationRecipe") -> tuple[object, ...]:
    """Return what counts of a recipe when networks were trained: not how many, or the seed."""
    return recipe.protocol, recipe.architecture, recipe.augmentation


def _how_made(distilled: "DistilledDataset") -> str:
    provenance = distilled.provenance
    about, data = mapping(provenance.get("about")), mapping(provenance.get("training_data"))
    known = {
        "method": provenance.get("method"),
        "script": about.get("script"),
        "training data": about.get("training_data"),
        "its shape and type": f"{data['shape']}, {data.get('dtype')}" if "shape" in data else None,
        "its fingerprint, joblib.hash((X, y))": data.get("fingerprint"),
        "outer steps": provenance.get("n_iter"),
        "seconds": _rounded(provenance.get("seconds")),
        "device": provenance.get("device"),
        "seed": provenance.get("seed"),
    }
    known |= {f"{name} (version)": v for name, v in mapping(provenance.get("versions")).items()}
    known |= {f"{name} (parameter)": v for name, v in mapping(provenance.get("parameters")).items()}
    # A parameter may be None, which means something.
    rows = {
        name: value
        for name, value in known.items()
        if value is not None or name.endswith("(parameter)")
    }
    return _table(rows) if rows else "Not known."


def _license(text: str) -> str:
    said = f"**{_escaped(text)}**"
    if text.lower() == "unknown":
        said += " to whoever wrote this card"
    return (
        f"License of the training data: {said}\n\nThe samples were made from that data, so its "
        "terms may hold for them as well."
    )


def _caveats(distilled: "DistilledDataset") -> str:
    kind = network(distilled)
    made_for = "one kind" if kind is None else f"the kind {_escaped(short(kind, 200))}"
    return "\n".join(
        [
            f"* The samples are made to train networks of {made_for}, for about as many steps as "
            "the recipe says. Others learn less from them.",
            "* Test data must be given the preprocessing that the training data had; `standardize` "
            "does the rest.",
            "* Synthetic samples are functions of the real ones: they are not anonymous.",
        ]
    )


def _rounded(seconds: object) -> object:
    return f"{seconds:.1f}" if isinstance(seconds, float) else seconds


def _table(rows: Mapping[str, object]) -> str:
    lines = [
        f"| {_escaped(name)} | {_escaped(short(value, 4000))} |" for name, value in rows.items()
    ]
    return "\n".join(["| | |", "|---|---|", *lines])


def _escaped(text: object) -> str:
    """Return a line of text that Markdown shows unchanged."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&$])", r"\\\1", short(text, 10_000))
