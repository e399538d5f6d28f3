"""Figures as text: plain columns that a terminal, a report and a mail show alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.evaluation.average_precision import SUMMARY
from pipeline.evaluation.run import RunReport
from pipeline.plain import plain

TRACK_COLUMNS = ("HOTA", "DetA", "AssA", "LocA", "MOTA", "sMOTA", "IDF1", "IDSW", "FP", "FN")
_COUNTS = frozenset({"IDSW", "FP", "FN", "TP", "MT", "ML", "Frag"})


def format_table(report: RunReport) -> str:
    """Mask AP and track scores of a run."""
    parts = []
    if (precision := report.average_precision) is not None:
        head = f"mask AP of {precision.objects} objects in {precision.pictures} pictures"
        overall = " ".join(f"{name} {precision.overall[name]:.3f}" for name in SUMMARY[:3])
        classes = "  ".join(f"{plain(label)} {ap:.3f}" for label, ap in precision.by_class.items())
        parts.append(f"{head}\n  {overall}\n  {classes}")
    if report.tracks:
        head = f"mask tracks in {report.tracked_frames} frames"
        parts.append(f"{head}\n{track_table(report.tracks)}")
    if report.unknown or report.missing:
        parts.append(
            f"not judged: {report.unknown} frames the truth does not know, "
            f"{report.missing} of its pictures that were not published"
        )
    return "\n\n".join(parts)


def track_table(
    rows: Mapping[str, Mapping[str, float]], columns: Sequence[str] = TRACK_COLUMNS
) -> str:
    """One line a row; shares in percent, counts as they are.

    Args:
        rows: scores, as `TrackCounts.scores` names them, by name of the row.
        columns: which scores, in order.
    """
    rows = {plain(name): scores for name, scores in rows.items()}
    width = max(len(name) for name in rows)
    lines = ["  " + " " * width + "".join(f"{name:>8}" for name in columns)]
    for name, scores in rows.items():
        cells = (
            f"{scores[c]:>8.0f}" if c in _COUNTS else f"{scores[c] * 100:>8.2f}" for c in columns
        )
        lines.append(f"  {name:<{width}}" + "".join(cells))
    return "\n".join(lines)
