"""``skdistill doctor``: what is wrong with a set, and what to do about it."""

from pathlib import Path

import click

from .options import (
    Size,
    check_output,
    existing,
    ipc,
    json_flag,
    new_file,
    overwrite,
    set_argument,
    size,
    target,
    write_text,
)
from .reading import load_set, read_for

__all__ = ["doctor"]


@click.command()
@set_argument
@click.argument("data", metavar="FOLDER_OR_CSV", type=existing)
@target
@size
@click.option(
    "--train",
    metavar="FOLDER_OR_CSV",
    type=existing,
    help="The training data: the set is then compared with centroids of k-means.",
)
@ipc
@json_flag
@click.option("--html", metavar="FILE", type=new_file, help="Write the findings as a page.")
@overwrite
def doctor(
    set_file: Path,
    data: Path,
    target: str | None,
    size: Size | None,
    train: Path | None,
    ipc: int | None,
    in_json: bool,
    html: Path | None,
    overwrite: bool,
) -> None:
    """Look for faults of a set, with test data: each with its evidence and its remedy."""
    import skdistill

    page = None if html is None else check_output(html, overwrite, set_file, data, train)
    distilled = load_set(set_file, ipc)
    training = () if train is None else read_for(distilled, train, target, size=size)
    test = read_for(distilled, data, target, size=size)
    diagnosis = skdistill.diagnose(distilled, *test, *training)
    # First, in case that the page cannot be written after all.
    click.echo(diagnosis.to_json() if in_json else str(diagnosis))
    if page is not None:
        write_text(page, diagnosis.to_html())
