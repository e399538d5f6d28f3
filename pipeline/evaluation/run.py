"""How good a run was: its records against the truth of its sources.

Mask AP is computed from the sources run with tracker `none`, whose records hold every detection;
where there is none, from the tracked ones. Mask HOTA is computed from the tracked sources. Both
come from the files of the run alone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ConfigError, in_one_line
from pipeline.evaluation.average_precision import AveragePrecision, Pair, mask_ap
from pipeline.evaluation.counts import TrackCounts
from pipeline.evaluation.judged import Judged
from pipeline.evaluation.metrics import count
from pipeline.evaluation.truth import Truth, truth_of
from pipeline.formats.jsonl import RunRecords, read_run
from pipeline.instances import Instances
from pipeline.plan.manifest import read_manifest
from pipeline.results import FrameResult


@dataclass(frozen=True, slots=True)
class RunReport:
    """The measured quality of one run."""

    folder: str
    average_precision: AveragePrecision | None
    """None where no source has a truth."""
    tracked_frames: int
    tracks: Mapping[str, Mapping[str, float]]
    """Scores by label, and under `all` of every class together; empty without tracked truth."""
    unknown: int = 0
    """Frames that were published and of which the truth knows nothing: they are not judged."""
    missing: int = 0
    """Pictures of the truth that were not published: they are not judged either."""

    def to_json(self) -> str:
        """All figures as JSON."""
        return json.dumps(asdict(self), indent=1)


@dataclass(frozen=True, slots=True, eq=False)
class _Judgeable:
    """A source of the run with its records and its truth."""

    source_id: str
    tracked: bool
    truth: Truth
    pairs: list[Pair]
    unknown: int
    """Frames without a truth."""

    @property
    def missing(self) -> int:
        """Pictures of the truth without a frame."""
        return max((self.truth.pictures or len(self.pairs)) - len(self.pairs), 0)


def evaluate_run(folder: str | Path, *, gt: Path | None = None) -> RunReport:
    """Judge the records in the output folder of a run.

    Args:
        folder: holds `run-*.json` and `<source id>.jsonl`, of one run or several.
        gt: the truth of sources that do not know their own: a COCO or MOTS file, or a folder of
            them named by source id.

    Raises:
        ConfigError: this is no output of a run, or nothing in it can be judged.
        SourceError: a record file is damaged.
    """
    folder = Path(folder)
    sources = list(_judgeable(folder, gt))
    if not sources:
        raise ConfigError(
            f"{folder}: no truth is known for the sources of this run; name one with --gt"
        )
    labels = {class_id: name for s in sources for class_id, name in s.truth.labels.items()}
    detected = [s for s in sources if not s.tracked] or sources
    followed = [s for s in sources if s.tracked and s.truth.tracked]
    precision = mask_ap((pair for s in detected for pair in s.pairs), labels)
    if not precision.objects:
        raise ConfigError(
            f"{folder}: the truth has no object in the {precision.pictures} frames that can be "
            "judged, so there is no average precision"
        )
    return RunReport(
        folder=str(folder),
        average_precision=precision,
        tracked_frames=sum(len(s.pairs) for s in followed),
        tracks=_track_scores(followed, labels),
        unknown=sum(s.unknown for s in sources),
        missing=sum(s.missing for s in sources),
    )


def _judgeable(folder: Path, gt: Path | None) -> Iterator[_Judgeable]:
    for source_id, entries in _sources(folder).items():
        records = folder / f"{source_id}.jsonl"
        if not records.exists():
            raise ConfigError(
                f"{folder}: {records.name} is missing; a run is judged by its records, "
                "add the sink jsonl:"
            )
        read = read_run(records)
        source = _said_of(read, entries)
        truth = truth_of(source_id, source["url"], gt)
        if truth is not None:
            tracked = source["tracker"] != "none"
            pairs = paired(source_id, read.results, truth)
            yield _Judgeable(source_id, tracked, truth, pairs, len(read.results) - len(pairs))


def _sources(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What the manifests say of each source, the latest first.

    Runs without records are left out, if there is one that has them.
    """
    manifests = _manifests(folder)
    judged = [m for m in manifests if any(s.startswith("jsonl:") for s in m.get("sinks", ()))]
    found: dict[str, list[dict[str, Any]]] = {}
    for manifest in judged or manifests:
        for source in manifest["sources"]:
            found.setdefault(source["id"], []).append(source)
    return found


def _said_of(records: RunRecords, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """The entry that is of the run which wrote the records; one that is overwritten is not."""
    run = records.results[0].run if records.results else (records.end or {}).get("run")
    return next((entry for entry in entries if entry.get("run") == run), entries[0])


def _manifests(folder: Path) -> list[dict[str, Any]]:
    """Every manifest in a folder, the latest first; `run.json` is that of earlier versions."""
    paths = [*folder.glob("run-*.json"), *folder.glob("run.json")]
    if not paths:
        raise ConfigError(f"{folder}: no output of a run: there is no run-*.json in it")
    manifests = []
    problems = []
    for path in sorted(paths, key=lambda path: path.lstat().st_mtime, reverse=True):
        try:
            manifests.append(read_manifest(path))
        except ConfigError as error:
            problems.append(str(error))
    if not manifests:
        raise ConfigError(problems[0])
    return manifests


def paired(source_id: str, results: Sequence[FrameResult], truth: Truth) -> list[Pair]:
    """Truth and answer of every published frame that the truth knows.

    Raises:
        ConfigError: it knows none of them, or nothing that it tells of is in them.
    """
    _check_names(source_id, results, truth)
    found = [(_there(truth, result), result.instances) for result in results]
    pairs = [Pair(there, answer) for there, answer in found if there is not None]
    if results and (not pairs or (truth.objects and not any(len(pair.truth) for pair in pairs))):
        first = results[0].file or f"frame {results[0].index}"
        what = f"has nothing in the {len(pairs)} frames" if pairs else "knows none of the frames"
        raise ConfigError(
            f"{truth.origin}: {what} of {source_id} ({first}, ...); frames are matched by file "
            "name where both sides have one, else image ids are frame indices from 0"
        )
    return pairs


def _there(truth: Truth, result: FrameResult) -> Instances | None:
    """What the truth has in a frame, in masks of that frame's size."""
    try:
        found = truth.at(result)
    except KeyError as error:
        raise ConfigError(f"{truth.origin}: {error} is missing of an annotation") from error
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError) as error:
        raise ConfigError(f"{truth.origin}: {in_one_line(error)}") from error
    if found is not None and found.masks.size != result.size:
        (height, width), (h, w) = found.masks.size, result.size
        raise ConfigError(
            f"{truth.origin}: has {width}x{height} pixels in frame {result.index} of "
            f"{result.source_id}, which was published with {w}x{h}"
        )
    return found


def _check_names(source_id: str, results: Sequence[FrameResult], truth: Truth) -> None:
    """A file of several pictures is one picture to a truth that goes by file names."""
    if truth.pictures is None:
        return
    times = Counter(result.file for result in results if result.file is not None)
    if several := [file for file, count in times.items() if count > 1]:
        raise ConfigError(
            f"{truth.origin}: {several[0]} of {source_id} holds {times[several[0]]} pictures, "
            "which a truth by file names cannot tell apart; store them as files of their own"
        )


def _track_scores(sources: list[_Judgeable], labels: Mapping[int, str]) -> dict[str, Any]:
    """Scores of each class that occurs, and of all together: their counts added up."""
    if not sources:
        return {}
    together = TrackCounts()
    scores = {}
    frames = [s.pairs for s in sources]
    for class_id, label in labels.items():
        counts = [count(judge_class(pairs, class_id)) for pairs in frames]
        of_class = sum(counts, TrackCounts())
        if of_class.tp + of_class.fn + of_class.fp:
            scores[label] = of_class.scores()
            together = together + of_class
    return {"all": together.scores(), **scores}


def judge_class(pairs: Sequence[Pair], class_id: int) -> Judged:
    """One class of a sequence, every mask counted."""
    truth_ids, result_ids, similarity = [], [], []
    for pair in pairs:
        truth = pair.truth[pair.truth.class_ids == class_id]
        found = pair.found[pair.found.class_ids == class_id]
        truth_ids.append(_ids(truth.track_ids))
        result_ids.append(_ids(found.track_ids))
        similarity.append(truth.masks.iou(found.masks))
    return Judged.of(truth_ids, result_ids, similarity)


def _ids(track_ids: np.ndarray[Any, np.dtype[np.int64]] | None) -> np.ndarray[Any, Any]:
    return np.zeros(0, np.int64) if track_ids is None else track_ids
