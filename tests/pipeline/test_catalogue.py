"""Rows by name: what is built in, what is made known, what a wrong word is answered with."""

import re
import sys
from fractions import Fraction
from importlib import metadata
from pathlib import Path

import pytest

from pipeline.catalogue import Catalogue, Entry, hint, nearest
from pipeline.errors import ConfigError

HALF = Entry("half", "fractions:Fraction", "a number", options=("numerator",))


def test_rows_keep_their_order_and_open_what_they_name() -> None:
    rows = Catalogue("number", "maskstream.no_such_group", [HALF])
    rows.register(Entry("third", "fractions:Fraction", "another"))
    rows.register(HALF)
    assert list(rows) == ["half", "third"]
    assert rows["half"].load() is Fraction
    assert "quarter" not in rows
    rows.forget("half")
    assert (len(rows), rows.get("half")) == (1, None)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise SystemExit('no licence')", "SystemExit: no licence"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import no_such_module_at_all", "ModuleNotFoundError: No module named 'no_such_mod"),
        ("raise ValueError('first\\nsecond')", "ValueError: first"),
        ("def (", "SyntaxError: invalid syntax"),
        ("", "AttributeError: module 'their_code' has no attribute 'thing'"),
    ],
)
def test_code_that_cannot_be_imported_is_one_line_however_it_fails(
    code: str, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "their_code.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "their_code", raising=False)
    entry = metadata.EntryPoint("theirs", "their_code:thing", "maskstream.numbers")
    monkeypatch.setattr(metadata, "entry_points", lambda **_: [entry])
    for what, ask in (
        ("'theirs'", Entry("theirs", "their_code:thing", "x").load),
        ("the number 'theirs'", lambda: Catalogue("number", "maskstream.numbers")["theirs"]),
    ):
        with pytest.raises(ConfigError) as refused:
            ask()
        said = str(refused.value)
        assert said.startswith(f"{what}: their_code:thing cannot be imported: {reason}")
        assert "\n" not in said


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (Entry("half", "elsewhere:f", "x"), "number 'half' is taken: a number"),
        (Entry("Half", "elsewhere:f", "x"), "number 'Half': lower-case letters and digits only"),
    ],
)
def test_a_name_that_is_taken_or_no_name_is_refused(row: Entry, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        Catalogue("number", "maskstream.no_such_group", [HALF]).register(row)


def test_the_word_that_was_meant_is_found_where_there_is_one() -> None:
    assert nearest("hafl", ["third", "half"]) == "half"
    assert nearest("zzz", ["third", "half"]) is None
    assert hint("hafl", ["half"]) == ", did you mean 'half'?"
    assert hint("zzz", ["half"]) == ""
