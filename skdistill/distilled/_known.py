"""What a distilled set knows of itself, in words: for its card and its look in a notebook.

A set may come from anybody's file: values that are not as they should be are left out, without an
error.
"""

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .._data.wording import percent
from ._protocol import TrainingProtocol

if TYPE_CHECKING:
    from ._dataset import DistilledDataset
    from ._recipe import EvaluationRecipe

__all__ = [
    "accuracy",
    "class_texts",
    "labels",
    "mapping",
    "network",
    "protocol",
    "short",
    "storage",
    "without_accuracy",
]


# Control characters move a terminal's cursor or color its text, and no file holds half of a pair of
# code units. (Not all that `str.isprintable` leaves out: some scripts need what joins letters.)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def mapping(value: object) -> Mapping[str, Any]:
    """Return a mapping as it is, and anything else as an empty one."""
    return value if isinstance(value, Mapping) else {}


def short(value: object, length: int = 40) -> str:
    """Return a value as one line of at most so many characters, all of which can be printed."""
    text = _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", " ".join(str(value).split()))
    return text if len(text) <= length else text[: length - 1] + "…"


def class_texts(distilled: "DistilledDataset") -> list[str]:
    """Return the classes' labels, with their names if the set knows them."""
    names = mapping(distilled.provenance.get("about")).get("class_names")
    texts = [short(label) for label in distilled.classes.tolist()]
    if isinstance(names, list | tuple) and len(names) == len(texts):
        texts = [f"{label} ({short(name)})" for label, name in zip(texts, names)]
    return texts


def labels(distilled: "DistilledDataset", n: int) -> list[str]:
    """Return the labels of the first samples: for learned labels the largest, with its value."""
    texts = class_texts(distilled)
    found = [texts[i] for i in distilled._class_index()[:n]]
    if distilled.y.ndim == 2:
        found = [f"{label}, {row.max():.2f}" for label, row in zip(found, distilled.y)]
    return found


def storage(distilled: "DistilledDataset") -> str:
    """Return the number of samples, and their storage if that differs."""
    ipc, n_classes = distilled.ipc, len(distilled.classes)
    text = f"{len(distilled)}, {ipc} for each of {n_classes} classes"
    if distilled.storage == ipc:
        return text
    return f"{text}; they take the storage of {distilled.storage:.3g} per class"


def network(distilled: "DistilledDataset") -> str | None:
    """Return what the recipe calls its networks, or None if they are not saved."""
    plain = distilled.recipe.architecture
    if not isinstance(plain, dict):
        return plain
    options = ", ".join(f"{name}={value!r}" for name, value in plain.items() if name != "class")
    return f"{plain.get('class')}({options})"


def protocol(distilled: "DistilledDataset") -> str:
    """Return how networks are trained on the set."""
    recipe = distilled.recipe
    kind = network(distilled) or "of a kind that is not saved"
    batches = f", mini-batches of {recipe.batch_size}" if len(distilled) > recipe.batch_size else ""
    augmentation = "no augmentation"
    if recipe.augmentation is not None:
        augmentation = f"augmentation {short(json.dumps(recipe.augmentation), 300)}"
    return (
        f"{recipe.n_networks} fresh networks ({short(kind, 200)}), {recipe.steps} steps of "
        f"{_optimizer(recipe)}{batches}, {augmentation}"
    )


def _optimizer(recipe: "EvaluationRecipe") -> str:
    """Return what a step is: the optimizer, its rate and the loss, without what is usual."""
    stable = recipe.learning_rate == "stable"
    rate = (
        "the largest stable learning rate" if stable else f"learning rate {recipe.learning_rate:g}"
    )
    parts = [f"{'Adam' if recipe.optimizer == 'adam' else 'SGD'} with {rate}"]
    parts += [f"momentum {recipe.momentum:g}"] if recipe.momentum else []
    parts += [f"weight decay {recipe.weight_decay:g}"] if recipe.weight_decay else []
    if recipe.schedule == "cosine":
        parts.append(f"cosine schedule to {recipe.final_factor:g} of it")
    elif recipe.schedule == "step":
        shares = ", ".join(f"{share:.3g}" for share in recipe.milestones)
        parts.append(f"{recipe.gamma:g} times it after {shares} of the steps")
    parts += [f"{recipe.warmup_steps} steps of warm-up"] if recipe.warmup_steps else []
    if recipe.loss == "mse":
        parts.append("squared error")
        parts += [f"labels times {recipe.label_scale:g}"] if recipe.label_scale != 1 else []
    parts += [f"{recipe.targets} labels"] if recipe.targets != "given" else []
    parts += ["scores without the initial ones"] if recipe.subtract_initial else []
    return ", ".join(parts)


def accuracy(distilled: "DistilledDataset") -> str | None:
    """Return the accuracy that the set claims, or None if it claims none."""
    known = mapping(mapping(distilled.provenance.get("about")).get("test_accuracy"))
    try:
        mean, std, n = (known[name] for name in ("mean", "std", "n_networks"))
        if known.get("n_samples", len(distilled)) != len(distilled):
            return None  # of the whole set, of which this is a part
        if not _is_first_recipe(distilled, known):
            return None
        return f"{percent(mean, std, n)} % ({n:d} network{'s' * (n > 1)})"
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _is_first_recipe(distilled: "DistilledDataset", claim: Mapping[str, Any]) -> bool:
    """Return whether the recipe is that of the distiller, by which an accuracy was measured.

    Of a set whose distiller is not known, only a change of the architecture can be told.
    """
    recipe, parameters = distilled.recipe, mapping(distilled.provenance.get("parameters"))
    if claim.get("architecture", recipe.architecture) != recipe.architecture:
        return False
    if "eval_steps" not in parameters:
        return True
    augmentation = parameters.get("augmentation")
    # An object stands there as its text, "Flip()".
    is_object = isinstance(augmentation, str) and not augmentation.isidentifier()
    if recipe.augmentation != augmentation and not (
        is_object and isinstance(recipe.augmentation, Mapping)
    ):
        return False
    # Distillers that learn labels or a learning rate have others of these.
    learned = {name: getattr(recipe, name) for name in ("loss", "optimizer")}
    if recipe.loss == "mse":
        learned["targets"] = "centered"
    if recipe.optimizer == "sgd":
        learned["learning_rate"] = recipe.learning_rate
    return recipe.protocol == TrainingProtocol(parameters["eval_steps"], **learned)


def without_accuracy(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return a provenance without the accuracy that it claims."""
    about = mapping(provenance.get("about"))
    if "test_accuracy" not in about:
        return dict(provenance)
    return {**provenance, "about": {k: v for k, v in about.items() if k != "test_accuracy"}}
