"""What is kept of a source between two runs, in files of `run.state_dir`.

A source's state belongs to its output. It is called by the source's id, `clip.json`; where that is
the state of other output, which `clip.output` lists, by its own output as well. So two runs with
files of one name may share a folder, and neither throws the other's state away.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import sinks
from pipeline.errors import ConfigError
from pipeline.plan.identity import model_of, read_by
from pipeline.plan.outputs import known_sinks
from pipeline.plan.places import StatePlace, is_url, place_of
from pipeline.plan.run import RunPlan
from pipeline.plan.stream import CheckpointPlan, StreamPlan
from pipeline.secrets import mask_url
from pipeline.state.disk import LOCAL, Disk
from pipeline.stream.settings import SinkPlan

if TYPE_CHECKING:
    from pipeline.stream import Checkpoint, State

BESIDE = ".maskstream"
"""The folder of states beside output."""


def checkpoint_of(plan: RunPlan, stream: StreamPlan) -> CheckpointPlan | None:
    """Where the progress of a stream is kept; None: nowhere.

    In `run.state_dir`; else, for a file, beside its output until it is complete.
    """
    lasting = plan.state_dir is not None
    path = _path(plan, stream, ".json") if lasting else _beside(plan, stream)
    if path is None:
        return None
    return CheckpointPlan(
        path=str(path),
        store=plan.state_dir if plan.state_dir is not None and is_url(plan.state_dir) else None,
        tenure=plan.tenures.get(plan.state_dir or str(path.parent)),
        lasting=lasting,
        read=read_by(stream) if stream.checkpoint is None else stream.checkpoint.read,
        model=model_of(plan.model),
    )


def spool_of(plan: RunPlan, stream: StreamPlan, sink: SinkPlan) -> str | None:
    """Where what a service does not take at once is kept; None: the sink is none.

    In `run.state_dir`, else beside the output, else in the folder the run is started in. The same
    source and the same service have the same spool in every run.
    """
    if not sinks.is_service(sink.url):
        return None
    service = mask_url(sink.url.partition("?")[0])
    key = hashlib.sha256(f"{service}\n{mask_url(stream.source.url)}".encode()).hexdigest()[:12]
    return os.path.abspath(_folder(plan, stream) / f"{stream.id}-{sink.name}-{key}.spool")


def kept(stream: StreamPlan) -> Checkpoint | None:
    """The checkpoint of a stream; None: it has none."""
    if stream.checkpoint is None:
        return None
    from pipeline.stream import Checkpoint

    store = stream.checkpoint.store
    return Checkpoint(
        Path(stream.checkpoint.path),
        run=stream.run,
        source_id=stream.id,
        known=known_sinks(stream.sinks, stream.checkpoint.read),
        model=stream.checkpoint.model,
        lasting=stream.checkpoint.lasting,
        disk=LOCAL if store is None else place_of(store).disk,
        tenure=stream.checkpoint.tenure,
    )


def existing(stream: StreamPlan) -> str | None:
    """Output of a stream that is there already; None: there is none."""
    for path in stream.outputs:
        if os.path.isfile(path) or (os.path.isdir(path) and os.listdir(path)):
            return path
    return None


def unaccounted(stream: StreamPlan, state: State | None) -> str | None:
    """Output of a camera of which nothing is known, because its state could not be written.

    What was published there does not come again, so it is not begun anew like that of a file.
    """
    camera = stream.source.live if state is None else state.live
    if not camera or (state is not None and (state.numbers or any(state.sinks.values()))):
        return None
    return next((path for path in stream.outputs if holds_something(path)), None)


def holds_something(path: str) -> bool:
    """Whether there is output already, and not an empty one."""
    if os.path.isdir(path):
        return bool(os.listdir(path))
    return os.path.isfile(path) and os.path.getsize(path) > 0


def state_files(plan: RunPlan, stream: StreamPlan) -> list[str]:
    """What may be written of a stream's state on the disks of this machine."""
    if plan.state_dir is None:
        beside = _beside(plan, stream)
        return [] if beside is None else [str(beside), f"{beside}.new"]
    if is_url(plan.state_dir):
        return []
    ends = (".json", ".json.new", ".numbers", ".run")
    paths = [str(_path(plan, stream, end)) for end in ends]
    return [*paths, str(_owner(plan, stream))]


def claim(plan: RunPlan, stream: StreamPlan) -> None:
    """Give the short name to the output that asks first; what is there already keeps it.

    That of a camera is listed as it is now: its sinks may change, one at a time.

    Raises:
        ConfigError: nothing can be written there.
    """
    if plan.state_dir is None:
        return
    owner, disk = _owner(plan, stream), place_of(plan.state_dir).disk
    try:
        older = owner.with_suffix(".json")  # of a version that did not write down whose it is
        names = disk.names(str(owner.parent))
        if owner.name not in names:
            claimed = _claimed(disk, str(older)) if older.name in names else None
            disk.make(str(owner), _output(stream) if claimed is None else _named(claimed))
        elif stream.source.live and has_short_name(plan, stream):
            _relist(disk, owner, _output(stream))
    except OSError as error:
        raise _unwritable(disk, owner, error) from error


def claim_both(plan: RunPlan, before: StreamPlan, after: StreamPlan) -> None:
    """List the output of a camera before and after its sinks change: killed, either is found.

    Raises:
        ConfigError: nothing can be written there.
    """
    if plan.state_dir is None:
        return
    owner, disk = _owner(plan, before), place_of(plan.state_dir).disk
    lines = {*_output(before).splitlines(True), *_output(after).splitlines(True)}
    try:
        _relist(disk, owner, b"".join(sorted(lines)))
    except OSError as error:
        raise _unwritable(disk, owner, error) from error


def has_short_name(plan: RunPlan, stream: StreamPlan) -> bool:
    """Whether its state is called by its source alone, or it has none."""
    return plan.state_dir is None or not _is_anothers(plan, stream)


def _relist(disk: Disk, owner: Path, output: bytes) -> None:
    if owner.name not in disk.names(str(owner.parent)) or disk.read(str(owner)) != output:
        disk.replace(str(owner), output)


def live_run(plan: RunPlan, stream: StreamPlan, *, lasting: bool) -> str:
    """The run of a camera: random, and kept in `run.state_dir` where there is one.

    As long as it is the same no number is used twice; who starts over begins another.

    Args:
        plan: of the run.
        stream: of the camera.
        lasting: False: nothing is written.

    Raises:
        ConfigError: nothing can be written there.
    """
    fresh = secrets.token_hex(8)
    if plan.state_dir is None or (stream.overwrite and not lasting):
        return fresh
    path, disk = _path(plan, stream, ".run"), place_of(plan.state_dir).disk
    if lasting:
        try:
            if stream.overwrite:
                disk.replace(str(path), fresh.encode())
            else:
                disk.make(str(path), fresh.encode())
        except OSError as error:
            raise _unwritable(disk, path, error) from error
    return _read_run(disk, path) or fresh


def _read_run(disk: Disk, path: Path) -> str | None:
    """The run that was kept; None: none was.

    Raises:
        ConfigError: it cannot be read; going on without it would be another run.
    """
    reason = "it is damaged"
    try:
        if re.fullmatch(
            r"[0-9a-f]{16}",
            run := disk.read(str(path)).decode("ascii").strip(),
        ):
            return run
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        pass
    except OSError as error:
        reason = error.strerror or reason
    raise ConfigError(
        f"{disk.shown(str(path))}: cannot read the run of a camera: {reason}; delete it and "
        f"{disk.shown(str(path.with_suffix('.json')))} to start from the beginning"
    )


def _unwritable(disk: Disk, path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"run.state_dir: {disk.shown(str(path))} cannot be written: {error.strerror}"
    )


def forget_claims(plan: RunPlan, fresh: Sequence[StreamPlan]) -> None:
    """Delete states of other runs that claim output which is now written anew.

    Going on from such a state would cut into the middle of what another run has written.
    """
    targets = {path for stream in fresh for path in stream.outputs}
    places = [StatePlace(LOCAL, str(Path(path).parent / BESIDE)) for path in sorted(targets)]
    if plan.state_dir is not None and fresh:
        places.append(place_of(plan.state_dir))
    for place in dict.fromkeys(places):
        for name in place.disk.names(place.folder):
            state = os.path.join(place.folder, name)
            if name.endswith(".json") and not _claimed(place.disk, state).isdisjoint(targets):
                place.disk.remove(state)


def _beside(plan: RunPlan, stream: StreamPlan) -> Path | None:
    """The state of a file without `run.state_dir`, called by all its output."""
    named = stream.outputs + [s.url for s in stream.sinks if sinks.is_service(s.url)]
    if stream.source.live or not named or not plan.resume:
        return None
    key = hashlib.sha256(_named(named)).hexdigest()[:12]
    return _folder(plan, stream).absolute() / f"{stream.id}-{key}.json"


def _folder(plan: RunPlan, stream: StreamPlan) -> Path:
    """Where the state of a stream lies."""
    if plan.state_dir is not None and not is_url(plan.state_dir):
        return Path(plan.state_dir)
    return Path(stream.outputs[0]).parent / BESIDE if stream.outputs else Path(BESIDE)


def _owner(plan: RunPlan, stream: StreamPlan) -> Path:
    """Lists the output that the state with the short name is of."""
    return Path(place_of(plan.state_dir or "").folder, f"{stream.id}.output")


def _path(plan: RunPlan, stream: StreamPlan, suffix: str) -> Path:
    """A file of `run.state_dir`, called by the source and, where that is taken, by its output."""
    key = hashlib.sha256(_output(stream)).hexdigest()[:12]
    called = f"{stream.id}-{key}" if _is_anothers(plan, stream) else stream.id
    return _owner(plan, stream).with_name(f"{called}{suffix}")


def _is_anothers(plan: RunPlan, stream: StreamPlan) -> bool:
    """Whether a state is of other output: of a file's than all of it, of a camera's than any."""
    owner, disk = _owner(plan, stream), place_of(plan.state_dir or "").disk
    try:
        listed, output = disk.read(str(owner)), _output(stream)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ConfigError(
            f"{disk.shown(str(owner))}: cannot read whose state {stream.id!r} is: "
            f"{error.strerror}; make it "
            "readable, or name another run.state_dir"
        ) from error
    if stream.source.live:
        return set(listed.splitlines()).isdisjoint(output.splitlines())
    return listed != output


def _output(stream: StreamPlan) -> bytes:
    return _named(stream.outputs or [stream.source.url])


def _named(paths: Iterable[str]) -> bytes:
    return os.fsencode("".join(f"{path}\n" for path in sorted(paths)))


def _claimed(disk: Disk, state: str) -> set[str]:
    """The files a checkpoint stands in; nothing for what is no checkpoint."""
    try:
        values = json.loads(disk.read(state))
        if values["schema"].startswith("maskstream.checkpoint/"):
            return {os.path.abspath(path) for path in _paths(values["sinks"])}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    return set()


def _paths(position: Any) -> Iterator[str]:
    """Every `path` inside the positions of sinks; one that wraps another nests its position."""
    if isinstance(position, dict):
        if isinstance(position.get("path"), str):
            yield position["path"]
        for value in position.values():
            yield from _paths(value)
