"""The verbs of the `maskstream` command, one a file."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline._version import __version__
from pipeline.cli import (
    bench,
    check,
    demo,
    doctor,
    evaluate,
    export,
    models,
    retrack,
    run,
    serve,
    streams,
    tail,
    top,
    track,
    train,
)

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
app.command("serve")(serve.serve)
app.add_typer(streams.app, name="streams")
app.command("top")(top.top)
app.command("check")(check.check)
app.command("tail")(tail.tail)
app.command("models")(models.models)
app.command("doctor")(doctor.doctor)
app.command("retrack")(retrack.retrack)
app.command("train")(train.train)
app.add_typer(evaluate.app, name="eval")
app.add_typer(export.app, name="export")
app.add_typer(bench.app, name="bench")
