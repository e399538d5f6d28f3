"""`--model package.module:function`: found, made, run, and refused in one line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

import maskstream
from pipeline import models
from pipeline.config import parse
from pipeline.errors import MaskstreamError, ModelError
from pipeline.models.own.importing import is_function
from pipeline.plan.resolve import resolve
from pipeline.testing import check_segmenter

EXAMPLE = Path(__file__).parents[4] / "examples" / "own_model.py"
MODULE = """
import numpy as np
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.stages import ModelInfo

class Segmenter:
    info = ModelInfo("theirs", {1: "thing"}, "")
    def __init__(self, **options): self.options = options
    def segment(self, images): return [self.one(image) for image in images]
    def one(self, image): return Instances.empty(image.shape[:2])
    def close(self): pass
    def of(self, image, score=0.5, size=None):
        masks = np.zeros((1, *(size or image.shape[:2])), bool)
        masks[0, 2:9, 3:8] = True
        return Instances(np.array([[3, 2, 8, 9]], np.float32), np.array([score], np.float32),
                         np.array([1]), Masks.from_dense(masks))

def make(device, score_threshold): return Segmenter(device=device, score=score_threshold)
def plain(): return Segmenter()
def everything(**options): return Segmenter(**options)
def nothing(): return None
def without_info():
    class Nameless(Segmenter): info = "theirs"
    return Nameless()
def from_zero():
    class Zero(Segmenter): info = ModelInfo("theirs", {0: "thing"}, "")
    return Zero()
def raises(): raise ValueError("no licence key\\nand a page more")
def leaves(): raise SystemExit(3)
SOME = 5
"""


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The user's working folder, with a package in it."""
    package = tmp_path / "their_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "network.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    before, known = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = before
    for name in set(sys.modules) - known:
        if name.startswith("their_") or name == "own_model":
            del sys.modules[name]


def refused(name: str) -> str:
    with pytest.raises(MaskstreamError) as caught:
        models.load_segmenter(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("a:b", True), ("package.module:make", True), ("a.b.c:d_1", True), ("a", False),
        ("a:b:c", False), ("a/b:c", False), ("1a:b", False), ("a.:b", False), ("a:b()", False),
    ],
)  # fmt: skip
def test_a_function_is_told_by_its_form(text: str, is_one: bool) -> None:
    assert is_function(text) == is_one


def test_a_function_is_a_model_by_the_name_it_goes_by(folder: Path) -> None:
    reference = "their_package.network:make"
    assert models.choose(reference) == ("own", reference)
    assert models.choose(f"own:{reference}") == ("own", reference)
    assert models.model_labels(reference) == {}
    assert "their_package" not in sys.modules  # nothing of theirs is run to plan a run
    made = models.load_segmenter(reference, device="cpu", score_threshold=0.3)
    assert made.options == {"device": "cpu", "score": 0.3}  # type: ignore[attr-defined]
    assert made.info.name == "theirs"


def test_a_function_gets_the_options_it_asks_for_by_name(folder: Path) -> None:
    assert models.load_segmenter("their_package.network:plain").info.labels == {1: "thing"}
    made = models.load_segmenter("their_package.network:everything", max_batch=3)
    assert made.options == {  # type: ignore[attr-defined]
        "device": "auto", "precision": "auto", "score_threshold": 0.1, "threads": None,
        "max_batch": 3,
    }  # fmt: skip


def test_the_folder_of_the_run_comes_last_so_that_nothing_in_it_shadows_a_module(
    folder: Path,
) -> None:
    (folder / "json.py").write_text("raise AssertionError('not this one')")
    models.load_segmenter("their_package.network:make")
    assert sys.path[-1] == str(folder)
    assert refused("json:nothing") == "model json:nothing: json has no function nothing"


def test_a_worker_elsewhere_takes_no_other_file_for_it(folder: Path) -> None:
    file = models.fetch_weights("own", "their_package.network:make")
    assert file is not None
    assert file.data == b""
    assert file.settings["folder"] == str(folder)
    assert models.local_weights("their_package.network:make", "own") == file
    path = folder / "their_package" / "network.py"
    path.write_text(MODULE + "\n# another\n")
    with pytest.raises(ModelError, match="is not the file the run was started with"):
        models.load_segmenter("own", weights=file)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("their_pakage.network:make", "no module 'their_pakage' is installed or lies in {folder}"),
        ("their_package.net:make", "there is no module 'their_package.net' in {folder}"),
        ("their_package.network:mk", "their_package.network has no function mk"),
        ("their_package.network:SOME", "their_package.network has no function SOME"),
        ("their_package.network:raises", "cannot be made: ValueError: no licence key"),
        ("their_package.network:leaves", "cannot be made: SystemExit: 3"),
        (
            "their_package.network:nothing",
            "the function must return a Segmenter (docs/models.md), got NoneType without segment()",
        ),
        (
            "their_package.network:without_info",
            "info must be a ModelInfo(name, labels, sha256), got str",
        ),
        (
            "their_package.network:from_zero",
            "info must have a name, and labels by class id from 1, got 'theirs' and {{0: 'thing'}}",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(folder: Path, function: str, said: str) -> None:
    assert said.format(folder=folder) in refused(function)


def test_a_module_that_fails_while_it_is_imported_says_why(folder: Path) -> None:
    (folder / "their_broken.py").write_text("import nothing_of_that_name")
    assert refused("their_broken:make") == (
        "model their_broken:make: ModuleNotFoundError: No module named 'nothing_of_that_name', "
        f"looked for among what is installed on this machine and in {folder}"
    )
    (folder / "their_leaving.py").write_text("raise SystemExit('bye')")
    assert "their_leaving cannot be imported: " in refused("their_leaving:make")


def test_a_typing_error_is_found_by_check_before_anything_runs(folder: Path) -> None:
    settings = {
        "model": {"name": "their_package.netwrk:make"},
        "sources": [{"id": "a", "url": "synthetic://street?frames=2"}],
        "sinks": ["jsonl:out/{source}.jsonl"],
    }
    with pytest.raises(MaskstreamError, match=r"there is no module 'their_package\.netwrk' in"):
        resolve(parse(settings))


WRONG = {
    "raises": ("raise OSError('the camera of the model')", "OSError: the camera of the model"),
    "no_masks": ("return [[3, 2, 8, 9]]", "segment() must return Instances, got list among them"),
    "wrong_size": ("return self.of(image, size=(20, 20))", "masks must have the size of their"),
    "nan": ("return self.of(image, score=float('nan'))", "scores must be finite, got [nan]"),
}


@pytest.mark.parametrize(("body", "reason"), WRONG.values(), ids=WRONG.keys())
def test_a_frame_on_which_it_goes_wrong_has_failed_and_the_stream_goes_on(
    folder: Path, caplog: pytest.LogCaptureFixture, body: str, reason: str
) -> None:
    (folder / "their_own.py").write_text(
        MODULE
        + "class Wrong(Segmenter):\n    def one(self, image):\n"
        + f"        if image[0, 0, 0] == 30:\n            {body}\n"
        + "        return self.of(image)\ndef wrong(): return Wrong()\n"
    )
    for i in range(6):
        cv2.imwrite(str(folder / f"{i}.png"), np.full((40, 60, 3), 10 * i, np.uint8))
    results = maskstream.track(
        f"{folder}/*.png", model="their_own:wrong", tracker="none", device="cpu", min_score=0.4
    )
    found = {result.index: len(result.instances) for result in results}
    assert found == {0: 1, 1: 1, 2: 1, 4: 1, 5: 1}
    assert "model_error" in caplog.text
    assert reason in caplog.text


def test_the_example_keeps_the_contract_and_finds_what_it_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "own_model.py").write_text(EXAMPLE.read_text())
    dark = np.zeros((40, 60, 3), np.uint8)
    lit = cv2.circle(np.zeros((50, 70, 3), np.uint8), (30, 20), 9, (255, 255, 255), -1)
    check_segmenter(lambda: models.load_segmenter("own_model:make"), [dark, lit])
    nothing, found = models.load_segmenter("own_model:make").segment([dark, lit])
    assert len(nothing) == 0
    assert found.boxes.tolist() == [[21, 11, 40, 30]]
    assert found.masks.areas().tolist() == [int((lit[..., 0] > 0).sum())]
    assert len(EXAMPLE.read_text().splitlines()) <= 30
