"""`maskstream export records`: a run for other tools, and what people made of it back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.home import home
from pipeline.cli.telling import give, say
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.formats.exchange import Exchange

_CLASS_ID = re.compile(r"[0-9]{1,18}")

app = typer.Typer(no_args_is_help=True, help="Results for other tools, and back.")


@app.callback()
def exports() -> None:
    """Results for other tools, and back."""


@app.command("records")
def export_records(
    source: Annotated[
        Path, typer.Argument(callback=home, metavar="INPUT", help="Records, or a file to read.")
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="coco, mots, ytvis, labelstudio, cvat, yolo, csv, supervision-json, parquet; "
            "jsonl makes records of one of them.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(callback=home, metavar="PATH", help="By default beside the input."),
    ] = None,
    of: Annotated[
        str | None, typer.Option("--from", help="Format of the input, where it is not plain.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help="Frames a second, for files that have no times.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(metavar="ID=NAME,...", help="Class ids and names, for files without one."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
) -> None:
    """Write a run's records in another format, or read one back with --to jsonl."""
    from pipeline.formats.convert import RECORDS, exchange, format_of, to_format, to_records
    from pipeline.formats.exchange import Assumed

    back = to == RECORDS
    form = None if back else exchange(to)
    found = of or format_of(source)
    if form is None:
        read = _readable(found)
    else:
        _only_records(source, found, to)
    target = output or _beside(source, ".jsonl" if form is None else form.suffix)
    _keep(source, target, folder=form is not None and form.folder, overwrite=overwrite)
    if form is not None:
        done = to_format(source, target, form, overwrite=overwrite)
        if done.torn_line is not None:
            say(f"maskstream: {source} line {done.torn_line}: cut off, it was left out")
        give(str(done))
        if form.lacks:
            give(f"{form.name} has no place for: {form.lacks}")
        return
    assumed = Assumed(_source_id(source), _rate(fps), _labels(labels))
    give(str(to_records(source, target, read, assumed, overwrite=overwrite)))
    for what, times in sorted(assumed.left_out.items()):
        if times:
            give(f"left out: {times} {what}")


@app.command("model")
def export_model(
    name: Annotated[
        str | None, typer.Option("--model", help="A Mask R-CNN of `maskstream models`.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="A file, demo or COCO_V1; by default the model's own.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(callback=home, metavar="FILE.onnx", help="By default NAME.onnx.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
) -> None:
    """Write a Mask R-CNN as an ONNX file with its labels, for other runtimes too."""
    from pipeline import models
    from pipeline.sinks.destination import refuse_file

    chosen, found = models.choose(name, weights)
    if not chosen.startswith("maskrcnn_"):
        raise ConfigError(f"export model: {chosen} cannot be exported; Mask R-CNNs can")
    target = output or Path(f"{chosen}.onnx")
    refuse_file(target, overwrite=overwrite)
    file = models.fetch_weights(chosen, found)
    from pipeline.models.mask_rcnn.export import OPSET, export_onnx

    assert file is not None  # noqa: S101 - every Mask R-CNN has weights
    data = export_onnx(chosen, file)
    target.write_bytes(data)
    give(f"{target}: {chosen}, {len(data) / 1e6:.1f} MB, opset {OPSET}, labels inside")


def _beside(source: Path, suffix: str) -> Path:
    return source.with_name(f"{source.stem}{suffix}")


def _keep(source: Path, target: Path, *, folder: bool, overwrite: bool) -> None:
    from pipeline.plan.inventory import Use, keep_apart
    from pipeline.sinks.destination import refuse_file, refuse_kind

    keep_apart([Use(str(source), "INPUT")], [Use(str(target), "--output")])
    if folder:
        refuse_kind(str(target), root=str(target.parent), folder=True)
    else:
        refuse_file(target, overwrite=overwrite)


def _only_records(source: Path, found: str, to: str) -> None:
    from pipeline.formats.convert import RECORDS

    if found != RECORDS:
        raise ConfigError(
            f"{source}: is {found}; --to {to} takes records, make some of it first: --to {RECORDS}"
        )


def _readable(name: str) -> Exchange:
    from pipeline.formats.convert import exchange
    from pipeline.formats.exchange import EXCHANGES

    known = [row.name for row in EXCHANGES.values() if row.reads]
    if name not in known:
        raise ConfigError(
            f"--from {name}: records are made of {', '.join(known)}; name one of them"
        )
    return exchange(name)


def _source_id(source: Path) -> str:
    from pipeline.paths import SOURCE_ID

    name = source.name.partition(".")[0]
    return name if SOURCE_ID.fullmatch(name) else "imported"


def _rate(fps: float | None) -> float | None:
    if fps is not None and not 0 < fps < 1e6:
        raise ConfigError(f"--fps: must be a number above 0, got {fps}")
    return fps


def _labels(text: str | None) -> dict[int, str] | None:
    if text is None:
        return None
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(_CLASS_ID.fullmatch(i.strip()) and name.strip() for i, _, name in pairs):
        raise ConfigError(
            f"--labels: must be ID=NAME,... such as 1=person,3=car, got {text[:100]!r}"
        )
    return {int(i.strip()): name.strip() for i, _, name in pairs}
