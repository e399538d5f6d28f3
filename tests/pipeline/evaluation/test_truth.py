"""What is no ground truth is said so in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.evaluation.truth import truth_of


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "it is no data set but a list, as results are"),
        ("[" * 100_000, "RecursionError"),
        ('{"images": 5}', "TypeError"),
        ('{"annotations": []}', "KeyError('categories')"),
        ("7", "it is no data set"),
    ],
)
def test_a_file_that_is_no_data_set_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "truth.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        truth_of("a", "a.mp4", path)
    assert str(caught.value).startswith(f"{path}: no COCO ground truth: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
