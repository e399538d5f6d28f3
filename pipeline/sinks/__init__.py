"""Where results go: `scheme:location?options` becomes a `Sink`.

This registry is light; each sink lives in a file of its own that imports its libraries itself.
`docs/sinks.md` says what each one guarantees and how to write another.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.paths import Place, place_of
from pipeline.results import FrameResult
from pipeline.secrets import mask_url
from pipeline.sinks.chosen import Choice, Chosen
from pipeline.sinks.destination import refuse_kind, refuse_unready
from pipeline.sinks.options import EVENTS, RECORDS, ROLLING, Option, choice, flag, integer
from pipeline.sinks.schemes import SCHEMES, Scheme, SinkTarget, register
from pipeline.sinks.urls import SinkUrl, parse_sink
from pipeline.stages import Position, Sink

__all__ = [
    "SCHEMES",
    "Option",
    "Scheme",
    "SinkTarget",
    "check_sink",
    "check_targets",
    "choice",
    "classes_of",
    "data_read",
    "database_files",
    "files_read",
    "flag",
    "integer",
    "is_service",
    "is_unsigned",
    "look_at",
    "look_into",
    "manner",
    "needs_tracks",
    "open_sink",
    "register",
    "targets",
    "variables",
    "writes_folder",
    "written_before",
]


_SLOWEST_FPS = 0.01
"""What encoders can be told; pictures may come more slowly."""


def open_sink(
    url: str | Callable[[FrameResult], object],
    *,
    source_id: str,
    run: str,
    labels: Mapping[int, str],
    fps_hint: float | None = None,
    overwrite: bool = False,
    min_score: float | None = None,
    resume: Position | None = None,
    spool: str | None = None,
) -> Sink:
    """Open the sink a URL names, for one source.

    Args:
        url: see docs/sinks.md; or a function that is called with every result.
        source_id: fills `{source}`.
        run: of the records.
        labels: names by class id.
        fps_hint: frames a second, roughly; for an encoder's rate control, never for time.
        overwrite: replace existing output, at the first write: until then it can be resumed.
        min_score: as the option of the same name; of the two the higher counts.
        resume: continue existing output here, `overwrite` or not.
        spool: the folder for what waits for a service.

    Raises:
        ConfigError: the URL is wrong, output exists, or nothing can be written there.
        SinkError: another process is writing there, or the destination is out of reach.
    """
    if callable(url):
        from pipeline.sinks.function import FunctionSink

        sink: Sink = FunctionSink(url)
        choice = Choice()
    else:
        parsed = parse_sink(url)
        target = SinkTarget(
            scheme=parsed.scheme.name,
            location=parsed.located(source_id),
            root=parsed.root,
            options=parsed.options,
            source_id=source_id,
            run=run,
            labels=labels,
            fps_hint=None if fps_hint is None else max(fps_hint, _SLOWEST_FPS),
            overwrite=overwrite or resume is not None,
            events=parsed.events,
            spool=None if spool is None else Path(spool),
        )
        sink = parsed.scheme.load()(target)
        choice = parsed.choice
    choice = replace(choice, min_score=max(choice.min_score, min_score or 0.0))
    if choice.leaves_out:
        sink = Chosen(sink, choice)
    if resume is not None:
        with ExitStack() as undo:
            undo.callback(sink.close)
            sink.resume(resume)
            undo.pop_all()
    return sink


def check_sink(url: str) -> None:
    """Refuse a URL that `open_sink` could not read; opens and looks at nothing.

    Raises:
        ConfigError: names what is wrong, the nearest right word and what is allowed.
    """
    parse_sink(url)


def targets(url: str, source_ids: Iterable[str]) -> dict[str, str]:
    """What each source would write: absolute paths by source id; empty for no file system.

    Raises:
        ConfigError: the URL is wrong, or an id cannot be part of a file name.
    """
    parsed = parse_sink(url)
    if parsed.scheme.writes not in ("file", "directory"):
        return {}
    return {id_: os.path.abspath(parsed.output(id_)) for id_ in source_ids}


def database_files(url: str, source_id: str) -> list[str]:
    """A database in a file and what lies beside it while it is written; empty for what is none."""
    parsed = parse_sink(url)
    if parsed.scheme.writes != "database":
        return []
    path = os.path.abspath(parsed.located(source_id))
    return [path, *(f"{path}-{word}" for word in ("wal", "shm", "journal"))]


def files_read(url: str) -> list[str]:
    """The files a sink reads."""
    parsed = parse_sink(url)
    named = (parsed.options[key] for key, option in parsed.scheme.options.items() if option.reads)
    return [path for path in named if path is not None]


def data_read(url: str) -> list[str]:
    """Those of them that what is written depends on, not who is allowed in."""
    return files_read(url) if parse_sink(url).scheme.writes in ("file", "directory") else []


def look_into(url: str) -> None:
    """Refuse files a sink reads that hold no certificates, no list of pictures.

    Raises:
        ConfigError: names the file and what is wrong with it.
    """
    parsed = parse_sink(url)
    for key, option in parsed.scheme.options.items():
        if option.look is not None and (path := parsed.options[key]) is not None:
            option.look(path)
    if any(parsed.options.get(key) for key in ("tls_ca_file", "tls_cert_file")):
        from pipeline.sinks.services import ServicePlace, tls_of

        tls_of(ServicePlace.parse(parsed.scheme.name, parsed.location), parsed.options)


def variables(url: str) -> dict[str, str]:
    """The environment variables a sink takes secrets from, by the option that names each."""
    options = parse_sink(url).options
    return {key: value for key, value in options.items() if key.endswith("_env") and value}


def manner(url: str, min_score: float | None = None) -> str:
    """How a sink writes, wherever it does: its scheme and all its options, defaults included."""
    parsed = parse_sink(url)
    choice = parsed.choice
    shapes = parsed.options
    if parsed.scheme.writes in ("service", "database", "address"):  # what is sent is the same
        shapes = {key: shapes[key] for key in RECORDS if key in shapes}
    options = {**shapes, "min_score": max(choice.min_score, min_score or 0.0)}
    options |= {key: v for key, v in (("only", choice.only), ("every_s", choice.every_s)) if v}
    if parsed.events:
        options |= {"every": "event", **{key: parsed.options[key] for key in EVENTS}}
    options = {key: value for key, value in options.items() if _tells(parsed, key, value)}
    said = "&".join(f"{key}={value}" for key, value in sorted(options.items()))
    return f"{parsed.scheme.name}?{said}"


def _tells(parsed: SinkUrl, key: str, value: object) -> bool:
    """Whether an option is named in a state; unsaid are those of before there were any."""
    if parsed.rolls:  # each file may be coded in its own way, and none has to go for that
        return key not in parsed.scheme.options
    later = {**RECORDS, "crop": EVENTS["crop"], **(ROLLING if parsed.scheme.rolls else {})}
    return key not in later or value != later[key].default


def is_service(url: str) -> bool:
    """Whether results go to a service or a database, and what waits for it to the disk."""
    return parse_sink(url).scheme.writes in ("service", "database")


def is_unsigned(url: str) -> bool:
    """Whether its lines do not say which model has found what."""
    return parse_sink(url).scheme.unsigned


def written_before(url: str, source_id: str) -> list[str]:
    """The files of ours that are there already and may be removed or replaced, by their list."""
    return [os.path.abspath(path) for path in parse_sink(url).written_before(source_id)]


def writes_folder(url: str) -> bool:
    """Whether what the URL names is a folder of files."""
    return parse_sink(url).scheme.writes == "directory"


def classes_of(url: str) -> tuple[str, ...]:
    """The names of classes a sink is for; none: all."""
    return parse_sink(url).choice.only


def hardware_codec(url: str) -> str | None:
    """The encoder a sink will use that leaves it to this machine; None: it does not."""
    if parse_sink(url).options.get("codec") != "hardware":
        return None
    from pipeline.sinks.h264 import hardware_codec as found

    return found()


def sent_by(url: str) -> str | None:
    """The program beside us that a sink sends with; None: it needs none."""
    if parse_sink(url).scheme.name != "srt":
        return None
    from pipeline.sinks.relay import program

    path, version = program()
    return f"ffmpeg {version}, {path}"


def needs_tracks(url: str) -> bool:
    """Whether a sink can do nothing with instances that are not tracked."""
    parsed = parse_sink(url)
    return parsed.scheme.tracked or parsed.events


def look_at(url: str, source_id: str, *, now: bool) -> None:
    """Refuse a destination `open_sink` could not write to; makes and opens nothing for writing.

    Args:
        url: of the sink.
        source_id: fills `{source}`.
        now: it is to be written at once: folders, permissions, locks and the disk count too.

    Raises:
        ConfigError: what is there is of another kind, or nothing can be written there.
        SinkError: another process is writing there.
    """
    parsed = parse_sink(url)
    if (writes := parsed.scheme.writes) not in ("file", "directory", "database"):
        return
    path, folder = os.path.abspath(parsed.output(source_id)), writes == "directory"
    refuse_kind(path, root=parsed.root, folder=folder)
    if (example := parsed.example(source_id)) is not None:
        refuse_kind(example, root=parsed.root, folder=False)
    if now:
        refuse_unready(path, folder=folder, shared=writes == "database")


def check_targets(sinks: Iterable[tuple[str, Iterable[str]]]) -> None:
    """Refuse sinks that would write the same file, or send to the same address.

    Args:
        sinks: URL and source ids of each sink.

    Raises:
        ConfigError: names the file or address and the two that claim it.
    """
    owners: dict[Place | str, tuple[str, str]] = {}
    for url, source_ids in sinks:
        for source_id, place in _claims(url, source_ids):
            what = "send to the same address" if isinstance(place, str) else "write the same file"
            if place in owners:
                other_url, other_id = owners[place]
                if other_url == url:
                    raise ConfigError(
                        f"sink {mask_url(url)!r}: the sources {other_id!r} and {source_id!r} would "
                        f"{what}; put {{source}} into {_tells_apart(url)}"
                    )
                raise ConfigError(
                    f"sinks {mask_url(other_url)!r} and {mask_url(url)!r} would {what} for the "
                    f"source {source_id!r}; give them different paths"
                )
            owners[place] = url, source_id


def _tells_apart(url: str) -> str:
    return "its streamid" if "streamid" in parse_sink(url).scheme.options else "the path"


def _claims(url: str, source_ids: Iterable[str]) -> Iterator[tuple[str, Place | str]]:
    """What each source would have for itself alone: a file or folder, or an address."""
    parsed = parse_sink(url)
    for source_id, path in targets(url, source_ids).items():
        yield source_id, place_of(path)
    if parsed.scheme.writes == "address":
        stream_id = parsed.options.get("streamid") or ""
        for source_id in source_ids:
            place = f"{parsed.scheme.name}:{parsed.located(source_id)}"
            yield source_id, f"{place} {stream_id.replace('{source}', source_id)}"
