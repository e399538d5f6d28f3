"""`Histogram`: durations counted in fixed buckets; plain, picklable, and they add up."""

from __future__ import annotations

from dataclasses import dataclass

BUCKETS_S = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6,
    0.75, 1.0, 1.5, 2.0, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds of the histograms' buckets, seconds; one more holds what is longer."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Durations of one stage, counted in fixed buckets."""

    counts: tuple[int, ...] = (0,) * (len(BUCKETS_S) + 1)
    """Durations up to each of `BUCKETS_S`, not cumulated; the last are the longer ones."""
    sum_s: float = 0.0

    def __add__(self, other: Histogram) -> Histogram:
        """Both together."""
        counts = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        return Histogram(counts, self.sum_s + other.sum_s)

    def since(self, earlier: Histogram) -> Histogram:
        """What came after an earlier state of this one; all of it where that one is no such."""
        counts = tuple(a - b for a, b in zip(self.counts, earlier.counts, strict=True))
        if min(counts) < 0:
            return self
        return Histogram(counts, self.sum_s - earlier.sum_s)

    @property
    def mean_s(self) -> float | None:
        """Seconds; None when empty."""
        return self.sum_s / self.count if self.count else None

    @property
    def count(self) -> int:
        """How many durations were observed."""
        return sum(self.counts)

    def quantile(self, q: float) -> float | None:
        """About the q-quantile in seconds, linear inside its bucket; None when empty."""
        wanted, seen = q * self.count, 0
        for i, count in enumerate(self.counts):
            if count and seen + count >= wanted:
                low = BUCKETS_S[i - 1] if i else 0.0
                high = BUCKETS_S[i] if i < len(BUCKETS_S) else low
                return low + (high - low) * (wanted - seen) / count
            seen += count
        return None
