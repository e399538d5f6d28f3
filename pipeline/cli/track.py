"""`maskstream track SOURCE...`: sources and flags in, no configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.execute import execute
from pipeline.cli.home import home, in_url
from pipeline.cli.options import Local
from pipeline.cli.shown import as_yaml
from pipeline.cli.sources import expand_sources
from pipeline.cli.telling import give_lines
from pipeline.config import parse

Text = str | None
Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        help="Video file, glob, directory of images, rtsp:// or http(s):// URL, /dev/videoN, "
        "or synthetic://street?seed=1",
    ),
]
Sinks = Annotated[
    list[str] | None,
    typer.Option(metavar="URL", help="Where results go, e.g. jsonl:out/{source}.jsonl."),
]
Output = Annotated[
    Path,
    typer.Option(
        callback=home, metavar="DIR", help="Folder of the default sinks, jsonl and video."
    ),
]
TlsVerify = Annotated[
    bool | None,
    typer.Option(
        "--tls-verify/--no-tls-verify", help="Check certificates of rtsps:// and https://."
    ),
]
WeightsOption = Annotated[
    Text, typer.Option(help="COCO_V1, demo, or a .safetensors, .pth or .pkl file.")
]
MetricsPort = Annotated[
    int | None, typer.Option(help="Serve /metrics, /healthz and /readyz on this port.")
]


def track(
    sources: Sources,
    model: Annotated[Text, typer.Option(help="A name from `maskstream models`.")] = None,
    weights: WeightsOption = None,
    sink: Sinks = None,
    output: Output = Path("out"),
    min_score: Annotated[float, typer.Option(help="Publish tracks that reached this score.")] = 0.5,
    classes: Annotated[Text, typer.Option(metavar="A,B", help="Only these classes.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, fp16 or bf16.")] = "auto",
    tracker: Annotated[
        str, typer.Option(metavar="PRESET", help="A tracker preset, or none.")
    ] = "default",
    stride: Annotated[int | None, typer.Option(help="Take every k-th picture.")] = None,
    max_fps: Annotated[float | None, typer.Option(help="Thin to this rate.")] = None,
    start: Annotated[float | None, typer.Option(help="Seconds into the file.")] = None,
    duration: Annotated[float | None, typer.Option(help="Seconds to take.")] = None,
    workers: Annotated[int | None, typer.Option(help="Segment workers; one a GPU.")] = None,
    state_dir: Annotated[
        Text,
        typer.Option(
            help="Keep checkpoints in this folder, or at s3://... or az://..., and go on from them."
        ),
    ] = None,
    metrics_port: MetricsPort = None,
    tls_verify: TlsVerify = None,
    local: Local = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress line.")] = False,
    show_config: Annotated[
        bool, typer.Option("--show-config", help="Print the settings as YAML and stop.")
    ] = False,
) -> None:
    """Segment and follow everything in videos, cameras or pictures."""
    flags = {
        "min_score": min_score,
        "classes": None if classes is None else [name.strip() for name in classes.split(",")],
        "stride": stride,
        "max_fps": max_fps,
        "start": start,
        "duration": duration,
        "tls_verify": tls_verify,
    }
    values: dict[str, Any] = {
        "model": _given(name=model, weights=weights, device=device, precision=precision),
        "tracker": {"preset": tracker},
        "defaults": _given(**flags),
        "sources": expand_sources(sources),
        "sinks": sink or default_sinks(output),
        "workers": _given(segment=workers),
        "metrics": _given(port=metrics_port),
        "run": _given(
            executor="local" if local else "ray", state_dir=state_dir, overwrite=overwrite
        ),
    }
    settings = parse(values, origin="command line")
    if show_config:
        give_lines(as_yaml(settings).rstrip("\n"))
        return
    execute(settings, quiet=quiet)


def default_sinks(output: Path) -> list[str]:
    """Records and video in one folder."""
    folder = in_url(output)
    return [f"jsonl:{folder}/{{source}}.jsonl", f"video:{folder}/{{source}}.mp4"]


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
