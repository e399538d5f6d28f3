"""Tests of the workers run without a cluster; only those marked `ray` may start one."""

import pytest


@pytest.fixture(autouse=True)
def no_ray_cluster(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit test that would start Ray fails instead."""
    if request.node.get_closest_marker("ray") is not None:
        return
    import ray

    def refuse(*args: object, **kwargs: object) -> None:
        raise RuntimeError("unit tests do not start Ray; mark the test with @pytest.mark.ray")

    monkeypatch.setattr(ray, "init", refuse)
