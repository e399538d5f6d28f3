"""YAML without its traps: safe types only, no key twice, bounds on what a few lines expand to.

What a word is, YAML 1.2 says (its core schema): `010` is ten, `0x10` sixteen, `yes`, `on`, `1:30`,
`1_000` and `2020-01-02` are text. PyYAML knows 1.1 only, for which they are eight, true, ninety, a
thousand and a date. It takes the last of two equal keys without a word, follows aliases to any
size and nesting to any depth, lets a merged key win over a written one, and lets Python's own
errors out for a date that does not exist.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError
from yaml.events import AliasEvent, Event
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

MAX_DEPTH = 32
"""Of lists and keys in one another; a polygon of a source is six deep."""
MAX_VALUES = 1_000_000
"""Keys, lists and single values, each counted wherever an alias repeats it."""
_TAG = "tag:yaml.org,2002:"
_TEXT, _MERGE = f"{_TAG}str", f"{_TAG}merge"
_CORE = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", "<<", ["<"]),
)
"""Words that are no text, and the letters they begin with."""


def load_yaml(text: str) -> Any:
    """The one document of a YAML text.

    Raises:
        yaml.YAMLError: it is none, or asks for what is not allowed; `problem` and `problem_mark`
            say what and where.
    """
    return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader


def dump_yaml(values: Any, *, allow_unicode: bool) -> str:
    """A text that `load_yaml` and readers of YAML 1.1 take for the same values."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=allow_unicode)


class _StrictLoader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - as the library has it

    def construct_yaml_int(self, node: ScalarNode) -> int:
        """A whole number as the core schema has it."""
        text = str(self.construct_scalar(node))
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        return int(text if base == 10 else text[2:], base)

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._sizes: dict[Node, int] = {}
        """Of each node that is complete, with all that its aliases stand for."""

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """One value, counted and not too deep."""
        event: Event = self.peek_event()  # type: ignore[no-untyped-call]
        if self._depth > MAX_DEPTH:
            raise ComposerError(None, None, f"nested more than {MAX_DEPTH} deep", _mark(event))
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(event, AliasEvent):
            if node is not None and node not in self._sizes:
                raise ComposerError(None, None, "an alias inside of itself", _mark(event))
        elif node is not None:
            self._sizes[node] = self._size(node)
            if self._sizes[node] > MAX_VALUES:
                problem = f"stands for more than {MAX_VALUES:,} values"
                raise ComposerError(None, None, problem, _mark(event))
        return node

    def _size(self, node: Node) -> int:
        if isinstance(node, SequenceNode):
            return 1 + sum(self._sizes[item] for item in node.value)
        if isinstance(node, MappingNode):
            _check_keys(node)
            return 1 + sum(1 + self._sizes[value] for _, value in node.value)
        return 1

    def flatten_mapping(self, node: MappingNode) -> None:
        """Put in what `<<` stands for: what is written here counts more, then what comes first."""
        own = {key.value: (key, value) for key, value in node.value if key.tag != _MERGE}
        merged: dict[str, tuple[Node, Node]] = {}
        for key, value in node.value:
            if key.tag != _MERGE:
                continue
            for one in value.value if isinstance(value, SequenceNode) else [value]:
                if not isinstance(one, MappingNode):
                    problem = "`<<` takes a mapping or a list of mappings"
                    raise ConstructorError(None, None, problem, _mark(one))
                self.flatten_mapping(one)
                merged = {**{k.value: (k, v) for k, v in one.value}, **merged}
        node.value = list({**merged, **own}.values())

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        """A value; what Python says of one that cannot be is said of the YAML."""
        try:
            value = super().construct_object(node, deep=deep)
            if isinstance(value, int):
                float(value)  # beyond that no number is printed or compared without harm
            return value
        except yaml.YAMLError:
            raise
        except (ValueError, LookupError, AttributeError, ArithmeticError, TypeError) as error:
            kind = node.tag.rpartition(":")[2]
            problem = f"a value that cannot be read as {kind}; put text in quotes"
            raise ConstructorError(None, None, problem, _mark(node)) from error


class _Dumper(yaml.SafeDumper):
    """Puts into quotes what a reader of either YAML would not take for text."""


_StrictLoader.add_constructor(f"{_TAG}int", _StrictLoader.construct_yaml_int)
for _kind, _pattern, _first in _CORE:
    for _of in (_StrictLoader, _Dumper):
        _of.add_implicit_resolver(f"{_TAG}{_kind}", re.compile(f"^(?:{_pattern})$"), _first)


def _mark(place: Any) -> Any:
    return place.start_mark


def _check_keys(node: MappingNode) -> None:
    """Refuse a key that is given twice, or is no text; as written, before anything is merged in.

    Raises:
        ComposerError: with its place.
    """
    seen: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, ScalarNode):
            raise ComposerError(None, None, "a list or mapping as a key", _mark(key))
        if key.tag not in (_TEXT, _MERGE):
            raise ComposerError(
                None, None, f"key {key.value[:40]!r} is no text; put it in quotes", _mark(key)
            )
        if key.value in seen:
            raise ComposerError(
                None,
                None,
                f"key {key.value[:40]!r} is given twice, first in line {seen[key.value]}",
                _mark(key),
            )
        seen[key.value] = key.start_mark.line + 1
