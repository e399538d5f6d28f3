"""`maskstream demo`: the real pipeline on a rendered street, its quality measured at the end.

One run on Ray with the bundled weights: a tracked clip (video, masks, MOTS) and, untracked, single
frames of other streets, none of which the training has seen. `maskstream eval run` computes the
same figures again from the files.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.execute import execute
from pipeline.cli.home import home, in_url
from pipeline.cli.options import Local
from pipeline.cli.telling import give, give_lines
from pipeline.config import parse
from pipeline.formats.whole import whole

CLIP_SEED = 7_001
LEFT_TOO = ("contact-sheet.png", "report.txt")
UNSEEN_SEEDS = (7_101, 7_102, 7_103, 7_104, 7_105, 7_106)
"""Training draws 10,000 to 10,399 (configs/train-demo.yaml)."""


def demo(
    output: Annotated[
        Path, typer.Option(callback=home, metavar="DIR", help="Where to leave it all.")
    ] = Path("out/demo"),
    frames: Annotated[int, typer.Option(min=10, help="Frames of the clip.")] = 150,
    local: Local = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress line.")] = False,
) -> None:
    """Run on a rendered street with the bundled weights; leaves video, masks, picture, report."""
    from pipeline.evaluation import evaluate_run, format_table
    from pipeline.sinks.destination import refuse_file

    started = time.monotonic()
    for name in LEFT_TOO:
        refuse_file(output / name, overwrite=overwrite)
    settings = parse(_settings(output, frames, local=local, overwrite=overwrite), origin="demo")
    execute(settings, quiet=quiet)
    report = evaluate_run(output)
    seconds = time.monotonic() - started
    sheet, words = (output / name for name in LEFT_TOO)
    draw_contact_sheet(output / "street.mp4", sheet)
    text = f"{format_table(report)}\n\n{frames} frames tracked; all of it took {seconds:.0f} s.\n"
    with whole(words, overwrite=True) as part:
        part.write_text(text, encoding="utf-8")
    give_lines(f"\n{text}")
    for name in ("street.mp4", "street.jsonl", "street.mots.txt", *LEFT_TOO):
        give(f"  {output / name}")


def _settings(output: Path, frames: int, *, local: bool, overwrite: bool) -> dict[str, object]:
    """The demo as a configuration; nothing in it that a user could not write."""
    unseen = [
        {
            "id": f"unseen-{seed}",
            # One frame every two seconds: pictures that differ, not one scene ten times.
            "url": f"synthetic://street?seed={seed}&frames=10&fps=0.5",
            "tracker": "none",
            "min_score": 0.0,
        }
        for seed in UNSEEN_SEEDS
    ]
    folder = in_url(output)
    clip = {"id": "street", "url": f"synthetic://street?seed={CLIP_SEED}&frames={frames}"}
    return {
        "model": {"name": "maskrcnn_resnet18_fpn", "weights": "demo"},
        "sources": [clip, *unseen],
        "sinks": [
            f"jsonl:{folder}/{{source}}.jsonl",
            {"url": f"video:{folder}/{{source}}.mp4", "sources": ["street"]},
            {"url": f"mots:{folder}/{{source}}.mots.txt", "sources": ["street"]},
        ],
        "run": {"executor": "local" if local else "ray", "overwrite": overwrite},
    }


def draw_contact_sheet(video: Path, path: Path, *, columns: int = 3, rows: int = 3) -> None:
    """Write one picture with frames spread evenly over `video`."""
    import cv2

    from pipeline.render.sheet import contact_sheet
    from pipeline.sources import open_source

    images = [frame.image for frame in open_source(str(video), source_id="sheet").frames()]
    count = columns * rows
    chosen = [images[round(i * (len(images) - 1) / (count - 1))] for i in range(count)]
    _, picture = cv2.imencode(".png", contact_sheet(chosen, columns=columns))
    with whole(path, overwrite=True) as part:
        part.write_bytes(picture.tobytes())
