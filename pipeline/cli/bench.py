"""`maskstream bench model`: the engine beside torchvision's forward; `bench models`: all."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Annotated

import typer

from pipeline._version import __version__
from pipeline.arrays import Size
from pipeline.cli.telling import give_lines, say

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

    table = bench_model(
        name,
        weights=None if weights is None else fetch_weights(name, weights),
        device=device,
        precision=precision,
        sizes=[parse_size(text) for text in size or ["640x480"]],
        batch=batch,
        detections=detections,
        repeats=repeats,
    )
    give_lines(table)
    _remember([(name, table.rows[0].engine)], device, table.rows[0].size)


@app.command("models")
def compare(
    name: Annotated[
        list[str] | None,
        typer.Option("--model", help="As of track; may be repeated. By default all that can be."),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="Weights of a model; may be repeated."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, fp16 or bf16.")] = "auto",
    size: Annotated[str, typer.Option(metavar="WxH", help="Of the picture.")] = "640x480",
    instances: Annotated[int, typer.Option(min=0, max=100, help="Left by the threshold.")] = 10,
    repeats: Annotated[int, typer.Option(min=1, help="Timed calls of each.")] = 3,
) -> None:
    """One table over the models: ms a picture, ms to runs, peak memory, beside the published AP."""
    from pipeline.cli.retrack import parse_size
    from pipeline.errors import ConfigError, MaskstreamError
    from pipeline.models.measuring import Cost, cost, lines_of, measurable
    from pipeline.sources import open_source

    given = dict(text.partition("=")[::2] for text in weights or [])
    if unread := [key for key, value in given.items() if not value]:
        raise ConfigError(f"--weights: must be NAME=FILE, got {unread[0]!r}")
    height, width = parse_size(size)
    source = open_source(
        f"synthetic://street?seed=1&frames=1&size={width}x{height}", source_id="bench"
    )
    picture = next(iter(source.frames())).image
    source.stop()
    costs: list[Cost | tuple[str, MaskstreamError]] = []
    for one in name or [*measurable(), *given]:
        try:
            costs.append(
                cost(one, given.get(one), picture, instances, repeats, device=device,
                     precision=precision)
            )  # fmt: skip
        except MaskstreamError as error:
            costs.append((one, error))
    give_lines("\n".join(lines_of(costs)))
    measured = [(one.name, one.ms) for one in costs if isinstance(one, Cost)]
    _remember(measured, device, (height, width))


def _remember(measured: Sequence[tuple[str, float]], device: str, size: Size) -> None:
    """For `maskstream models`; what is kept is that of the first size."""
    from pipeline.cli.speeds import MeasuredSpeed, remember
    from pipeline.models import gpu_present

    if device == "auto":
        device = "cuda" if gpu_present() else "cpu"
    now = datetime.now().astimezone().date().isoformat()
    versions = f"maskstream {__version__}, torch {version('torch')}"
    height, width = size
    speeds = [
        MeasuredSpeed(name, device, ms, width, height, now, versions, platform.node())
        for name, ms in measured
    ]
    if word := remember(speeds):
        say(word)
