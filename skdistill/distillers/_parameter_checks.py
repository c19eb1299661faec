"""Checks of parameters that several distillers have."""

__all__ = ["check_classes_per_step", "check_inner_batch_size", "check_rate"]


def check_rate(outer_optimizer: str, learning_rate: float | str, paper_rate: str) -> None:
    """Raise ValueError if gradient descent has no learning rate; ``paper_rate`` is an example."""
    if outer_optimizer == "sgd" and learning_rate == "auto":
        raise ValueError(
            "learning_rate='auto' must be a number with outer_optimizer='sgd', whose steps are as "
            f'long as the gradients: {paper_rate}. "auto" is made for Adam\'s steps.'
        )


def check_inner_batch_size(inner_batch_size: int | None, ipc: int) -> None:
    """Raise ValueError if an inner step is to have more samples of a class than there are."""
    if inner_batch_size is not None and inner_batch_size > ipc:
        raise ValueError(
            f"inner_batch_size={inner_batch_size} must be at most ipc={ipc}: it counts synthetic "
            "samples per class."
        )


def check_classes_per_step(classes_per_step: int | None, n_classes: int) -> None:
    """Raise ValueError if an inner step is to have more classes than there are."""
    if classes_per_step is not None and classes_per_step > n_classes:
        raise ValueError(
            f"classes_per_step={classes_per_step} must be at most {n_classes}, the number of "
            "classes in y."
        )
