"""The commands together, and how errors and warnings look in a terminal."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import click

from .._version import __version__
from ..exceptions import DivergenceError, LostProcessError
from .compare import compare
from .distill import distill
from .doctor import doctor
from .evaluate import evaluate
from .export import export
from .info import info
from .show import show
from .wording import in_options

__all__ = ["commands"]

# What the package and Python raise for input that is not as it should be.
_INVALID = (ValueError, FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError)
# What else says by itself what is wrong. Other errors are surprises.
_TOLD = (*_INVALID, DivergenceError, ImportError, LostProcessError, OSError)


class InvalidInput(click.ClickException):
    """An error in what the user gave."""

    exit_code = 2


class Failed(click.ClickException):
    """A command that could not do its work."""

    exit_code = 1


class Interrupted(click.ClickException):
    """Ctrl-C or, in a run, SIGTERM or SIGHUP."""

    # What shells give a command that SIGINT ended.
    exit_code = 130


class Commands(click.Group):
    """A group whose commands end with a line and an exit code instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        with _plain_warnings():
            try:
                return super().invoke(ctx)
            except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
                raise  # click's own, and a reader that has gone away
            except KeyboardInterrupt as error:
                raise Interrupted(_with_notes("interrupted.", error)) from error
            except Exception as error:
                if ctx.params["traceback"]:
                    raise
                kind = InvalidInput if isinstance(error, _INVALID) else Failed
                raise kind(_with_notes(_in_words(error), error)) from error


def _in_words(error: Exception) -> str:
    text = in_options(str(error)) or type(error).__name__
    if isinstance(error, _TOLD):
        return text
    # Perhaps a fault of this package: its kind is told, too.
    return f"{type(error).__name__}: {text}\n(skdistill --traceback COMMAND ... shows where.)"


def _with_notes(text: str, error: BaseException) -> str:
    """Return a text with what was added to an error on its way: where its run is kept, say."""
    return "\n".join([text, *map(in_options, getattr(error, "__notes__", []))])


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show warnings as lines, without the place in the source that they come from."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        click.echo(f"Warning: {in_options(str(message))}", err=True)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="skdistill")
@click.option("--traceback", is_flag=True, help="Show errors with Python's traceback.")
def commands(traceback: bool) -> None:
    """Distill data sets, and look at, judge and pass on what comes out.

    COMMAND --help says more. Exit codes: 0 if all went well, 1 if a run failed, 2 if the input is
    invalid, 130 after Ctrl-C.
    """


for command in (distill, evaluate, compare, show, export, info, doctor):
    commands.add_command(command)
