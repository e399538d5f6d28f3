"""`maskstream streams …`: the streams of a running service, listed, added, changed, removed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from pipeline.cli.remote import DEFAULT, CaFile, RemoteService, ServiceToken, ServiceUrl
from pipeline.cli.telling import give, say
from pipeline.config.strict import load_yaml
from pipeline.errors import ConfigError
from pipeline.secrets import mask_url

app = typer.Typer(
    help="Ask a running service for its streams, and change them.", no_args_is_help=True
)

SWAPPED_WITHIN_S = 1800.0
"""Weights may have to be fetched before a model is loaded."""

OPENED_WITHIN_S = 30.0
"""New sinks are opened before the answer."""

SetValues = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="As under sources: in a configuration, in YAML."
    ),
]
Id = Annotated[str, typer.Argument(metavar="ID", help="Of the stream.")]


@app.callback()
def service(
    context: typer.Context,
    address: ServiceUrl = DEFAULT,
    token_file: ServiceToken = None,
    ca_file: CaFile = None,
) -> None:
    """Say which service."""
    context.obj = RemoteService(address, token_file, ca_file)


@app.command("list")
def list_streams(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="As the service answers.")] = False,
) -> None:
    """One line a stream."""
    streams = _asked(context).get("/v1/streams")
    if as_json:
        give(json.dumps(streams))
        return
    for stream in streams:
        give(_line(stream))


@app.command("add")
def add(
    context: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="Of the source.")],
    source_id: Annotated[str, typer.Option("--id", metavar="ID", help="Of the stream.")],
    sink: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="For this stream alone; may be given several times."),
    ] = None,
    setting: SetValues = None,
) -> None:
    """Take in one stream more, for good."""
    spec: dict[str, Any] = {"id": source_id, "url": url}
    if sink:
        spec["sinks"] = [{"url": one} for one in sink]
    spec |= _set(setting)
    say(f"added {_line(_asked(context).send('POST', '/v1/streams', spec))}")


@app.command("change")
def change(
    context: typer.Context,
    source_id: Id,
    setting: SetValues = None,
    add_sink: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL", help="One sink more for this stream; may be given several times."
        ),
    ] = None,
    remove_sink: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="One of its own sinks less; may be given several times."),
    ] = None,
) -> None:
    """Give a stream other settings or sinks; say from which frame on they hold."""
    asked, values = _asked(context), _set(setting)
    if add_sink or remove_sink:
        there = values.get("sinks", asked.get(_path(source_id))["settings"].get("sinks", []))
        values["sinks"] = _other_sinks(source_id, there, add_sink or (), remove_sink or ())
    if not values:
        raise ConfigError("nothing to change; name --set, --add-sink or --remove-sink")
    changed = asked.send("PATCH", _path(source_id), values, within_s=OPENED_WITHIN_S)
    say(_line(changed))
    if not changed["running"]:
        say(f"{source_id}: begins anew: {changed['why']}")
    else:
        say(_from(source_id, changed["first_frame"]))


@app.command("rm")
def remove(context: typer.Context, source_id: Id) -> None:
    """Drain a stream and forget it; what it has published stays."""
    _asked(context).send("DELETE", _path(source_id))
    say(f"{source_id} is drained and goes")


@app.command("pause")
def pause(context: typer.Context, source_id: Id) -> None:
    """Take in no frames of a stream."""
    _asked(context).send("POST", _path(source_id) + "/pause")
    say(f"{source_id} pauses")


@app.command("resume")
def resume(context: typer.Context, source_id: Id) -> None:
    """Go on after a pause."""
    _asked(context).send("POST", _path(source_id) + "/resume")
    say(f"{source_id} goes on")


@app.command("snapshot")
def snapshot(
    context: typer.Context,
    source_id: Id,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where the JPEG goes.")
    ],
    annotated: Annotated[bool, typer.Option(help="With the instances drawn on it.")] = True,
    width: Annotated[int | None, typer.Option(min=16, help="Pixels at most.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
) -> None:
    """Keep the picture a stream has published last."""
    wanted: dict[str, Any] = {"annotated": str(annotated).lower()}
    if width is not None:
        wanted["width"] = width
    data = _asked(context).read("GET", f"{_path(source_id)}/snapshot.jpg?{urlencode(wanted)}")
    try:
        with open(output, "wb" if overwrite else "xb") as file:
            file.write(data)
    except FileExistsError as error:
        raise ConfigError(f"{output} exists already; use --overwrite, or another file") from error
    except OSError as error:
        raise ConfigError(f"{output}: cannot be written: {error.strerror}") from error
    say(f"{output}: {len(data) / 1000:.0f} kB")


@app.command("model")
def model(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="See `maskstream models`.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="On the machine of the service, or COCO_V1."),
    ] = None,
) -> None:
    """Say which model finds the instances of all streams, or have another one do so."""
    asked = _asked(context)
    if name is None and weights is None:
        give(_model(asked.get("/v1/model")))
        return
    wanted = {"name": name, "weights": weights}
    swapped = asked.send("PUT", "/v1/model", wanted, within_s=SWAPPED_WITHIN_S)
    say(_model(swapped))
    for source_id, first in swapped["first_frames"].items():
        say(_from(source_id, first))


def _model(answer: Mapping[str, Any]) -> str:
    """A model in some words."""
    called = answer["recorded_as"] or answer["name"] or answer["weights"] or "a model"
    weights = f", weights {answer['weights']}" if answer["weights"] else ""
    loading = f"; {answer['loading']} is being loaded" if answer["loading"] else ""
    return f"{called}{weights}, {len(answer['classes'])} classes{loading}"


def _asked(context: typer.Context) -> RemoteService:
    asking = context.obj
    assert isinstance(asking, RemoteService)  # noqa: S101 - the callback has put it there
    return asking


def _path(source_id: str) -> str:
    return f"/v1/streams/{quote(source_id, safe='')}"


def _from(source_id: str, first: Mapping[str, Any] | None) -> str:
    """Where a change begins."""
    at = f"frame {first['frame']}" if first else "its next frame"
    return f"{source_id}: from {at} on"


def _set(settings: Sequence[str] | None) -> dict[str, Any]:
    """What `--set` says."""
    values: dict[str, Any] = {}
    for one in settings or ():
        key, equals, value = one.partition("=")
        if not equals:
            raise ConfigError(f"--set {one}: must be KEY=VALUE, such as min_score=0.6")
        values |= load_yaml(f"{key}: {value}") or {}
    return values


def _other_sinks(
    source_id: str, there: Sequence[Any], more: Sequence[str], fewer: Sequence[str]
) -> list[Any]:
    """The sinks a stream is to have, those there as the service shows them."""
    left = list(there)
    urls = [one if isinstance(one, str) else one["url"] for one in there]
    for url in map(mask_url, fewer):
        if url not in urls:
            known = f"its own are {', '.join(urls)}" if urls else "it has none of its own"
            raise ConfigError(f"stream {source_id}: there is no sink {url} to remove; {known}")
        del left[urls.index(url)]
        urls.remove(url)
    return [*left, *({"url": url} for url in more)]


def _line(stream: Mapping[str, Any]) -> str:
    """A stream in some words."""
    text = f"{stream['id']}: {stream['state']}, {stream['url']}"
    counts, rates = stream.get("accounting"), stream.get("rates")
    if counts is not None:
        text += f", {counts['published']} of {counts['captured']} frames"
    if rates is not None:
        text += f", {rates['fps_out']:.1f} a second"
    if stream.get("trouble"):
        text += f": {stream['trouble']}"
    return text
