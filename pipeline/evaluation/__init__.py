"""How good masks and tracks are: COCO's mask AP, HOTA, CLEAR and Identity, for boxes and masks."""

from pipeline.evaluation.run import RunReport, evaluate_run
from pipeline.evaluation.table import format_table, track_table
from pipeline.evaluation.tracks import TracksReport, evaluate_tracks

__all__ = [
    "RunReport",
    "TracksReport",
    "evaluate_run",
    "evaluate_tracks",
    "format_table",
    "track_table",
]
