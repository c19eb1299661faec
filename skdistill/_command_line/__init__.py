"""The command ``skdistill``: a thin layer over the estimators.

Its modules import click, and anything heavy only inside a command, so that help comes at once.
"""

__all__ = ["main"]


def main() -> None:
    """Run the command line; the process ends with its exit code."""
    try:
        from .app import commands
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        raise SystemExit('The command line needs click: pip install "skdistill[cli]".') from error
    commands()
