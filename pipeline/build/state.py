"""What is kept of a source between two runs, in files of `run.state_dir`.

A source's state belongs to its output. It is called by the source's id, `clip.json`; where that is
the state of other output, which `clip.output` lists, by its own output as well. So two runs with
files of one name may share a folder, and neither throws the other's state away.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.build.naming import targets_of
from pipeline.config import Settings, SourceSettings
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.stream import Checkpoint


def checkpoint_of(settings: Settings, source: SourceSettings, run: str) -> Checkpoint | None:
    """Where the progress of a source is kept; None without `run.state_dir`."""
    if settings.run.state_dir is None:
        return None
    from pipeline.stream import Checkpoint

    return Checkpoint(_path(settings, source, ".json"), run=run, source_id=source.id)


def state_files(settings: Settings, source: SourceSettings) -> list[str]:
    """What may be written into `run.state_dir` for a source."""
    if settings.run.state_dir is None:
        return []
    paths = [str(_path(settings, source, end)) for end in (".json", ".json.new", ".run")]
    return [*paths, str(_owner(settings, source))]


def claim(settings: Settings, source: SourceSettings) -> None:
    """Give the short name to the output that asks first; what is there already keeps it.

    Raises:
        ConfigError: nothing can be written there.
    """
    owner = _owner(settings, source)
    if settings.run.state_dir is None or owner.exists():
        return
    older = owner.with_suffix(".json")  # of a version that did not write down whose it is
    output = _named(_claimed(older)) if older.exists() else _output(settings, source)
    fresh = owner.with_suffix(f".{secrets.token_hex(4)}")
    try:
        owner.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_bytes(output)
        try:
            os.link(fresh, owner)
        except FileExistsError:
            pass  # somebody was quicker
        finally:
            fresh.unlink()
    except OSError as error:
        raise ConfigError(f"run.state_dir: {owner} cannot be written: {error.strerror}") from error


def live_run(settings: Settings, source: SourceSettings) -> str:
    """The run of a camera: random, and kept in `run.state_dir` where there is one.

    Raises:
        ConfigError: nothing can be written there.
    """
    fresh = secrets.token_hex(8)
    if settings.run.state_dir is None:
        return fresh
    path = _path(settings, source, ".run")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("x", encoding="ascii") as file:
                file.write(fresh)
        except FileExistsError:
            return path.read_text(encoding="ascii").strip() or fresh
    except OSError as error:
        raise ConfigError(f"run.state_dir: {path} cannot be written: {error.strerror}") from error
    return fresh


def forget_claims(settings: Settings, fresh: Sequence[SourceSettings]) -> None:
    """Delete states of other runs that claim output which is now written anew.

    Going on from such a state would cut into the middle of what another run has written.
    """
    if settings.run.state_dir is None or not fresh:
        return
    targets = {path for source in fresh for path in targets_of(settings, source)}
    for path in Path(settings.run.state_dir).glob("*.json"):
        if not _claimed(path).isdisjoint(targets):
            path.unlink(missing_ok=True)


def _owner(settings: Settings, source: SourceSettings) -> Path:
    """Lists the output that the state with the short name is of."""
    return Path(settings.run.state_dir or "", f"{source.id}.output")


def _path(settings: Settings, source: SourceSettings, suffix: str) -> Path:
    """A file of `run.state_dir`, called by the source and, where that is taken, by its output."""
    owner, output = _owner(settings, source), _output(settings, source)
    try:
        taken = owner.read_bytes() != output
    except OSError:
        taken = False
    key = f"-{hashlib.sha256(output).hexdigest()[:12]}" if taken else ""
    return owner.with_name(f"{source.id}{key}{suffix}")


def _output(settings: Settings, source: SourceSettings) -> bytes:
    return _named(targets_of(settings, source) or [source.url])


def _named(paths: Iterable[str]) -> bytes:
    return os.fsencode("".join(f"{path}\n" for path in sorted(paths)))


def _claimed(state: Path) -> set[str]:
    """The files a checkpoint stands in; nothing for what is no checkpoint."""
    try:
        values = json.loads(state.read_text(encoding="utf-8"))
        if values["schema"].startswith("maskstream.checkpoint/"):
            return {os.path.abspath(path) for path in _paths(values["sinks"])}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        pass
    return set()


def _paths(position: Any) -> Iterator[str]:
    """Every `path` inside the positions of sinks; one that wraps another nests its position."""
    if isinstance(position, dict):
        if isinstance(position.get("path"), str):
            yield position["path"]
        for value in position.values():
            yield from _paths(value)
