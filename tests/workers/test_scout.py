"""What a scout says of its machine."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from pipeline.errors import ConfigError
from workers.lease import Lease
from workers.scout import ANSWERS_AFTER_S, Scout, differing, versions
from workers.shared_paths import tokens

HERE = {"maskstream": "0.1.0", "Python": "3.11.4", "torch": "2.13.0+cpu", "ray": "2.60.0"}


def test_a_folder_is_shared_where_its_file_is_seen(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    with tokens([str(tmp_path)]) as named:
        everywhere = {**named, str(tmp_path / "own"): "of-another-machine"}
        assert Scout().look(everywhere).strange == (str(tmp_path / "own"),)
    assert [path.name for path in tmp_path.iterdir()] == ["own"]


def test_who_is_asked_renews_all_leases_and_answers_after_a_while() -> None:
    """So the driver always has a question under way."""
    happened: list[object] = []
    leases = [
        SimpleNamespace(renew=partial(happened.append, name)) for name in ("short", "lasting")
    ]
    Scout(cast("list[Lease]", leases), pause=happened.append).asked()
    assert happened == ["short", "lasting", ANSWERS_AFTER_S]


def test_a_folder_that_is_missing_here_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match=r"^cluster\.shared_paths: .*/none: No such file"),
        tokens([str(tmp_path), f"{tmp_path}/none"]),
    ):
        pytest.fail("it is not there")
    assert list(tmp_path.iterdir()) == []


def test_this_process_does_not_differ_from_itself() -> None:
    assert differing(versions(), versions()) is None


@pytest.mark.parametrize(
    ("there", "told"),
    [
        ({"Python": "3.11.9", "torch": "2.13.0+cu130"}, None),
        ({"maskstream": "0.2.0"}, "maskstream 0.2.0 and not 0.1.0"),
        (
            {"torch": "2.12.1", "ray": "none"},
            "torch 2.12.1 and not 2.13.0+cpu, ray none and not 2.60.0",
        ),
        ({"Python": "3.12.1"}, "Python 3.12.1 and not 3.11.4"),
    ],
    ids=["patch and build", "maskstream", "two", "Python"],
)
def test_what_differs_is_named_with_both_versions(there: dict[str, str], told: str | None) -> None:
    assert differing(HERE, {**HERE, **there}) == told
