"""Which sequences are judged: all that the truth has, or those of a sequence map.

A tracker that leaves out the hard sequences would look better than it is, so a sequence without a
result is refused, as the official tools do.
"""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigError, SourceError
from pipeline.formats.mot import MAX_FRAME, text_lines

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Sequence:
    """One sequence: its truth, what was found in it, and its length if that is known."""

    name: str
    truth: Path
    result: Path
    frames: int | None


def find_sequences(gt: Path, results: Path, suffix: str, seqmap: Path | None) -> list[Sequence]:
    """The sequences to be judged, by name; results of others are refused.

    Args:
        gt: a folder of truths (for records, also one file for all results).
        results: a folder with a file for each.
        suffix: of the results: `.txt` or `.jsonl`.
        seqmap: names the sequences; None: all that have a truth or a result.

    Raises:
        ConfigError: a file is missing.
    """
    answers = {file.stem: file for file in sorted(results.glob(f"*{suffix}"))}
    if not answers:
        raise ConfigError(f"{results}: no {suffix} file there to be judged")
    known = truths(gt, suffix) if gt.is_dir() else dict.fromkeys(answers, gt)
    named = {name: None for name in sorted(known.keys() | answers)}
    lengths = read_seqmap(seqmap) if seqmap is not None else named
    if unknown := [name for name in lengths if name not in known]:
        raise ConfigError(f"{gt}: has {_places(unknown[0], suffix)}")
    if lost := [name for name in lengths if name not in answers]:
        raise ConfigError(
            f"{results}: has no result for {len(lost)} of {len(lengths)} sequences: "
            f"{', '.join(lost[:_SHOWN])}{', ...' if len(lost) > _SHOWN else ''}; where nothing was "
            "found the file is empty, and --seqmap names the sequences if not all are to be judged"
        )
    return [
        Sequence(name, known[name], answers[name], _counted(name, frames or _length(known[name])))
        for name, frames in lengths.items()
    ]


def _counted(name: str, frames: int | None) -> int | None:
    if frames is not None and not 0 < frames <= MAX_FRAME:
        raise ConfigError(f"{name}: its length is {frames} frames, expected 1 to {MAX_FRAME:,}")
    return frames


def truths(gt: Path, suffix: str) -> dict[str, Path]:
    """The truth of every sequence in a folder, by name."""
    if suffix == ".jsonl":
        return {file.stem: file for file in [*gt.glob("*.txt"), *gt.glob("*.json")]}
    inside = {file.parents[1].name: file for file in gt.glob("*/gt/gt.txt")}
    return inside | {file.stem: file for file in gt.glob("*.txt")}


def read_seqmap(path: Path) -> Mapping[str, int | None]:
    """Names and lengths of a sequence map, as KITTI or MOTChallenge write it.

    KITTI's lines have the number of the last frame as the fourth word; MOTChallenge has a name a
    line below the word `name`, and the lengths elsewhere.

    Raises:
        ConfigError: it cannot be read, or names nothing.
    """
    lengths: dict[str, int | None] = {}
    try:
        for _, line in text_lines(path):
            words = line.replace(",", " ").split()
            if words and words[0] != "name":
                lengths[words[0]] = int(words[3]) + 1 if len(words) > 3 else None
    except SourceError as error:
        raise ConfigError(str(error)) from error
    except ValueError as error:
        raise ConfigError(f"{path}: no sequence map: {error}") from error
    if not lengths:
        raise ConfigError(f"{path}: names no sequence")
    return lengths


def _places(name: str, suffix: str) -> str:
    if suffix == ".jsonl":
        return f"neither {name}.json (COCO) nor {name}.txt (MOTS)"
    return f"neither {name}.txt nor {name}/gt/gt.txt"


def _length(truth: Path) -> int | None:
    """Of a MOTChallenge folder, which has it beside the truth."""
    path = truth.parent.parent / "seqinfo.ini"
    if truth.name != "gt.txt" or not path.is_file():
        return None
    info = configparser.ConfigParser()
    try:
        info.read(path, encoding="utf-8")
        return info.getint("Sequence", "seqLength")
    except (configparser.Error, ValueError) as error:
        raise ConfigError(f"{path}: has no seqLength in [Sequence]: {error}") from error
