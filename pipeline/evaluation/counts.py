"""`TrackCounts`: what HOTA, CLEAR and Identity are computed from; counts of sequences add up."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np

from pipeline.arrays import Floats

ALPHAS = np.arange(0.05, 0.99, 0.05)
"""Localisation thresholds of HOTA."""


def _zeros() -> Floats:
    return np.zeros(len(ALPHAS))


@dataclass(frozen=True, slots=True, eq=False)
class TrackCounts:
    """Sums over the frames of one or many sequences; arrays have one value per `ALPHAS`."""

    hota_tp: Floats = field(default_factory=_zeros)
    hota_fn: Floats = field(default_factory=_zeros)
    hota_fp: Floats = field(default_factory=_zeros)
    association: Floats = field(default_factory=_zeros)
    """Sum over true positives of their association accuracy; so the next two."""
    association_recall: Floats = field(default_factory=_zeros)
    association_precision: Floats = field(default_factory=_zeros)
    location: Floats = field(default_factory=_zeros)
    """Sum over true positives of their similarity."""
    tp: int = 0
    fn: int = 0
    fp: int = 0
    switches: int = 0
    fragments: int = 0
    overlap: float = 0.0
    """Sum over CLEAR's true positives of their similarity."""
    mostly_tracked: int = 0
    partly_tracked: int = 0
    mostly_lost: int = 0
    id_tp: int = 0
    id_fn: int = 0
    id_fp: int = 0

    def __add__(self, other: TrackCounts) -> TrackCounts:
        return TrackCounts(
            **{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        )

    def scores(self) -> dict[str, float]:
        """All figures by their usual names, shares in [0, 1] (MOTA may be negative)."""
        return {**self._hota(), **self._clear(), **self._identity()}

    def _hota(self) -> dict[str, float]:
        tp = np.maximum(1, self.hota_tp)
        det = self.hota_tp / np.maximum(1, self.hota_tp + self.hota_fn + self.hota_fp)
        ass = self.association / tp
        loc = np.maximum(1e-10, self.location) / np.maximum(1e-10, self.hota_tp)
        values = {
            "HOTA": np.sqrt(det * ass),
            "DetA": det,
            "AssA": ass,
            "DetRe": self.hota_tp / np.maximum(1, self.hota_tp + self.hota_fn),
            "DetPr": self.hota_tp / np.maximum(1, self.hota_tp + self.hota_fp),
            "AssRe": self.association_recall / tp,
            "AssPr": self.association_precision / tp,
            "LocA": loc,
        }
        return {name: float(value.mean()) for name, value in values.items()}

    def _clear(self) -> dict[str, float]:
        truth = max(1.0, self.tp + self.fn)
        return {
            "MOTA": (self.tp - self.fp - self.switches) / truth,
            "sMOTA": (self.overlap - self.fp - self.switches) / truth,
            "MOTP": self.overlap / max(1.0, self.tp),
            "TP": self.tp,
            "FN": self.fn,
            "FP": self.fp,
            "IDSW": self.switches,
            "Frag": self.fragments,
            "MT": self.mostly_tracked,
            "PT": self.partly_tracked,
            "ML": self.mostly_lost,
        }

    def _identity(self) -> dict[str, float]:
        return {
            "IDF1": self.id_tp / max(1.0, self.id_tp + 0.5 * self.id_fp + 0.5 * self.id_fn),
            "IDR": self.id_tp / max(1.0, self.id_tp + self.id_fn),
            "IDP": self.id_tp / max(1.0, self.id_tp + self.id_fp),
        }
