"""An address is connected to with its credentials and shown without them."""

from __future__ import annotations

import pickle

import pytest

from pipeline.sources.network.address import Address


@pytest.mark.parametrize(
    ("url", "given", "full", "shown"),
    [
        ("rtsp://cam:554/1?x=1", (), "rtsp://cam:554/1?x=1", "rtsp://cam:554/1?x=1"),
        ("rtsp://me:word@cam/1", (), "rtsp://me:word@cam/1", "rtsp://***@cam/1"),
        (
            "rtsp://cam/1",
            ("me", "a b/@:%"),
            "rtsp://me:a%20b%2F%40%3A%25@cam/1",
            "rtsp://***@cam/1",
        ),
        ("rtsp://me:old@cam/1", (None, "new"), "rtsp://me:new@cam/1", "rtsp://***@cam/1"),
        ("rtsp://me:p@ss@cam/1", (), "rtsp://me:p%40ss@cam/1", "rtsp://***@cam/1"),
        ("rtsp://me:p%40ss@cam/1", (), "rtsp://me:p%40ss@cam/1", "rtsp://***@cam/1"),
        ("rtsp://me@cam/1", (), "rtsp://me@cam/1", "rtsp://***@cam/1"),
        ("http://cam/s?token=abc", (), "http://cam/s?token=abc", "http://cam/s?token=***"),
        ("/dev/video0", (), "/dev/video0", "/dev/video0"),
        ("rtsp://me:x@[::1]:8554/1", (), "rtsp://me:x@[::1]:8554/1", "rtsp://***@[::1]:8554/1"),
    ],
    ids=["open", "inside", "beside", "both", "at-sign", "encoded", "name", "token", "device", "v6"],
)
def test_credentials_are_used_and_not_shown(
    url: str, given: tuple[str | None, ...], full: str, shown: str
) -> None:
    username, password = given or (None, None)
    address = Address.parse(url, username=username, password=password)
    assert address.full() == full
    assert str(address) == shown
    for word in ("word", "a b", "old", "new", "p@ss"):
        assert word not in repr(address)


def test_an_address_travels_to_another_process() -> None:
    address = Address.parse("rtsp://me:word@cam/1")
    again = pickle.loads(pickle.dumps(address))
    assert again.full() == "rtsp://me:word@cam/1"


def test_the_host_is_what_has_to_be_resolved() -> None:
    assert Address.parse("rtsp://me:word@cam.local:554/1").host == "cam.local"
    assert Address.parse("/dev/video0").host is None
