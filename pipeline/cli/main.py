"""The `maskstream` command: one verb a file, errors as one line, exit codes as documented.

0 complete or drained; 2 bad input or configuration, one unreadable source included; 1 the rest.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, NoReturn

import typer

from pipeline._version import __version__
from pipeline.cli import bench, check, demo, doctor, evaluate, models, retrack, run, track, train
from pipeline.errors import MaskstreamError
from pipeline.secrets import mask_url, scrub

app = typer.Typer(
    name="maskstream",
    help="Camera and file streams in, tracked pixel-exact instance masks out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"maskstream {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Camera and file streams in, tracked pixel-exact instance masks out."""


app.command("demo")(demo.demo)
app.command("track")(track.track)
app.command("run")(run.run)
app.command("check")(check.check)
app.command("models")(models.models)
app.command("doctor")(doctor.doctor)
app.command("retrack")(retrack.retrack)
app.command("train")(train.train)
app.add_typer(evaluate.app, name="eval")
app.add_typer(bench.app, name="bench")


def main() -> NoReturn:
    """Run the command line; never shows a traceback for a user's mistake."""
    try:
        app()
    except MaskstreamError as error:
        print(f"maskstream: {mask_url(scrub(str(error)))}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(0)
