"""What holds for the code as a whole; the floors are import-linter's, see pyproject.toml."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("maskstream", "pipeline", "workers")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMED = re.compile(
    r"`((?:maskstream|pipeline|workers|benchmarks|tests|configs|docs|deploy)/[\w./-]*)"
)
FILES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
DOORS = [path.parent for path in FILES if path.name == "__init__.py"]

LONGEST_FILE = 350
LONGEST_FUNCTION = 60
ASKED_FROM_OUTSIDE = {"main", "seekable", "__all__"}
"""By the command that is installed, by PyAV of what it reads, by Python."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def cycle(imports: dict[str, set[str]]) -> list[str] | None:
    """Modules that import one another in a circle, if there are any."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return None


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Functions and methods with their lines, from `def` to the last, docstrings included."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            yield f"{name_of(path)}: {node.name}", lines


def test_no_modules_import_one_another_in_a_circle_also_not_from_within_functions() -> None:
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    assert len(imports) == len(FILES)
    assert cycle(imports) is None


def test_a_circle_is_found_and_named() -> None:
    imports = {"a": {"b"}, "b": {"c", "d"}, "c": {"b"}, "d": set[str]()}
    assert set(cycle(imports) or ()) == {"b", "c"}


@pytest.mark.parametrize("package", DOORS, ids=name_of)
def test_a_package_has_what_it_says_it_has(package: Path) -> None:
    module = importlib.import_module(name_of(package).replace("/", "."))
    said = getattr(module, "__all__", [])
    assert [name for name in said if not hasattr(module, name)] == []
    assert len(said) == len(set(said))


def public_types(path: Path) -> Iterator[str]:
    """Classes, protocols and aliases of a module that others may import."""
    for node in tree(path).body:
        match node:
            case (
                ast.ClassDef(name=name)
                | ast.AnnAssign(target=ast.Name(name), annotation=ast.Name("TypeAlias"))
                | ast.Assign(targets=[ast.Name(name)])
            ) if name[0].isupper() and not name.isupper():
                yield name


def test_a_type_has_a_name_of_its_own() -> None:
    homes: dict[str, list[str]] = {}
    for path in FILES:
        for name in public_types(path):
            homes.setdefault(name, []).append(name_of(path))
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}


def test_classes_and_aliases_are_found_and_what_is_private_or_no_type_is_not(
    tmp_path: Path,
) -> None:
    module = tmp_path / "m.py"
    module.write_text(
        "class Grid: ...\nclass _Cell: ...\nSize: TypeAlias = tuple[int, int]\n"
        "Kind = Literal['a']\nLIMIT = 3\nT = TypeVar('T')\n_Pair = tuple[int, int]\nx: int = 1\n"
    )
    assert list(public_types(module)) == ["Grid", "Size", "Kind"]


def made(path: Path) -> Iterator[str]:
    """Names that a module makes for others to use: its own, and the methods of what has no base.

    What is decorated is used by its decorator, and a method of what has a base maybe by that.
    """
    for node in tree(path).body:
        match node:
            case ast.FunctionDef(name=name, decorator_list=[]) if not name.startswith("__"):
                yield name
            case ast.ClassDef(name=name, bases=bases, body=body):
                yield name
                methods = [one for one in body if isinstance(one, ast.FunctionDef) and not bases]
                yield from (one.name for one in methods if not one.name.startswith("__"))
            case ast.Assign(targets=[ast.Name(name)]) | ast.AnnAssign(target=ast.Name(name)):
                yield name


def used(path: Path) -> Iterator[str]:
    """Names that a module asks for, also in a text such as `module:function`."""
    for node in ast.walk(tree(path)):
        match node:
            case ast.Name(name, ast.Load()) | ast.Attribute(attr=name) | ast.alias(name=name):
                yield name
            case ast.Constant(str(text)) if text.isprintable():
                yield from re.findall(r"\w+", text)


def test_nothing_is_made_that_nobody_uses() -> None:
    asked = {name for path in FILES for name in used(path)} | ASKED_FROM_OUTSIDE
    unused = {name_of(path): [n for n in made(path) if n not in asked] for path in FILES}
    assert {name: names for name, names in unused.items() if names} == {}


def test_what_is_made_and_what_is_used_is_told_apart(tmp_path: Path) -> None:
    module = tmp_path / "m.py"
    module.write_text(
        "LIMIT = 3\n@verb\ndef show(): ...\ndef load(): return OTHER\n"
        "class Grid:\n    def __len__(self): ...\n    def cut(self): self.far()\n"
        "class Door(Base):\n    def opened(self): ...\nROW = 'a.b:build'\n"
    )
    assert list(made(module)) == ["LIMIT", "load", "Grid", "cut", "Door", "ROW"]
    assert {"OTHER", "far", "build", "Base"} < set(used(module))
    assert not {"LIMIT", "load", "cut", "ROW"} & set(used(module))


def test_no_file_is_longer_than_can_be_kept_in_mind() -> None:
    lengths = {name_of(path): len(path.read_text("utf-8").splitlines()) for path in FILES}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_no_function_is_longer_than_the_eye_takes_in() -> None:
    lengths = [function for path in FILES for function in functions(path)]
    assert len(lengths) > 1000
    assert {name: lines for name, lines in lengths if lines > LONGEST_FUNCTION} == {}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_and_folders_that_a_page_names_are_there(page: Path) -> None:
    named = set(NAMED.findall(page.read_text("utf-8")))
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_the_page_of_the_architecture_names_files() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    assert "pipeline/stages.py" in NAMED.findall(page)


def test_the_floors_of_the_page_are_those_of_the_tool() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    block = page.partition("## The floors")[2].split("```")[1]
    floors = [re.split(r" {3,}", line[3:])[0] for line in block.strip().splitlines()]
    layers = [layer for floor in floors for layer in floor.split("->")]
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    told = [names_of(layer) for layer in contract["contracts"][0]["layers"]]
    assert [names_of(layer) for layer in layers] == told


def names_of(layer: str) -> set[str]:
    return {name.strip().removeprefix("pipeline.") for name in layer.split("|")}
