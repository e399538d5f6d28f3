"""How good masks and tracks are: COCO's mask AP, HOTA, CLEAR and Identity, for boxes and masks."""

from pipeline.evaluation.run import RunReport, evaluate_run
from pipeline.evaluation.table import format_table, track_table

__all__ = ["RunReport", "evaluate_run", "format_table", "track_table"]
