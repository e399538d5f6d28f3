"""`maskstream serve CONFIG.yaml`: a run for months, steered and watched over HTTP."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.execute import headline, log_to_stderr, tell
from pipeline.cli.home import home
from pipeline.cli.options import AllowFewer, ClusterAddress, ConfigFile, Local, LogJson
from pipeline.cli.sources import load_service_settings
from pipeline.cli.telling import say, say_json
from pipeline.errors import ConfigError, MaskstreamError
from pipeline.heap import one_heap

if TYPE_CHECKING:
    from pipeline.config import ServiceSettings
    from pipeline.plan import RunPlan
    from pipeline.service import Service
    from pipeline.stream import RunSummary


def _new_token(path: Path | None) -> None:
    if path is None:
        return
    from pipeline.service.access.tokens import new_token

    file = home(path)
    new_token(str(file))
    say(f"{file}: a new token, for its owner alone; give it as serve.token_file or --token-file")
    raise typer.Exit


ServeTokens = Annotated[
    Path | None, typer.Option(callback=home, metavar="FILE", help="Tokens that may do everything.")
]
NewToken = Annotated[
    Path | None,
    typer.Option(
        callback=_new_token,
        is_eager=True,
        metavar="FILE",
        help="Make a file with a new token, and leave.",
    ),
]


def serve(
    config: ConfigFile,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 picks a free one.")] = None,
    address: ClusterAddress = None,
    allow_fewer: AllowFewer = False,
    local: Local = False,
    token_file: ServeTokens = None,
    tls_cert: Annotated[
        Path | None, typer.Option(callback=home, metavar="PEM", help="Certificate to answer with.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(callback=home, metavar="PEM", help="Key of --tls-cert.")
    ] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A proxy that encrypts hands everything on.")
    ] = False,
    new_token: NewToken = None,
    log_json: LogJson = False,
) -> None:
    """Run streams until told to stop; add, change, pause and remove them over HTTP."""
    one_heap()
    if log_json:
        say_json()
    log_to_stderr(quiet=False)
    logging.getLogger("maskstream.audit").setLevel(logging.INFO)  # each change is told
    flags = {
        "host": host,
        "port": port,
        "token_file": token_file,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "behind_proxy": behind_proxy or None,
    }
    read = partial(load_service_settings, config, flags, local=local)
    summary = _serve(config, read, address=address, allow_fewer=allow_fewer)
    for end in summary.ends:
        tell(end, quiet=False)
    if summary.exit_code:
        raise typer.Exit(summary.exit_code)


def _serve(
    config: Path,
    read: Callable[[], ServiceSettings],
    *,
    address: str | None,
    allow_fewer: bool = False,
) -> RunSummary:
    from pipeline.plan.driving import driving
    from pipeline.plan.resolve import resolve
    from pipeline.service import Desired, Door, Service, build_api, first_plan, listening

    settings = read()
    door = Door(settings.serve)
    plan = resolve(settings.model_copy(update={"sources": (), "sinks": ()}), config=config)
    fewer = allow_fewer or plan.cluster.allow_fewer
    plan = replace(plan, cluster=replace(plan.cluster, allow_fewer=fewer))
    folder = _service_folder(plan, config)
    with ExitStack() as stack:
        plan = stack.enter_context(driving(plan))
        desired = Desired(folder)
        service = Service(settings, desired, read=read, admit=door.renew)
        stack.callback(service.close)
        plan = first_plan(plan, settings, desired)
        stack.enter_context(_reloaded_by_hangup(service))
        where = settings.serve
        api = build_api(service, door)
        port = stack.enter_context(
            listening(api, where.host, where.port, key="serve.port", tls=door.tls)
        )
        stack.callback(service.end)  # first of all: who only looks on goes, the server can end
        streams, asked = len(desired.streams()), settings.model.name
        say(headline(plan, asked=asked, address=address, streams=streams))
        say(f"listening on {door.url(port)}, its API is told at /docs; {door.asks}")
        return _run(plan, service, address=address)


def _service_folder(plan: RunPlan, config: Path) -> str:
    from pipeline.plan.places import is_url

    if plan.state_dir is None:
        raise ConfigError(
            f"{config}: run.state_dir: is missing; a service keeps its streams and how far they "
            "came there, name a folder"
        )
    if is_url(plan.state_dir):
        raise ConfigError(
            f"{config}: run.state_dir: is the address of a store; a service keeps its streams in "
            "a database, name a folder"
        )
    return plan.state_dir


def _run(plan: RunPlan, service: Service, *, address: str | None) -> RunSummary:
    from workers.signals import drained_by_signals

    stop, abort = threading.Event(), threading.Event()
    if plan.executor == "local":
        from pipeline.runner import run_local

        with drained_by_signals(stop, abort, end_now=partial(os._exit, 1)):
            return run_local(plan, stop=stop, abort=abort, steer=service.steer)
    from workers.running import run

    return run(plan, address=address, stop=stop, abort=abort, may_leave=True, steer=service.steer)


@contextmanager
def _reloaded_by_hangup(service: Service) -> Iterator[None]:
    """SIGHUP reads the configuration again, as of every daemon; a wrong one is told and left."""
    asked, over = threading.Event(), threading.Event()

    def follow() -> None:
        while asked.wait() and not over.is_set():
            asked.clear()
            try:
                found = service.reload()
            except MaskstreamError as error:  # weights that are not there, too
                say(f"not reloaded: {error}")
            else:
                say(
                    f"reloaded: {len(found.added)} added, {len(found.changed)} changed, "
                    f"{len(found.removed)} removed"
                )

    before = signal.signal(signal.SIGHUP, lambda *_: asked.set())
    thread = threading.Thread(target=follow, name="reload", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        asked.set()
        thread.join()
        signal.signal(signal.SIGHUP, before)
