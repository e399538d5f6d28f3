"""Faults planted in the GPU kernels, every kernel there is, so that it is known what sees them.

A changed copy of a kernel's module takes the module's place. Kernels are found in the files
`*_triton.py` by their launches: one that is written tomorrow has the same faults planted in it.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import pkgutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

from pipeline.models.mask_rcnn.engine import operators

Change = Callable[[ast.Module], object]
"""Makes a fault in the source of a module."""


def modules() -> list[ModuleType]:
    """All modules of kernels."""
    names = [module.name for module in pkgutil.iter_modules(operators.__path__)]
    return [import_module(f"{operators.__name__}.{n}") for n in names if n.endswith("_triton")]


def kernels(module: ModuleType) -> list[str]:
    """The kernels that a module launches: `name[grid](...)`."""
    tree = ast.parse(inspect.getsource(module))
    return list(dict.fromkeys(name for name, _ in _launches(tree)))


def copy_of(module: ModuleType, change: Change | tuple[str, str], folder: Path) -> ModuleType:
    """A module with a fault.

    Args:
        module: that has none.
        change: of its syntax tree, or a place in its text and what stands there instead.
        folder: for its source, which Triton reads.

    Raises:
        ValueError: the place of the fault has gone.
    """
    source = inspect.getsource(module)
    if isinstance(change, tuple):
        if change[0] not in source:
            raise ValueError(f"{module.__name__} has no {change[0]!r} any more")
        source = source.replace(*change)
    else:
        tree = ast.parse(source)
        change(tree)
        source = ast.unparse(ast.fix_missing_locations(tree))
    file = folder / f"{_name(module)}.py"
    file.write_text(source)
    spec = importlib.util.spec_from_file_location(f"planted_{_name(module)}", file)
    assert spec is not None
    assert spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    with patch.dict("sys.modules", {spec.name: copy}):  # dataclasses look there
        spec.loader.exec_module(copy)
    return copy


def planted(
    user: ModuleType, module: ModuleType, change: Change | tuple[str, str], folder: Path
) -> AbstractContextManager[object]:
    """Inside, `user` works with a copy of `module` that has a fault; see `copy_of`."""
    return patch.object(user, _name(module), copy_of(module, change, folder))


def stores(kernel: str, value: str, *, helper: str = "") -> Change:
    """What a kernel writes becomes `value`, an expression of `x`, what it wrote before.

    Args:
        kernel: its name.
        value: Triton's, as `x + 1`.
        helper: source put before the kernels.
    """

    def change(tree: ast.Module) -> None:
        source = f"{helper}\n@triton.jit\ndef _planted(x):\n    return {value}\n"
        tree.body[_first_kernel(tree) : _first_kernel(tree)] = ast.parse(source).body
        (function,) = (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == kernel)
        for call in ast.walk(function):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "tl.store":
                call.args[1] = ast.Call(ast.Name("_planted", ast.Load()), [call.args[1]], [])

    return change


def fused(kernel: str) -> Change:
    """A kernel is launched so that its multiplications and additions may be contracted."""

    def change(tree: ast.Module) -> None:
        for name, call in _launches(tree):
            if name == kernel:
                call.keywords = [k for k in call.keywords if k.arg != "enable_fp_fusion"]

    return change


def loosely_divided(tree: ast.Module) -> None:
    """Every division that rounds as a CPU's becomes one that does not."""

    class Loose(ast.NodeTransformer):
        def visit_Call(self, node: ast.Call) -> ast.AST:
            self.generic_visit(node)
            exact = ast.unparse(node.func) == "tl.div_rn"
            return ast.BinOp(node.args[0], ast.Div(), node.args[1]) if exact else node

    Loose().visit(tree)


def _name(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def _first_kernel(tree: ast.Module) -> int:
    return next(i for i, node in enumerate(tree.body) if isinstance(node, ast.FunctionDef))


def _launches(tree: ast.Module) -> list[tuple[str, ast.Call]]:
    return [
        (node.func.value.id, node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Subscript)
        and isinstance(node.func.value, ast.Name)
    ]
