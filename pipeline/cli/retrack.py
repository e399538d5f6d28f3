"""`maskstream retrack`: follow recorded detections again, without model or GPU."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.home import home
from pipeline.cli.telling import give_lines


def retrack(
    source: Annotated[
        Path, typer.Argument(callback=home, metavar="INPUT", help="Records, MOTS text or MOT text.")
    ],
    format: Annotated[str, typer.Option("--format", help="mots, mot or jsonl.")],
    output: Annotated[
        Path, typer.Option(callback=home, metavar="FILE", help="Same format, with ids.")
    ],
    fps: Annotated[float | None, typer.Option(help="Frames a second of the input.")] = None,
    image_size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Picture size, for MOT text.")
    ] = None,
    affines: Annotated[
        Path | None,
        typer.Option(callback=home, metavar="FILE", help="Camera motion, 2x3 numbers a line."),
    ] = None,
    preset: Annotated[str, typer.Option(help="A tracker preset.")] = "default",
    config: Annotated[
        Path | None, typer.Option(callback=home, metavar="FILE", help="YAML with tracker settings.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
) -> None:
    """Follow recorded detections again, to tune a tracker in seconds."""
    from pipeline.config import read
    from pipeline.evaluation.retrack import inputs
    from pipeline.evaluation.retrack import retrack as follow
    from pipeline.plan.inventory import Use, keep_apart
    from pipeline.sinks.destination import refuse_file

    read_too = [Use(str(config), "--config")] if config else []
    keep_apart([*inputs(source, affines), *read_too], [Use(str(output), "--output")])
    refuse_file(output, overwrite=overwrite)
    overrides = dict(read(config)) if config else {}
    chosen = str(overrides.pop("preset", preset))
    summary = follow(
        source,
        format=format,
        output=output,
        fps=fps,
        image_size=parse_size(image_size) if image_size else None,
        affines=affines,
        preset=chosen,
        overrides=overrides,
    )
    give_lines(summary)


def parse_size(text: str) -> tuple[int, int]:
    """`1920x1080` as (height, width)."""
    from pipeline.errors import ConfigError

    found = re.fullmatch(r"([1-9][0-9]{0,5})x([1-9][0-9]{0,5})", text.lower())
    if found is None:
        raise ConfigError(
            f"--image-size: must be WIDTHxHEIGHT such as 1920x1080, got {text[:100]!r}"
        )
    return int(found[2]), int(found[1])
