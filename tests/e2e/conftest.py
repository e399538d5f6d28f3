"""What end-to-end tests share: one Ray of the test session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One Ray for all tests; runs in this process join it instead of starting their own."""
    from workers.private import PrivateFolder
    from workers.ray_own import start_ray, stop_ray

    folder = PrivateFolder()
    start_ray(512 << 20, folder)
    yield
    stop_ray()
    folder.remove()
