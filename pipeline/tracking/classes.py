"""Which classes may follow each other in one track, and which one a track is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.arrays import Floats, Ints

VOTE_DECAY = 0.9
"""What an older vote keeps of its weight with each further detection."""


class ClassTable:
    """Numbers the class ids of a stream as they appear, and groups those that may mix.

    Args:
        class_names: names by class id; classes without a name are a group of their own.
        groups: names that belong together.
    """

    def __init__(
        self, class_names: Mapping[int, str] | None, groups: Sequence[Sequence[str]]
    ) -> None:
        self._group_of_name = {name: i for i, names in enumerate(groups) for name in names}
        self._names = dict(class_names or {})
        self._columns: dict[int, int] = {}
        self.ids = np.zeros(0, np.int64)
        """Class id of each column of the votes."""
        self._groups = np.zeros(0, np.int64)

    def columns(self, class_ids: Ints) -> Ints:
        """The columns (N,) of these class ids (N,); new ones are added."""
        known = self._columns
        try:
            return np.array([known[c] for c in class_ids.tolist()], np.int64)
        except KeyError:
            self.add(class_ids.tolist())
            return self.columns(class_ids)

    def add(self, class_ids: Sequence[int]) -> None:
        """Give every class id not seen before the next column."""
        for class_id in class_ids:
            self._columns.setdefault(class_id, len(self._columns))
        self.ids = np.array(list(self._columns), np.int64)
        named = [self._group_of_name.get(self._names.get(c, "")) for c in self._columns]
        own = len(self._group_of_name)
        self._groups = np.array(
            [own + column if group is None else group for column, group in enumerate(named)],
            np.int64,
        )

    def groups(self, columns: Ints) -> Ints:
        """The group of each column (N,)."""
        return self._groups[columns]

    def winners(self, votes: Floats) -> Ints:
        """The class id with the most votes of each row (M, C) as (M,)."""
        return np.asarray(self.ids[votes.argmax(axis=1)])
