"""What is said about a cluster before Ray is asked."""

import socket

import pytest

from pipeline.errors import ConfigError
from workers.cluster import join_ray


@pytest.mark.parametrize("prefix", ["", "ray://"])
def test_an_address_nobody_listens_at_is_refused_at_once(prefix: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ConfigError) as caught:
        join_ray(f"{prefix}127.0.0.1:{port}")
    assert str(caught.value) == (
        f"--address {prefix}127.0.0.1:{port}: nobody answers there: Connection refused; "
        "start Ray with `ray start --head`, or leave the option out"
    )


def test_an_address_without_a_number_for_its_port_is_refused() -> None:
    with pytest.raises(ConfigError, match="nobody answers there: invalid literal"):
        join_ray("127.0.0.1:head")
