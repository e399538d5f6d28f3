"""`maskstream eval run|track`: how good were the masks, how good the tracks."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.home import home
from pipeline.cli.telling import give_lines

app = typer.Typer(no_args_is_help=True, help="Measure a run or tracking results against the truth.")


@app.command("run")
def evaluate_run_command(
    folder: Annotated[
        Path, typer.Argument(callback=home, metavar="DIR", help="A run's output folder.")
    ],
    gt: Annotated[
        Path | None,
        typer.Option(
            "--gt",
            callback=home,
            metavar="FILE",
            help="COCO or MOTS ground truth; pictures are matched by file name.",
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--json", callback=home, metavar="FILE", help="Write the figures here too."),
    ] = None,
) -> None:
    """Mask AP and mask HOTA of a run against the truth of its sources."""
    from pipeline.evaluation import evaluate_run, format_table

    _keep(to, [*folder.glob("*.jsonl"), *folder.glob("run*.json"), *_truth(gt)])
    report = evaluate_run(folder, gt=gt)
    give_lines(format_table(report))
    if to is not None:
        _write(to, report.to_json())


@app.command("track")
def evaluate_track_command(
    gt: Annotated[
        Path, typer.Option("--gt", callback=home, metavar="DIR", help="Folder of the ground truth.")
    ],
    results: Annotated[
        Path, typer.Option("--results", callback=home, metavar="DIR", help="Folder of the results.")
    ],
    format: Annotated[
        str, typer.Option("--format", help="mots, kitti-mots, mot17, mot15 or jsonl.")
    ],
    resolve_overlaps: Annotated[
        bool, typer.Option("--resolve-overlaps", help="Make overlapping masks disjoint first.")
    ] = False,
    seqmap: Annotated[
        Path | None,
        typer.Option(
            "--seqmap", callback=home, metavar="FILE", help="Sequences to judge, if not all."
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--json", callback=home, metavar="FILE", help="Write the figures here too."),
    ] = None,
) -> None:
    """HOTA, MOTA/sMOTSA and IDF1 of recorded tracks, as the official tools compute them."""
    from pipeline.evaluation import evaluate_tracks

    judged = "*.jsonl" if format == "jsonl" else "*.txt"
    _keep(to, [*results.glob(judged), *_truth(gt), *([seqmap] if seqmap else [])])
    report = evaluate_tracks(
        gt, results, format=format, resolve_overlaps=resolve_overlaps, seqmap=seqmap
    )
    give_lines(report)
    if to is not None:
        _write(to, report.to_json())


def _truth(gt: Path | None) -> list[Path]:
    """The files that may be read below a ground truth."""
    if gt is None or not gt.is_dir():
        return [gt] if gt else []
    return [path for ending in ("*.txt", "*.json") for path in gt.rglob(ending)]


def _keep(output: Path | None, read: list[Path]) -> None:
    from pipeline.errors import ConfigError
    from pipeline.plan.inventory import Use, keep_apart
    from pipeline.sinks.destination import refuse_file

    if output is None:
        return
    keep_apart([Use(str(path), "to be judged") for path in read], [Use(str(output), "--json")])
    refuse_file(output, overwrite=True)
    if output.exists() and not _is_report(output):
        raise ConfigError(
            f"{output}: exists already and is no report of eval; name another file for --json"
        )


def _is_report(path: Path) -> bool:
    """Whether an earlier `--json` wrote it: those are replaced, nothing else is."""
    from pipeline.evaluation import RunReport, TracksReport
    from pipeline.reading import MAX_JSON_BYTES, read_small

    try:
        values = json.loads(read_small(path, max_bytes=MAX_JSON_BYTES))
    except (OSError, ValueError, RecursionError):
        return False
    names = [{field.name for field in fields(report)} for report in (RunReport, TracksReport)]
    return isinstance(values, dict) and any(values.keys() >= one for one in names)


def _write(path: Path, text: str) -> None:
    from pipeline.errors import ConfigError
    from pipeline.formats.whole import whole

    try:
        with whole(path, overwrite=True) as part:
            part.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
