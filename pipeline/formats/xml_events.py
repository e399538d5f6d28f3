"""XML as it comes, without what makes it dangerous: no document type, so no entities of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

from pipeline.reading import open_regular

_AT_A_TIME = 1 << 16
_LONGEST = 1 << 20
"""Characters of one text; the runs of a mask are an attribute."""
_DEEPEST = 32


class Element(NamedTuple):
    """The beginning (`ended` False) or the end of an element."""

    name: str
    attributes: dict[str, str]
    text: str
    """Its text without that of elements in it; at its end only."""
    ended: bool


def elements(path: Path) -> Iterator[Element]:
    """Yield beginnings and ends in the order of the file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no XML, or declares a document type, or is nested too deep.
    """
    parser = expat.ParserCreate()
    found: list[Element] = []
    open_: list[tuple[str, dict[str, str], list[str]]] = []

    def begin(name: str, attributes: dict[str, str]) -> None:
        if len(open_) >= _DEEPEST:
            raise ValueError(f"line {parser.CurrentLineNumber}: nested deeper than {_DEEPEST}")
        open_.append((name, attributes, []))
        found.append(Element(name, attributes, "", ended=False))

    def end(_: str) -> None:
        name, attributes, texts = open_.pop()
        found.append(Element(name, attributes, "".join(texts).strip(), ended=True))

    def text(characters: str) -> None:
        if open_:
            texts = open_[-1][2]
            texts.append(characters)
            if sum(map(len, texts)) > _LONGEST:
                raise ValueError(f"line {parser.CurrentLineNumber}: a text without end")

    def refuse(*_: object) -> None:
        raise ValueError(
            f"line {parser.CurrentLineNumber}: it declares a document type; leave it out, entities "
            "are not read"
        )

    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.CharacterDataHandler = text
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    with open_regular(path) as file:
        while chunk := file.read(_AT_A_TIME):
            _parse(parser, chunk, last=False)
            yield from found
            found.clear()
        _parse(parser, b"", last=True)
    yield from found


def _parse(parser: expat.XMLParserType, chunk: bytes, *, last: bool) -> None:
    try:
        parser.Parse(chunk, last)
    except expat.ExpatError as error:
        raise ValueError(str(error)) from None
