"""`maskstream bench model`: the engine against torchvision's own forward, in one run."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.telling import give_lines

app = typer.Typer(no_args_is_help=True, help="Measure this machine.")


@app.callback()
def group() -> None:
    """Measure this machine."""


@app.command("model")
def model(
    name: Annotated[str, typer.Option("--model", help="A name from `maskstream models`.")] = (
        "maskrcnn_resnet50_fpn"
    ),
    weights: Annotated[
        str | None, typer.Option(help="A file, demo or COCO_V1; by default random ones.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, fp16 or bf16.")] = "auto",
    size: Annotated[
        list[str] | None, typer.Option(metavar="WxH", help="Picture sizes; may be repeated.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Pictures in a batch.")] = 1,
    detections: Annotated[int, typer.Option(min=0, max=100, help="Forced by thresholds.")] = 10,
    repeats: Annotated[int, typer.Option(min=1, help="Timed calls of each.")] = 5,
) -> None:
    """Frames/s, p50, p99 and the time of each stage, beside stock torchvision."""
    from pipeline.cli.retrack import parse_size
    from pipeline.models import fetch_weights
    from pipeline.models.mask_rcnn.bench import bench_model

    give_lines(
        bench_model(
            name,
            weights=None if weights is None else fetch_weights(name, weights),
            device=device,
            precision=precision,
            sizes=[parse_size(text) for text in size or ["640x480"]],
            batch=batch,
            detections=detections,
            repeats=repeats,
        )
    )
