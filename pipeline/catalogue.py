"""What there is of a kind, by name: sources, sinks, models and presets of the tracker alike.

A row is light, so that a wrong word is answered with the nearest right one in milliseconds; what it
names is imported when it is opened. Installed packages offer rows as entry points.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module, metadata
from typing import Any, TypeVar

from pipeline.errors import ConfigError, MaskstreamError, in_one_line


@dataclass(frozen=True, slots=True)
class Entry:
    """One row."""

    name: str
    opens: str
    """`module:object`, imported when it is needed."""
    summary: str
    options: Collection[str] = field(default=(), kw_only=True)
    """What may be set of it, by name."""

    def load(self) -> Any:
        """What `opens` names.

        Raises:
            ConfigError: its module cannot be imported, or does not have it.
        """
        module, _, name = self.opens.partition(":")
        with _imported(f"{self.name!r}", self.opens):
            return getattr(import_module(module), name)


E = TypeVar("E", bound=Entry)


class Catalogue(Mapping[str, E]):
    """Rows in the order they were made known; one that is asked for may come from a package.

    Args:
        what: one of them is called, in messages.
        group: of entry points; each is a row.
        rows: those that are built in.
    """

    def __init__(self, what: str, group: str, rows: Iterable[E] = ()) -> None:
        self.what, self.group = what, group
        self._rows: dict[str, E] = {row.name: row for row in rows}

    def __getitem__(self, name: str) -> E:
        if name not in self._rows:
            for entry in metadata.entry_points(group=self.group, name=name):
                with _imported(f"the {self.what} {name!r}", entry.value):
                    row = entry.load()
                self.register(row)
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._rows))

    def __len__(self) -> int:
        return len(self._rows)

    def register(self, row: E) -> None:
        """Make a row known in this process.

        A worker process imports nothing but installed packages, so rows for use with Ray are
        offered as an entry point of the catalogue's group.

        Raises:
            ConfigError: the name is taken by another row, or is not lower-case letters and digits.
        """
        if not re.fullmatch(r"[a-z][a-z0-9_]*", row.name):
            raise ConfigError(f"{self.what} {row.name!r}: lower-case letters and digits only")
        if self._rows.setdefault(row.name, row) != row:
            taken = self._rows[row.name].summary
            raise ConfigError(f"{self.what} {row.name!r} is taken: {taken}")

    def forget(self, name: str) -> None:
        """Take a row out again."""
        del self._rows[name]


@contextmanager
def _imported(what: str, where: str) -> Iterator[None]:
    """Code of others runs at its import: however it fails, or leaves, is one line."""
    try:
        yield
    except MaskstreamError:
        raise
    except (Exception, SystemExit) as error:
        reason = in_one_line(error)
        raise ConfigError(f"{what}: {where} cannot be imported: {reason}") from error


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    return next(iter(difflib.get_close_matches(word, list(words), n=1)), None)


def hint(word: str, words: Iterable[str]) -> str:
    """The nearest word as a message goes on with it; empty where there is none."""
    near = nearest(word, words)
    return f", did you mean {near!r}?" if near else ""
