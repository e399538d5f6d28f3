"""Who takes the place of a frozen worker waits until that one lets go of the output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.delivery.lock import Taken, lock
from workers.predecessor import take_over, when_let_go


def taken(times: int) -> Callable[[], str]:
    """Something that is in the way so often."""
    left = [times]

    def build() -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise Taken("another process is writing it")
        return "built"

    return build


def test_it_is_built_as_soon_as_the_output_is_free() -> None:
    pauses: list[float] = []
    assert when_let_go(taken(3), patience_s=2.0, pause=pauses.append) == "built"
    assert pauses == [0.1] * 3


@pytest.mark.parametrize(("patience_s", "pauses"), [(0.0, 0), (2.0, 20)])
def test_whoever_does_not_let_go_is_named(patience_s: float, pauses: int) -> None:
    waited: list[float] = []
    with pytest.raises(Taken, match="another process is writing it"):
        when_let_go(taken(1000), patience_s=patience_s, pause=waited.append)
    assert len(waited) == pauses


def test_who_takes_over_writes_another_file_than_the_one_that_is_still_open(tmp_path: Path) -> None:
    output = tmp_path / "gate.jsonl"
    with output.open("w") as before:
        before.write("one\n")
        before.flush()
        lock(before.fileno(), output)
        take_over(str(output))
        with output.open("a") as after:
            lock(after.fileno(), output)
            after.write("two\n")
            before.write("late\n")
            before.flush()
    assert output.read_text() == "one\ntwo\n"
    assert list(tmp_path.iterdir()) == [output]


def test_of_a_folder_its_lists_are_taken_over_and_what_is_not_there_is_not_made(
    tmp_path: Path,
) -> None:
    (tmp_path / "0.jpg").touch()
    (tmp_path / ".pictures").write_text("0.jpg\n")
    before = [(tmp_path / name).stat().st_ino for name in ("0.jpg", ".pictures")]
    take_over(str(tmp_path))
    take_over(str(tmp_path / "none"))
    after = [(tmp_path / name).stat().st_ino for name in ("0.jpg", ".pictures")]
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False]
    assert (tmp_path / ".pictures").read_text() == "0.jpg\n"
