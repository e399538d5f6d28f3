"""Records to another format and back, frame by frame; the output is there whole or not at all."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.accounting import StreamCounts
from pipeline.catalogue import hint
from pipeline.errors import ConfigError, SourceError
from pipeline.formats import jsonl
from pipeline.formats.exchange import EXCHANGES, Assumed, Exchange, understood
from pipeline.formats.json_list import objects
from pipeline.formats.whole import refuse_existing, whole
from pipeline.reading import open_regular
from pipeline.results import FrameResult
from pipeline.stages import Outcome, Status, StreamEnd

RECORDS = "jsonl"
_BY_SUFFIX = {".jsonl": RECORDS, ".xml": "cvat", ".txt": "mots", ".parquet": "parquet"}


@dataclass(slots=True)
class Converted:
    """What was done."""

    output: Path
    frames: int = 0
    instances: int = 0
    torn_line: int | None = None
    """Of the records; it was left out."""
    run: str = ""
    source_id: str = ""
    tracks: set[int] = field(default_factory=set)

    def __str__(self) -> str:
        return (
            f"{self.output}: {self.frames} frames, {self.instances} instances, "
            f"{len(self.tracks)} tracks"
        )


def to_format(source: Path, output: Path, form: Exchange, *, overwrite: bool) -> Converted:
    """Export records.

    Raises:
        ConfigError: the output is there, or what the format needs is not installed.
        SourceError: a record is damaged, or the format has no place for it; nothing was written.
    """
    done = Converted(output)
    refuse_existing(output, overwrite=overwrite)
    if form.folder:
        _refuse_filled_folder(output)
    with understood(source, "a record file"):
        open_regular(source).close()
    results = jsonl.read_records(source, on_torn=lambda line: setattr(done, "torn_line", line))
    with _written(output), whole(output, overwrite=overwrite, folder=form.folder) as part:
        form.writer()(part, _counted(source, results, form, done))
        if not done.frames:
            raise SourceError(f"{source}: there is no {jsonl.FRAME_SCHEMA} record in it")
    return done


def to_records(
    source: Path, output: Path, form: Exchange, assumed: Assumed, *, overwrite: bool
) -> Converted:
    """Read a format back; the end record says that the file is whole.

    Raises:
        ConfigError: the output is there, or what the format needs is not installed.
        SourceError: the file is damaged; nothing was written.
    """
    done = Converted(output)
    results = form.reader()(source, assumed)
    with _written(output), whole(output, overwrite=overwrite) as part, part.open("wb") as file:
        for result in _counted(source, results, None, done):
            file.write(jsonl.dumps(result) + b"\n")
        if not done.frames:
            raise SourceError(f"{source}: there is no frame in it")
        counts = StreamCounts(done.source_id, captured=done.frames, published=done.frames)
        outcome = Outcome(Status.COMPLETE, None, done.frames, done.frames)
        file.write(jsonl.dumps(StreamEnd(done.run, outcome, counts)) + b"\n")
    return done


def format_of(path: Path) -> str:
    """The name of the format of a file, by its name and how it begins.

    Raises:
        SourceError: it cannot be read, or is none of them.
    """
    if known := _BY_SUFFIX.get(path.suffix.lower()):
        return known
    with understood(path, "a file of a known format; name it with --from"):
        with open_regular(path) as file:
            begin = file.read(1 << 16).lstrip()[:1]
            if begin == b"{":
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    return "ytvis" if content.find(b'"segmentations"') >= 0 else "coco"
        first = next(objects(path), {})
        return "labelstudio" if "data" in first else "coco"


def exchange(name: str) -> Exchange:
    """A row of the catalogue.

    Raises:
        ConfigError: there is none of that name; says the nearest.
    """
    try:
        return EXCHANGES[name]
    except KeyError:
        names = sorted([*EXCHANGES, RECORDS])
        raise ConfigError(
            f"--to {name}: no known format{hint(name, names)}; formats are {', '.join(names)}"
        ) from None


def _counted(
    source: Path, results: Iterable[FrameResult], form: Exchange | None, done: Converted
) -> Iterator[FrameResult]:
    """The results as they go by; all of one source, in order, with what the format needs."""
    last: FrameResult | None = None
    for result in results:
        if last is not None and result.source_id != last.source_id:
            raise SourceError(
                f"{source}: records of two sources, {last.source_id!r} and {result.source_id!r}; "
                "give one a file"
            )
        if last is not None and result.index <= last.index:
            raise SourceError(
                f"{source}: frame {result.index} comes after frame {last.index}; frames have to "
                "be in order, each once"
            )
        found = result.instances
        if found.track_ids is not None:
            done.tracks.update(found.track_ids.tolist())
        elif form is not None and form.tracked and len(found):
            raise SourceError(
                f"{source}: frame {result.index} has instances without a track id; {form.name} "
                "needs one for each, run it with a tracker or `maskstream retrack` it"
            )
        done.frames += 1
        done.instances += len(found)
        done.run, done.source_id = result.run, result.source_id
        yield result
        last = result


def _refuse_filled_folder(output: Path) -> None:
    """A folder may hold what people corrected by hand: it is never replaced, nor emptied."""
    if os.path.lexists(output) and not (output.is_dir() and not any(output.iterdir())):
        raise ConfigError(f"{output}: is no empty folder and is not replaced; name another")


@contextmanager
def _written(output: Path) -> Iterator[None]:
    """What the disk says of an output becomes one line.

    Raises:
        ConfigError: it cannot be written.
        SourceError: what is to be written has no place there.
    """
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{output}: cannot be written: {error.strerror}") from error
    except ValueError as error:  # a name that is no text, a number JSON has no word for
        raise SourceError(f"{output}: cannot be written: {error}") from error
