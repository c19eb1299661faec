"""``skdistill compare``: sets beside each other, and beside real samples."""

import json
from pathlib import Path

import click

from .options import Size, as_json, device, existing, json_flag, networks, size, target
from .reading import check_same_columns, load_set, read_for

__all__ = ["BASELINES", "compare"]

# What `skdistill.evaluation.compare` calls the baselines.
BASELINES = {
    "random": "random real samples",
    "herding": "herding",
    "k-means": "k-means centroids",
    "whole": "whole training set",
}


@click.command()
@click.argument(
    "set_files",
    metavar="SET...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--train",
    metavar="FOLDER_OR_CSV",
    type=existing,
    required=True,
    help="The training data, from which the baselines choose.",
)
@click.option(
    "--test", metavar="FOLDER_OR_CSV", type=existing, required=True, help="The test data."
)
@target
@size
@click.option(
    "--protocol",
    "protocols",
    metavar="NAME",
    multiple=True,
    help='How to judge the sets: "recipe", or by a paper: "dm", "frepo", ... May be repeated.',
)
@click.option(
    "--baseline",
    "baselines",
    type=click.Choice(list(BASELINES)),
    multiple=True,
    default=("random", "herding", "k-means"),
    show_default=True,
    help="What to compare with. May be repeated.",
)
@networks
@device
@json_flag
def compare(
    set_files: tuple[Path, ...],
    train: Path,
    test: Path,
    target: str | None,
    size: Size | None,
    protocols: tuple[str, ...],
    baselines: tuple[str, ...],
    n_networks: int | None,
    device: str | None,
    in_json: bool,
) -> None:
    """Compare sets with each other, and with as many real samples.

    Networks are trained on all of them in the same way. Real samples are as many per class as the
    first set has.
    """
    from ..evaluation import compare as judge

    # Files of one name lie in several folders.
    short = len({path.stem for path in set_files}) == len(set_files)
    sets = {path.stem if short else str(path): load_set(path) for path in set_files}
    if len(sets) < len(set_files):
        raise click.UsageError("Each set must be given once.")
    check_same_columns(sets.values())
    first, *others = sets.values()
    comparison = judge(
        sets,
        *read_for(first, train, target, others, size),
        *read_for(first, test, target, others, size),
        protocols=protocols or None,
        baselines=[BASELINES[name] for name in baselines],
        n_networks=n_networks,
        device="auto" if device is None else device,
    )
    if not in_json:
        click.echo(comparison)
        return
    found: dict[str, dict[str, object]] = {}
    for key, result in comparison.results.items():
        row, way = key if isinstance(key, tuple) else (key, "recipe")
        found.setdefault(row, {})[way] = as_json(result)
    click.echo(json.dumps(found, indent=2))
