"""What Ray is told for a while is taken back."""

import os

import pytest

from workers.surroundings import (
    SERVES_NOBODY,
    by_itself,
    constants,
    environment,
    job_config,
    look_again,
)


def test_variables_are_put_back_also_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "mine")
    monkeypatch.delenv("ADDED", raising=False)
    seen: list[str | None] = []

    def look_and_fail() -> None:
        with environment({"KEPT": None, "ADDED": "for a while"}):
            seen.extend(map(os.environ.get, ("KEPT", "ADDED")))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        look_and_fail()
    assert seen == [None, "for a while"]
    assert os.environ["KEPT"] == "mine"
    assert "ADDED" not in os.environ


def test_ray_believes_the_mode_it_is_told_whenever_it_was_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import ray

    compiled = ray._raylet
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with environment({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "fresh"}):
        assert compiled.get_authentication_mode() == compiled.AuthenticationMode.TOKEN
        assert compiled.AuthenticationTokenLoader.instance().get_raw_token() == "fresh"
    monkeypatch.delenv("RAY_AUTH_MODE")
    look_again()
    assert compiled.get_authentication_mode() == compiled.AuthenticationMode.DISABLED


def test_constants_are_put_back() -> None:
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    with constants(ENABLE_RAY_CLUSTER=not before):
        assert ray_constants.ENABLE_RAY_CLUSTER is not before
    assert ray_constants.ENABLE_RAY_CLUSTER is before


def test_what_ray_adds_to_the_path_of_workers_is_taken_out_again() -> None:
    job = job_config()
    job._py_driver_sys_path.extend(["/home/somebody/clips"])  # as `ray.init` does
    assert "/home/somebody/clips" not in job._get_proto_job_config().py_driver_sys_path


def test_what_serves_nobody_is_not_started_for_a_while() -> None:
    from ray._private.node import Node

    before = {name: vars(Node)[name] for name in SERVES_NOBODY}
    with by_itself():
        for name in SERVES_NOBODY:
            assert getattr(Node, name)(object(), include_dashboard=False) is None
    assert {name: vars(Node)[name] for name in SERVES_NOBODY} == before
