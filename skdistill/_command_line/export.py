"""``skdistill export``: a set as files that other programs read."""

from pathlib import Path

import click

from .options import check_output, ipc, new_path, overwrite, set_argument
from .reading import load_set

__all__ = ["export"]

_TABLES = (".csv", ".parquet")


@click.command()
@set_argument
@click.argument("output", metavar="FOLDER_OR_TABLE", type=new_path)
@ipc
@click.option(
    "--encoded",
    is_flag=True,
    help="Write a table as networks see it, and not with the columns of the file that it was "
    "distilled from.",
)
@click.option(
    "--value-range",
    metavar="LOW HIGH",
    type=float,
    nargs=2,
    help="The values of images that become black and white; by default the least and the greatest.",
)
@overwrite
def export(
    set_file: Path,
    output: Path,
    ipc: int | None,
    encoded: bool,
    value_range: tuple[float, float] | None,
    overwrite: bool,
) -> None:
    """Write a set as a table, or as a folder of pictures.

    A name that ends in .csv or .parquet is that of a table. Any other is that of a folder, which
    gets a folder of PNG files for each class, and a table of all labels.
    """
    from .._files.npz import partial_file

    is_table = output.suffix.lower() in _TABLES
    if is_table and value_range is not None:
        raise click.UsageError("--value-range is for folders of pictures.")
    if encoded and not is_table:
        raise click.UsageError("--encoded is for tables: .csv or .parquet.")
    place = check_output(output, overwrite, set_file) if is_table else output.expanduser()
    distilled = load_set(set_file, ipc)
    if is_table:
        frame = distilled.to_frame(original=not encoded)
        with partial_file(place) as partial:
            if output.suffix.lower() == ".csv":
                frame.to_csv(partial, index=False)
            else:
                frame.to_parquet(partial, index=False)
    elif not distilled.recipe.layout.is_image:
        raise click.UsageError(
            f"{output} must end in {' or '.join(_TABLES)}: the set has table rows."
        )
    elif place.is_dir() and any(place.iterdir()) and not overwrite:
        raise FileExistsError(f"{output} is not empty; --overwrite replaces an earlier export.")
    else:
        distilled.export_images(place, value_range=value_range, overwrite=overwrite)
    click.echo(f"Wrote {output}: {len(distilled)} samples.")
