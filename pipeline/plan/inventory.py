"""Every file a run reads, every file it writes, and that none of them is both.

Files are told apart by `pipeline.paths.place_of`, so that a link, another mount or another way of
writing the path is the same file. What is read is never written over, `--overwrite` or not.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from pipeline import models, sinks
from pipeline.errors import ConfigError
from pipeline.paths import Place, place_of
from pipeline.plan.run import RunPlan
from pipeline.plan.state import state_files
from pipeline.plan.stream import SourcePlan
from pipeline.sources.naming import images_of
from pipeline.sources.schemes import (
    IMAGE_SUFFIXES,
    Kind,
    check_url,
    is_pattern,
    local_path,
)

WEIGHTS = "the weights"
_OF_FOLDERS = (".jpg", ".png", ".parquet")
"""What sinks that write folders put into them."""
_PICTURES = ("00000000.jpg", "00000000.png")
"""Stand for whatever is written into a folder of pictures."""


@dataclass(frozen=True, slots=True)
class Use:
    """A path and what it is to a run."""

    path: str
    what: str
    """As a message says it: `the source 'clip'`."""
    folder: bool = False
    """The files in it are meant, those that will be there included."""
    pattern: bool = False
    """A glob: what it matches is meant, what it will match included."""


def reads(plan: RunPlan, *, config: str | os.PathLike[str] | None = None) -> list[Use]:
    """What a run reads from this machine's disks."""
    found = [] if config is None else [Use(os.fspath(config), "the configuration")]
    found += [Use(path, WEIGHTS) for path in models.weights_paths(plan.model.weights)]
    for source in (stream.source for stream in plan.streams):
        found += _pixels(source)
        for key, path in (
            ("tls_ca_file", source.options.tls_ca_file),
            ("password_file", source.password.file),
        ):
            if path is not None:
                found.append(Use(path, f"{key} of the source {source.id!r}"))
    for url in plan.sinks:
        found += [Use(path, f"what {url!r} reads") for path in sinks.files_read(url)]
    return found


def writes(plan: RunPlan) -> list[Use]:
    """What a run writes, its manifest left out."""
    outputs = [
        Use(sink.path, f"the sink {sink.url!r}", folder=sinks.writes_folder(sink.url))
        for stream in plan.streams
        for sink in stream.sinks
        if sink.path is not None
    ]
    outputs += [
        Use(path, f"the sink {sink.url!r}")
        for stream in plan.streams
        for sink in stream.sinks
        for path in sinks.written_before(sink.url, stream.id)
    ]
    databases = {
        path: Use(path, f"the sink {sink.url!r}")  # streams share one
        for stream in plan.streams
        for sink in stream.sinks
        for path in sinks.database_files(sink.url, stream.id)
    }
    outputs += databases.values()
    return outputs + [
        Use(path, f"the state of the source {stream.id!r}")
        for stream in plan.streams
        for path in state_files(plan, stream)
    ]


def keep_apart(read: Iterable[Use], written: Sequence[Use]) -> None:
    """Refuse to write over what is read, over what becomes part of it, and one file twice.

    Raises:
        ConfigError: names the file and what it is to both sides.
    """
    places: dict[Place, Use] = {}
    for use in written:
        other = places.setdefault(place_of(use.path), use)
        if other is not use:
            raise ConfigError(
                f"{other.what} and {use.what} would write the same file, {use.path}; give them "
                "different paths"
            )
    folders = {place: use for place, use in places.items() if use.folder}
    for use in written:
        _keep_out(use, places, folders)
    for use in read:
        hit = None if use.pattern else places.get(place_of(use.path))
        if hit is None and folders and use.path.lower().endswith((".jpg", ".png")):
            behind = os.path.realpath(use.path)  # a link's picture lies in another folder
            beside = (os.path.dirname(path) or "." for path in (use.path, behind))
            hit = next((folders[p] for p in map(place_of, beside) if p in folders), None)
        if hit is None and (use.folder or use.pattern):
            hit = next((out for out in written if _joins(out, use)), None)
        if hit is not None:
            raise ConfigError(
                f"{hit.what} would write {hit.path} over what is read, {use.what}: {use.path}; "
                "input is never written over, name another path"
            )


def _keep_out(use: Use, places: Mapping[Place, Use], folders: Mapping[Place, Use]) -> None:
    """Refuse a file that would lie below another file, or among those of a folder of files.

    Raises:
        ConfigError: names both.
    """
    if use.folder:
        return
    above = os.path.dirname(use.path)
    other = folders.get(place_of(above)) if use.path.lower().endswith(_OF_FOLDERS) else None
    while other is None and above != os.path.dirname(above):
        found = places.get(place_of(above))
        other = None if found is None or found.folder else found
        above = os.path.dirname(above)
    if other is not None:
        raise ConfigError(
            f"{use.what} would write {use.path}, where {other.what} writes; give them different "
            "paths"
        )


def _pixels(source: SourcePlan) -> list[Use]:
    """The files of a local source, and the folder or pattern they come from."""
    kind, what = check_url(source.url), f"the source {source.id!r}"
    if kind not in (Kind.FILE, Kind.IMAGES):
        return []
    path = str(local_path(source.url))
    if kind is Kind.FILE and not is_pattern(source.url):
        return [Use(path, what)]
    try:
        found = [Use(str(image), what) for image in images_of(source.url)]
    except OSError:
        found = []  # opening it says what is wrong
    if is_pattern(source.url):
        return [Use(path, what, pattern=True), *found]
    return [Use(path, what, folder=os.path.isdir(path)), *found]


def _joins(out: Use, source: Use) -> bool:
    """Whether what is written becomes a picture of the source."""
    names = [os.path.join(out.path, name) for name in _PICTURES] if out.folder else [out.path]
    return any(_is_of(name, source) for name in names)


def _is_of(path: str, source: Use) -> bool:
    if os.path.splitext(path)[1].lower() not in IMAGE_SUFFIXES:
        return False
    folder, name = os.path.split(path)
    if source.folder:
        return place_of(folder) == place_of(source.path)
    head, tail = os.path.split(source.path)
    return fnmatchcase(name, tail) and _matches(_parts(folder), _parts(head))


def _parts(path: str) -> list[str]:
    """The folders of a path or pattern, links resolved as far as there is no wildcard."""
    parts = Path(os.path.abspath(path)).parts
    fixed = next((n for n, part in enumerate(parts) if any(c in part for c in "*?[")), len(parts))
    return [*Path(os.path.realpath(os.path.join(*parts[:fixed]))).parts, *parts[fixed:]]


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a pattern of folders, `**` for any number of them, stands for these."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return _matches(parts, pattern[1:]) or (bool(parts) and _matches(parts[1:], pattern))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])
