"""``skdistill evaluate``: the test accuracy of networks trained on a set."""

import json
from pathlib import Path

import click

from .options import (
    Size,
    as_json,
    check_output,
    device,
    existing,
    ipc,
    json_flag,
    networks,
    new_file,
    overwrite,
    set_argument,
    size,
    target,
    write_text,
)
from .reading import load_set, read_for

__all__ = ["evaluate"]


@click.command()
@set_argument
@click.argument("data", metavar="FOLDER_OR_CSV", type=existing)
@target
@size
@ipc
@click.option(
    "--protocol",
    metavar="NAME",
    help='How a paper judges sets: "dm", "frepo", ... By default, the set\'s own recipe.',
)
@networks
@click.option("--steps", type=int, help="Steps that train each network.")
@click.option("--architecture", metavar="NAME", help='The networks: "convnet", "resnet18", ...')
@device
@click.option(
    "--card", metavar="FILE", type=new_file, help="Write the set's card with the accuracy."
)
@json_flag
@overwrite
def evaluate(
    set_file: Path,
    data: Path,
    target: str | None,
    size: Size | None,
    ipc: int | None,
    protocol: str | None,
    n_networks: int | None,
    steps: int | None,
    architecture: str | None,
    device: str | None,
    card: Path | None,
    in_json: bool,
    overwrite: bool,
) -> None:
    """Train fresh networks on a set, and test them on real data.

    Give data that the set was not distilled from. Nothing is chosen on it: how networks are trained
    stands in the set.
    """
    from ..evaluation import evaluate as judge

    page = None if card is None else check_output(card, overwrite, set_file, data)
    distilled = load_set(set_file, ipc)
    X, y = read_for(distilled, data, target, size=size)
    result = judge(
        distilled,
        X,
        y,
        protocol=protocol,
        n_networks=n_networks,
        steps=steps,
        architecture=architecture,
        device="auto" if device is None else device,
    )
    # First, in case that the card cannot be written after all.
    click.echo(json.dumps(as_json(result), indent=2) if in_json else f"Test accuracy: {result}")
    if page is not None:
        write_text(page, distilled.card(result))
        if not in_json:
            click.echo(f"Wrote {card}.")
