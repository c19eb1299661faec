"""``skdistill distill``: from a folder or a table to a set in a file."""

from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

import click

from .._data.wording import reason
from .._files.paths import expanded
from ..exceptions import DivergenceError
from .options import Size, check_output, device, existing, new_file, new_path, overwrite, parse_size
from .parameters import BOOSTED, METHODS, make_distiller, parse_settings
from .pictures import size_text
from .progress import progress_bar
from .reading import Training, read_training

__all__ = ["distill"]


@click.command()
@click.argument("source", metavar="FOLDER_OR_CSV", type=existing)
@click.option("--target", metavar="COLUMN", help="The column of a table that holds the labels.")
@click.option(
    "--drop",
    metavar="COLUMN",
    multiple=True,
    help="Leave a column of a table out. May be repeated.",
)
@click.option(
    "--size",
    metavar="PIXELS",
    callback=parse_size,
    help="Cut pictures to squares with this side, or stretch them to HEIGHTxWIDTH. Without it, "
    "they must all have one size.",
)
@click.option("--gray", is_flag=True, help="Make pictures gray.")
@click.option(
    "--method",
    type=click.Choice(list(METHODS)),
    default="rat-bptt",
    show_default=True,
    help="How to distill.",
)
@click.option("--ipc", type=int, help="Synthetic samples per class.")
@click.option(
    "--seed",
    type=int,
    help="The same seed gives the same set, with the same versions, kind of processor and number "
    "of threads.",
)
@click.option(
    "--set",
    "settings",
    metavar="NAME=VALUE",
    multiple=True,
    help="A parameter of the distiller: max_iter=2000 for a longer run, init=kmeans. May be "
    "repeated.",
)
@click.option(
    "--checkpoint",
    type=new_path,
    help="Keep the run in this file; the same command goes on from it. (A folder for boosted.)",
)
@device
@click.option(
    "--estimate", is_flag=True, help="Only say how long it would take, and how much memory."
)
@click.option("-o", "--output", metavar="FILE", type=new_file, help="Where to write the set.")
@overwrite
def distill(
    source: Path,
    target: str | None,
    drop: tuple[str, ...],
    size: Size | None,
    gray: bool,
    method: str,
    ipc: int | None,
    seed: int | None,
    settings: tuple[str, ...],
    checkpoint: Path | None,
    device: str | None,
    estimate: bool,
    output: Path | None,
    overwrite: bool,
) -> None:
    """Distill a training set to a few samples per class.

    It is a folder with a folder of pictures for each class, or a CSV file. Columns of text become
    categories, and gaps in columns of numbers the mean; the set's samples have the columns of the
    file.
    """
    if output is None and not estimate:
        raise click.UsageError("Missing option '-o' / '--output', the file for the set.")
    device_name = "distiller__device" if method == BOOSTED else "device"
    given = {"ipc": ipc, "random_state": seed, "checkpoint": checkpoint, device_name: device}
    distiller = make_distiller(method, given, parse_settings(settings))
    if output is not None:
        place = check_output(output, overwrite, source, checkpoint)
        if checkpoint is not None and place.parent == expanded(checkpoint).resolve():
            raise click.UsageError(f"{output} is in the folder of checkpoints; give another file.")
    training = read_training(source, target, drop, size, gray)
    numbers = training.X
    # Step by step, because the bar is the distiller's alone.
    if training.encoder is not None:
        numbers = training.encoder.fit_transform(numbers)
    if estimate or output is None:
        click.echo(distiller.estimate(numbers, training.y))
        return

    from .._engine.group import join_group
    from .._run.interruption import signals_interrupt

    def save(path: Path, restores: bool = True) -> Any:
        about = {"data": source.resolve().name}
        if size is not None:
            # Test pictures are to be read in the same way.
            about["size"] = size_text(size)
        distilled = _distilled(distiller, training, about, restores)
        # Once more, because another command may have written it in the hours of a run. The
        # processes of one run, under torchrun, have the same set.
        check_output(path, overwrite or join_group().size > 1)
        distilled.save(path)
        return distilled

    # Without a checkpoint, too: the samples are worth more than a minute.
    with signals_interrupt():
        _fit(distiller, numbers, training.y, save, output, keeps_run=checkpoint is not None)
        try:
            distilled = save(output)
        except BaseException as error:
            _save_elsewhere(save, error, output)
            raise
    click.echo(f"Wrote {output}: {len(distilled)} samples, {distilled.ipc} per class.")


def _fit(
    distiller: Any,
    X: Any,
    y: Any,
    save: Callable[..., object],
    output: Path,
    keeps_run: bool,
) -> None:
    """Fit with a bar; if the run ends early, save its samples, or say how to have them."""
    try:
        with progress_bar(distiller):
            distiller.fit(X, y)
    except KeyboardInterrupt as error:
        # A checkpoint keeps the run, and the same command, which goes on, must find no set.
        if not (keeps_run and _is_kept(distiller)):
            _save_what_is_there(save, distiller, error, output, "was interrupted")
        elif (way := _way_to_a_set(distiller)) is not None:
            error.add_note(way)
        raise
    except Exception as error:
        diverged = isinstance(error, DivergenceError)
        # Here, too, unless the same command would only diverge again.
        if diverged or not (keeps_run and _is_kept(distiller)):
            ending = "diverged" if diverged else "failed"
            _save_what_is_there(save, distiller, error, output, ending)
        raise


def _save_elsewhere(save: Callable[..., object], error: BaseException, output: Path) -> None:
    """Save the samples where temporary files are, and add to the error where that is.

    They may have taken hours, and the disk may be full since.
    """
    folder = Path(mkdtemp(prefix="skdistill-"))
    rescue = folder / output.name
    failures = []
    for restores, what in ((True, "samples"), (False, "samples, with the columns of networks,")):
        try:
            save(rescue, restores)
        except Exception as failure:
            failures.append(failure)
        else:
            error.add_note(f"The {what} are in {rescue}.")
            return
    rmtree(folder, ignore_errors=True)
    error.add_note(f"The samples are lost: {reason(failures[0])}")


def _save_what_is_there(
    save: Callable[..., object], distiller: Any, error: BaseException, output: Path, ending: str
) -> None:
    """Save the samples of a run that ended early, if it has any; `error` says how it ended."""
    if not hasattr(distiller, "distilled_"):
        return
    try:
        save(output)
    except BaseException as failure:
        # Not in place of the error that ended the run.
        _save_elsewhere(save, failure, output)
        notes = " ".join(failure.__notes__)
        error.add_note(f"{output} was not written: {reason(failure).rstrip('.')}. {notes}")
        return
    click.echo(
        f"Wrote {output}: samples of outer step {distiller.n_iter_}; the run {ending}.",
        err=True,
    )


def _is_kept(distiller: Any) -> bool:
    """Return whether the checkpoint has the last step of a run; its disk may be full."""
    from .._run.run_file import steps_in

    # Of a boosted run, that of the block in progress.
    run = getattr(distiller, "distiller_", distiller)
    n_steps = getattr(run, "n_iter_", None)
    return n_steps is None or steps_in(expanded(run.checkpoint)) == n_steps


def _way_to_a_set(distiller: Any) -> str | None:
    """Return how to get a set of what an interrupted run has kept; None if that is nothing."""
    from ..learning_rates import resolve_rate_schedule

    other = "another file for -o, so that the same command can go on later"
    if (budgets := getattr(distiller, "budgets_", None)) is not None:
        # Not of the block in progress: the finished ones refuse a max_iter that they have passed.
        if not budgets:
            return None
        return (
            f"The same command with --ipc {budgets[-1]} writes the set of the finished blocks; "
            f"give it {other}."
        )
    if not hasattr(distiller, "distilled_"):
        return None
    rates = distiller.learning_rate_schedule
    if resolve_rate_schedule(rates).uses_max_iter:
        return (
            "No set can be made of it before the end, because the learning rates of its steps "
            f"depend on max_iter: learning_rate_schedule={rates!r}."
        )
    return (
        f"The same command with --set max_iter={distiller.n_iter_}, in place of its own if it has "
        f"one, writes the set of these steps; give it {other}."
    )


def _distilled(distiller: Any, training: Training, about: dict[str, str], restores: bool) -> Any:
    """Return the set of a distiller, with what is known about the training set.

    It restores the columns of the file or, if it is not to, has those that networks see.
    """
    from dataclasses import replace

    from sklearn.pipeline import make_pipeline

    from ..distilled import DistilledDataset

    distilled, encoder = distiller.distilled_, training.encoder
    if restores and encoder is not None:
        distilled = DistilledDataset.from_pipeline(make_pipeline(encoder, distiller), training.X)
    return replace(distilled, provenance={**distilled.provenance, "about": about})
