"""Arguments and options that several commands have, and checks of the files that they write."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .._files.paths import expanded

if TYPE_CHECKING:
    from ..evaluation import EvaluationResult

__all__ = [
    "Size",
    "as_json",
    "check_output",
    "device",
    "existing",
    "ipc",
    "json_flag",
    "networks",
    "new_file",
    "new_path",
    "overwrite",
    "parse_size",
    "set_argument",
    "size",
    "target",
    "write_text",
]

# As `load_image_folder` takes it: squares that are cut out, or a height and a width to stretch to.
Size = int | tuple[int, int]


def parse_size(context: click.Context, parameter: click.Parameter, text: str | None) -> Size | None:
    """Return what --size says."""
    if text is None:
        return None
    sides = text.split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise click.BadParameter(f"{text!r} must be a side in pixels, or HEIGHTxWIDTH.")
    return int(sides[0]) if len(sides) == 1 else (int(sides[0]), int(sides[1]))


class NewPath(click.Path):
    """A path to write to; if it begins with a home folder, that is known."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path as it is given."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        try:
            expanded(path)
        except FileNotFoundError as error:
            self.fail(str(error), param, ctx)
        return path


existing = click.Path(exists=True, path_type=Path)
new_path = NewPath(path_type=Path)
new_file = NewPath(dir_okay=False, path_type=Path)

set_argument = click.argument(
    "set_file",
    metavar="SET",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
target = click.option(
    "--target",
    metavar="COLUMN",
    help="The column of a table that holds the labels; by default the one that the set knows.",
)
size = click.option(
    "--size",
    metavar="PIXELS",
    callback=parse_size,
    help="How pictures of a folder get the size of the set's: cut to squares with this side, or "
    "stretched to HEIGHTxWIDTH; by default as the set knows.",
)
ipc = click.option(
    "--ipc",
    type=int,
    help="Take only the first samples of the set, as many of each class.",
)
networks = click.option(
    "--networks",
    "n_networks",
    type=int,
    help="Networks to train; by default as many as the set's recipe says.",
)
device = click.option("--device", help='Where to compute: "auto", "cpu", "cuda", "cuda:1", ...')
overwrite = click.option("--overwrite", is_flag=True, help="Replace a file that exists.")
json_flag = click.option("--json", "in_json", is_flag=True, help="Print JSON.")


def check_output(path: Path, overwrite: bool, *inputs: Path | None) -> Path:
    """Return where a file is to be written, with ``~`` expanded and links followed.

    Raise an error if it cannot be written, or if it is one of the files or folders that the same
    command reads: before the work that it is to hold.
    """
    from .._files.npz import place_of

    place = place_of(path)
    # First of all, because the advice to overwrite would be a bad one.
    if any(each is not None and _is_at(place, each) for each in inputs):
        raise click.UsageError(f"{path} is read by this command; give another file.")
    if place.is_dir():
        raise IsADirectoryError(f"{path} must be a file; it is a folder.")
    if place.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; --overwrite replaces it.")
    if not os.access(place.parent, os.W_OK):
        raise PermissionError(f"{path} cannot be written: its folder is read-only.")
    return place


def _is_at(place: Path, path: Path) -> bool:
    """Return whether a path leads to a place."""
    try:
        path = expanded(path).resolve()
    except RuntimeError:
        return False  # a circle of links, as in `place_of`
    # By a second name of the same file, too: a hard link, or one in other letters.
    return path == place or (path.exists() and place.exists() and path.samefile(place))


def write_text(place: Path, text: str) -> None:
    """Write a file completely or not at all."""
    from .._files.npz import partial_file

    with partial_file(place) as partial:
        partial.write_text(text, encoding="utf-8")


def as_json(result: "EvaluationResult") -> dict[str, Any]:
    """Return an evaluation as JSON has it."""
    return {
        "mean": result.mean,
        "std": result.std,
        "accuracies": result.accuracies.tolist(),
        "steps": int(result.steps[-1]),
        "n_samples": result.n_samples,
        "n_diverged": result.n_diverged,
    }
