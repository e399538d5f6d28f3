"""The configurations in configs/ and the generated pages in docs/ are true."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pipeline.cli.sources import load_settings
from pipeline.plan.resolve import resolve

ROOT = Path(__file__).resolve().parents[3]
CONFIGS = sorted(p for p in (ROOT / "configs").glob("*.yaml") if not p.name.startswith("train"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_every_example_configuration_passes_the_check(path: Path) -> None:
    assert resolve(load_settings(path)).streams


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["configuration.md", "metrics.md", "tracking.md"])
def test_generated_pages_say_what_the_code_says(generate: ModuleType, page: str) -> None:
    written = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert written == generate.PAGES[page](), "run `make docs`"
