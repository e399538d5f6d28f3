"""A configuration that is a trap is refused in one line, at once, and with its place."""

import os
import re
from pathlib import Path

import pytest
import yaml

from pipeline.cli.sources import load_settings
from pipeline.config import read
from pipeline.config.strict import MAX_DEPTH, dump_yaml, load_yaml
from pipeline.errors import ConfigError


def bomb(levels: int, *, merged: bool = False) -> str:
    """Lines of which each stands for nine times the one before."""
    first = "a0: &a0 {k: 1}" if merged else "a0: &a0 [x, x, x, x, x, x, x, x, x]"
    lines = [first]
    for level in range(1, levels):
        nine = ", ".join([f"*a{level - 1}"] * 9)
        lines.append(f"a{level}: &a{level} " + (f"{{<<: [{nine}]}}" if merged else f"[{nine}]"))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            bomb(10),
            "line 7, column 5 is not valid YAML: stands for more than 1,000,000 values",
            id="aliases",
        ),
        pytest.param(
            bomb(10, merged=True),
            "line 7, column 14 is not valid YAML: stands for more than 1,000,000 values",
            id="merges",
        ),
        pytest.param(
            "a: &a [1, *a]\n",
            "line 1, column 11 is not valid YAML: an alias inside of itself",
            id="alias-of-itself",
        ),
        pytest.param(
            "a: &a\n  <<: *a\n",
            "line 2, column 7 is not valid YAML: an alias inside of itself",
            id="merge-of-itself",
        ),
        pytest.param(
            "[" * 20_000,
            f"line 1, column {MAX_DEPTH + 2} is not valid YAML: nested more than 32 deep",
            id="deep-lists",
        ),
        pytest.param(
            "{a: " * 5_000,
            "line 1, column 130 is not valid YAML: nested more than 32 deep",
            id="deep-keys",
        ),
        pytest.param(
            "? " * 5_000,
            "line 1, column 67 is not valid YAML: nested more than 32 deep",
            id="deep-complex-keys",
        ),
        pytest.param(
            "sinks: [a]\nrun: {}\nsinks: [b]\n",
            "line 3, column 1 is not valid YAML: key 'sinks' is given twice, first in line 1",
            id="twice",
        ),
        pytest.param(
            'sources:\n  - {id: a,\n     url: b, "id": c}\n',
            "line 3, column 14 is not valid YAML: key 'id' is given twice, first in line 2",
            id="twice-inside-and-in-quotes",
        ),
        pytest.param(
            "a: {k: 1}\nb:\n  <<: {k: 1}\n  k: 2\n  k: 3\n",
            "line 5, column 3 is not valid YAML: key 'k' is given twice, first in line 4",
            id="twice-beside-a-merge",
        ),
        pytest.param(
            "? [a, b]\n: 1\n",
            "line 1, column 3 is not valid YAML: a list or mapping as a key",
            id="list-as-key",
        ),
        pytest.param(
            "? {a: b}\n: 1\n",
            "line 1, column 3 is not valid YAML: a list or mapping as a key",
            id="mapping-as-key",
        ),
        pytest.param(
            "a: {<<: [5]}\n",
            "line 1, column 10 is not valid YAML: `<<` takes a mapping or a list of mappings",
            id="merge-of-a-number",
        ),
        pytest.param(
            "true: 1\n",
            "line 1, column 1 is not valid YAML: key 'true' is no text; put it in quotes",
            id="word-for-true-as-key",
        ),
        *(
            pytest.param(
                f"id: {value}\n",
                "line 1, column 5 is not valid YAML: a value that cannot be read as "
                f"{kind}; put text in quotes",
                id=name,
            )
            for name, value, kind in (
                ("5000-digits", "9" * 5_000, "int"),
                ("5000-digits-in-hex", "0x" + "f" * 5_000, "int"),
                ("empty-int", "!!int ''", "int"),
                ("word-as-int", "!!int x", "int"),
                ("word-as-bool", "!!bool x", "bool"),
                ("word-as-time", "!!timestamp x", "timestamp"),
            )
        ),
    ],
)
def test_a_trap_is_one_line_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"^{re.escape(f'{path}: {message}')}$"):
        read(path)


def test_merge_keys_fill_in_and_lose_against_what_is_written() -> None:
    text = (
        "base: &base {first: 1, second: 2}\n"
        "more: &more {<<: *base, second: 3, third: 4}\n"
        "own: {<<: [*more, {fourth: 5, first: 9}], third: 6}\n"
        "again: {<<: *more}\n"
    )
    assert load_yaml(text) == {
        "base": {"first": 1, "second": 2},
        "more": {"first": 1, "second": 3, "third": 4},
        "own": {"first": 1, "second": 3, "third": 6, "fourth": 5},
        "again": {"first": 1, "second": 3, "third": 4},
    }


def test_an_alias_may_be_used_as_often_as_there_are_sources() -> None:
    text = "x: &x {fps: 1, names: [a, b]}\nall:\n" + "  - {<<: *x}\n" * 2_000
    assert load_yaml(text)["all"] == [{"fps": 1, "names": ["a", "b"]}] * 2_000


def test_a_large_wrong_value_is_shown_only_at_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(bomb(5) + "sources: [*a4]\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "entry",
    [
        "{id: [x], url: a.mp4}",
        "{id: {x: y}, url: a.mp4}",
        "{id: null, url: [a.mp4]}",
        "{id: null}",
        "{url: [a.mp4]}",
        "[a.mp4]",
        "5",
        "null",
    ],
)
def test_a_source_of_the_wrong_kind_is_named_beside_one_without_id(
    tmp_path: Path, entry: str
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"sources: [{entry}, {{url: b.mp4}}]\n")
    with pytest.raises(ConfigError, match=r"^\S+c\.yaml: sources\[0\]"):
        load_settings(path)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(os.mkfifo, "not a regular file", id="pipe"),
        pytest.param(
            lambda path: os.symlink("/dev/zero", path),
            "not a regular file",
            id="device",
        ),
        pytest.param(os.mkdir, "Is a directory", id="folder"),
        pytest.param(
            lambda path: Path(path).write_bytes(b"#" * 1_000_001),
            "it is larger than 1,000,000 bytes",
            id="large",
        ),
        pytest.param(
            lambda path: os.symlink("/proc/self/nowhere", path),
            "No such file or directory",
            id="gone",
        ),
    ],
)
def test_what_is_no_small_file_is_not_read(tmp_path: Path, make, reason: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "c.yaml"
    make(path)
    with pytest.raises(ConfigError, match=f"^{re.escape(f'{path}: cannot be read: {reason}')}$"):
        read(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((word, word) for word in ("yes", "no", "on", "off", "y", "Yes", "NO", "1:30", "1:30.5")),
        *((word, word) for word in ("1_000", "1_0.5", "0b11", "2020-01-02", "2020-99-01", "=")),
        *((word, word) for word in ("0o8", "0x", "+0x10", "1e", ".", "+", "+.nan", "tRUE")),
        *((word, True) for word in ("true", "True", "TRUE")),
        *((word, None) for word in ("~", "null", "Null", "NULL", "")),
        *(("010", 10), ("-007", -7), ("0x10", 16), ("0o10", 8), ("+5", 5), ("0", 0)),
        *(("1e3", 1000.0), ("1.", 1.0), (".5", 0.5), ("-.inf", float("-inf")), ("1.5e-1", 0.15)),
    ],
)
def test_words_are_what_the_core_schema_says(text: str, value: object) -> None:
    found = load_yaml(f"a: {text}\n")["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("word", ["yes", "010", "0o10", "1e3", "1:30", "1_000", "2020-01-02", "~"])
def test_text_that_is_written_is_read_back_as_text(word: str) -> None:
    written = dump_yaml({"a": word}, allow_unicode=True)
    assert load_yaml(written) == yaml.safe_load(written) == {"a": word}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("stride: 1:30", "stride: must be a whole number, got '1:30'"),
        ("stride: yes", "stride: must be a whole number, got 'yes'"),
        ("max_fps: 1:30", "max_fps: must be a number, got '1:30'"),
    ],
)
def test_a_number_that_is_none_is_refused(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "c.yaml").write_text(f"sources: [{{id: no, url: a.mp4, {line}}}]\nsinks: []\n")
    with pytest.raises(ConfigError, match=message):
        load_settings(tmp_path / "c.yaml")


def test_ids_that_yaml_once_took_for_something_else_are_ids(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "sources: [{id: no, url: a.mp4, stride: 010}, {id: on, url: b.mp4, max_fps: 1e1}]\n"
    )
    no, on = load_settings(tmp_path / "c.yaml").sources
    assert (no.id, no.stride, on.id, on.max_fps) == ("no", 10, "on", 10.0)
