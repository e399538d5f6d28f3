"""`maskstream top`: a live table of a running service."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipeline.cli.remote import DEFAULT, CaFile, RemoteService, ServiceToken, ServiceUrl
from pipeline.plain import plain


def top(
    address: ServiceUrl = DEFAULT,
    token_file: ServiceToken = None,
    ca_file: CaFile = None,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
) -> None:
    """Show what every stream and worker does, until Ctrl-C."""
    asking = RemoteService(address, token_file, ca_file)
    console = Console()
    if once or not console.is_terminal:
        console.print(looked(asking))
        return
    try:
        with Live(looked(asking), console=console, auto_refresh=False, screen=True) as live:
            while True:
                time.sleep(every)
                live.update(looked(asking), refresh=True)
    except KeyboardInterrupt:
        return


def looked(asking: RemoteService) -> Group:
    """Both tables of this moment."""
    return Group(
        streams(asking.get("/v1/streams")),
        workers(asking.get("/v1/workers")),
        Text(plain(held_up(asking))),
    )


def held_up(asking: RemoteService) -> str:
    """What holds the run up, in a line."""
    found = asking.get("/v1/bottleneck")
    return f"held up by {found['kind']}: {found['figure']}; {found['next_step']}"


def streams(answers: Sequence[Mapping[str, Any]]) -> Table:
    """One row a stream."""
    table = _table("stream", "state", "fps in", "fps out", "p50 ms", "p99 ms", "lost", "sinks")
    for one in answers:
        rates: Mapping[str, Any] = one["rates"] or {}
        age: Mapping[str, Any] = rates.get("stages", {}).get("end_to_end", {})
        lost = ", ".join(f"{cause} {count}" for cause, count in rates.get("lost", {}).items())
        waiting = ", ".join(
            f"{sink['name']} {sink['state'] or ''} {sink['queued'] or ''}".strip()
            for sink in one["sinks"]
        )
        _row(
            table,
            *(one["id"], one["state"]),
            *(_number(rates.get(key)) for key in ("fps_in", "fps_out")),
            *(_number(age.get(key)) for key in ("p50_ms", "p99_ms")),
            *(one["trouble"] or lost, waiting),
        )
    return table


def workers(answers: Sequence[Mapping[str, Any]]) -> Table:
    """One row a segment worker."""
    on_gpus = any(one.get("gpu") for one in answers)
    more = ("GPU", "GPU memory") if on_gpus else ()
    table = _table(
        *("worker", "state", "fps", "a batch", "busy", "waiting", "restarts", "failed", *more)
    )
    for one in answers:
        busy = one["busy"]
        failed = ", ".join(f"{cause} {count}" for cause, count in one["failed"].items())
        _row(
            table,
            *(one["worker"], one["state"]),
            *(_number(one["fps"]), _number(one["frames_a_batch"])),
            "" if busy is None else f"{busy:.0%}",
            *(str(one["waiting"]), str(one["restarts"]), failed),
            *(_gpu(one.get("gpu")) if on_gpus else ()),
        )
    return table


def _gpu(gpu: Mapping[str, Any] | None) -> tuple[str, str]:
    """How busy the GPU of a worker is, and how full."""
    if gpu is None:
        return "", ""
    used, total = gpu["used_bytes"] / 1e9, gpu["total_bytes"] / 1e9
    return f"{gpu['use']:.0%}", f"{used:.1f} of {total:.1f} GB"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, expand=True)
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if 2 <= number <= 5 else "left", overflow="fold")
    return table


def _row(table: Table, *cells: str) -> None:
    table.add_row(*(Text(plain(cell)) for cell in cells))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
