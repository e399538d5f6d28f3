"""`maskstream eval run|track`: how good were the masks, how good the tracks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Measure a run or tracking results against the truth.")


@app.command("run")
def evaluate_run_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A run's output folder.")],
    gt: Annotated[
        Path | None, typer.Option("--gt", metavar="FILE", help="COCO or MOTS ground truth.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures here too.")
    ] = None,
) -> None:
    """Mask AP and mask HOTA of a run against the truth of its sources."""
    from pipeline.evaluation import evaluate_run, format_table

    report = evaluate_run(folder, gt=gt)
    typer.echo(format_table(report))
    if json is not None:
        _write(json, report.to_json())


@app.command("track")
def evaluate_track_command(
    gt: Annotated[Path, typer.Option("--gt", metavar="DIR", help="Folder of the ground truth.")],
    results: Annotated[
        Path, typer.Option("--results", metavar="DIR", help="Folder of the results.")
    ],
    format: Annotated[
        str, typer.Option("--format", help="mots, kitti-mots, mot17, mot15 or jsonl.")
    ],
    resolve_overlaps: Annotated[
        bool, typer.Option("--resolve-overlaps", help="Make overlapping masks disjoint first.")
    ] = False,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures here too.")
    ] = None,
) -> None:
    """HOTA, MOTA/sMOTSA and IDF1 of recorded tracks, as the official tools compute them."""
    from pipeline.evaluation import evaluate_tracks

    report = evaluate_tracks(gt, results, format=format, resolve_overlaps=resolve_overlaps)
    typer.echo(report)
    if json is not None:
        _write(json, report.to_json())


def _write(path: Path, text: str) -> None:
    from pipeline.errors import ConfigError

    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
