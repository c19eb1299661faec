"""What the estimators say, in the words of the command line."""

import click

from .parameters import BOOSTED

__all__ = ["in_options"]

# What to do, as one would in Python, and by an option; {0} is the way to a block's parameters.
_WAYS = {
    "checkpoint=PATH keeps": "--checkpoint PATH keeps",
    "a lower max_iter,": "a lower max_iter (--set {0}max_iter=N),",
    "A larger validation_interval, or fewer eval_steps, take": "A larger validation_interval "
    "(--set {0}validation_interval=N), or fewer eval_steps, take",
    "fit with the same parameters and data goes on": "the same command goes on",
    # Of pictures, gray ones are never in doubt.
    "Pass image_shape=(channels, height, width).": "Add --set '{0}image_shape=(3,HEIGHT,WIDTH)'.",
}


def in_options(text: str) -> str:
    """Return a message with options in place of the code that does the same in Python."""
    context = click.get_current_context(silent=True)
    method = None if context is None else context.params.get("method")
    prefix = "distiller__" if method == BOOSTED else ""
    for code, option in _WAYS.items():
        text = text.replace(code, option.format(prefix))
    return text
