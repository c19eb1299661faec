"""``skdistill show``: a set's card, and a picture of its images."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import check_output, ipc, new_file, overwrite, set_argument
from .reading import load_set

if TYPE_CHECKING:
    from ..distilled import DistilledDataset

__all__ = ["show"]


@click.command()
@set_argument
@click.option(
    "-o", "--output", metavar="PICTURE", type=new_file, help="Draw the images: set.png, set.pdf."
)
@ipc
@overwrite
def show(set_file: Path, output: Path | None, ipc: int | None, overwrite: bool) -> None:
    """Print a set's card: what it is, how it was made, how to use it.

    evaluate --card writes one with the accuracy.
    """
    if output is None:
        distilled = load_set(set_file, ipc)
    else:
        place = check_output(output, overwrite, set_file)
        distilled = load_set(set_file, ipc)
        # Of a link, the name says the format.
        _draw(distilled, place, output.suffix[1:] or "png")
        # Standard output has the card alone.
        click.echo(f"Wrote {output}.", err=True)
    click.echo(distilled.card(), nl=False)


def _draw(distilled: "DistilledDataset", path: Path, kind: str) -> None:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError('Pictures need matplotlib: pip install "skdistill[cli]".') from error
    from .._files.npz import partial_file
    from ..inspection import DistilledImagesDisplay

    plt.switch_backend("agg")  # no window is to open
    figure = DistilledImagesDisplay.from_distilled(distilled).figure_
    try:
        with partial_file(path) as partial:
            figure.savefig(partial, format=kind)
    finally:
        plt.close(figure)
