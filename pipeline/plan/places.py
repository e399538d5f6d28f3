"""`run.state_dir`, a folder or an address in a store of objects: which `Disk`, and where on it."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import TypeVar
from urllib.parse import parse_qsl

from pipeline.catalogue import hint
from pipeline.delivery.client import NotSent
from pipeline.errors import ConfigError
from pipeline.sinks.objects import NoBucket, NoObject, Store
from pipeline.sinks.schemes import SCHEMES, SinkTarget
from pipeline.sinks.urls import SinkUrl, parse_sink
from pipeline.state.disk import LOCAL, Disk

T = TypeVar("T")

_OPENED_BY = {"s3": "pipeline.sinks.s3:bucket_of", "az": "pipeline.sinks.container:container_of"}
_OPTIONS = {
    *("endpoint", "region", "username", "password_env", "password_file", "create"),
    *("tls_ca_file", "tls_cert_file", "tls_key_file", "unencrypted"),
}
"""Of the sinks of these stores, what is about the connection."""
_URL = re.compile(r"(?:s3|az|file):|[A-Za-z][A-Za-z0-9+.-]*://")
_WAY_OUT = "name another run.state_dir (--state-dir)"


@dataclass(frozen=True, slots=True)
class StatePlace:
    """Where a run keeps its state."""

    disk: Disk
    folder: str
    remote: bool = False


class ObjectDisk:
    """A `Disk` that is a store of objects. Nothing there is held by a process; any thread.

    Args:
        store: is asked.
        root: what stands before a path in messages, without a slash behind.
        creates: make the bucket where there is none.
    """

    def __init__(self, store: Store, *, root: str, creates: bool) -> None:
        self._store, self._root, self._creates = store, root, creates

    def shown(self, path: str) -> str:
        """Its address."""
        return f"{self._root}/{path}"

    def read(self, path: str) -> bytes:
        """See `Disk`."""
        return self._ask(lambda: self._store.get(path))

    def replace(self, path: str, data: bytes) -> None:
        """See `Disk`."""
        self._ask(lambda: self._store.put(path, data, replaces=True))

    def write_over(self, path: str, data: bytes) -> None:
        """An object cannot be written over, another takes its place."""
        self.replace(path, data)

    def make(self, path: str, data: bytes) -> bool:
        """Only where there is none of that name (`If-None-Match: *`)."""
        return self._ask(lambda: self._store.put(path, data))

    def hold(self, path: str, data: bytes) -> Callable[[], None] | None:
        """Made twice: the second time tells whether the store keeps to the condition."""
        if not self.make(path, data):
            return None
        if self.make(path, data):
            raise OSError(
                errno.ENOTSUP,
                f"{self._store.where}: replaces an object in spite of If-None-Match, so two runs "
                "could have one state; take a store that knows conditional puts",
            )
        return lambda: None

    def is_held(self, path: str) -> bool | None:
        """Nobody can tell."""
        return None

    def remove(self, path: str) -> None:
        """See `Disk`."""
        self._ask(lambda: self._store.delete(path))

    def names(self, folder: str, behind: str = "") -> list[str]:
        """See `Disk`."""
        return self._ask(lambda: list(self._store.names(folder, behind)))

    def _ask(self, question: Callable[[], T]) -> T:
        try:
            try:
                return question()
            except NoBucket:
                if not self._creates:
                    raise
                self._store.make()
                return question()
        except NoObject as error:
            raise FileNotFoundError(errno.ENOENT, str(error)) from error
        except NotSent as error:
            raise OSError(errno.EIO, str(error).replace(" to the sink", "")) from error


def is_url(state_dir: str) -> bool:
    """Whether it is an address and no folder."""
    return _URL.match(state_dir) is not None


def local_folder(state_dir: str) -> str:
    """`file:` taken away; anything else as it is.

    Raises:
        ConfigError: it names another machine.
    """
    if not state_dir.startswith("file:"):
        return state_dir
    path = state_dir.removeprefix("file:")
    if path.startswith("//"):
        host, slash, rest = path[2:].partition("/")
        if host not in ("", "localhost") or not slash:
            raise ConfigError(f"run.state_dir: {state_dir}: expected file:///FOLDER")
        path = f"/{rest}"
    if not path:
        raise ConfigError(f"run.state_dir: {state_dir}: names no folder; {_WAY_OUT}")
    return path


@lru_cache(64)
def place_of(state_dir: str) -> StatePlace:
    """What `run.state_dir` names; nothing is opened or asked.

    Raises:
        ConfigError: its words are wrong, or what it needs is not installed.
    """
    if not is_url(state_dir):
        return StatePlace(LOCAL, state_dir)
    url = _parsed(state_dir)
    module, _, name = _OPENED_BY[url.scheme.name].partition(":")
    target = SinkTarget(url.scheme.name, url.location, "", url.options)
    try:
        store, prefix = getattr(import_module(module), name)(target)
    except ConfigError as error:
        raise _about_state(error) from error
    root = f"{url.scheme.name}://{url.location.rpartition('@')[2].lstrip('/').partition('/')[0]}"
    disk = ObjectDisk(store, root=root, creates=bool(url.options.get("create")))
    return StatePlace(disk, prefix or "maskstream", remote=True)


def _parsed(state_dir: str) -> SinkUrl:
    scheme = state_dir.partition(":")[0]
    if scheme not in _OPENED_BY:
        known = sorted((*_OPENED_BY, "file"))
        raise ConfigError(
            f"run.state_dir: unknown scheme {scheme!r}{hint(scheme, known)}; a folder, or one of "
            f"{', '.join(known)}"
        )
    options = sorted(_OPTIONS & SCHEMES[scheme].options.keys())
    for key, _ in parse_qsl(state_dir.partition("?")[2], keep_blank_values=True):
        if key not in options:
            raise ConfigError(
                f"run.state_dir: unknown option {key!r}{hint(key, options)}; a state_dir at "
                f"{scheme} knows {', '.join(options)}"
            )
    try:
        url = parse_sink(state_dir)
        url.refuse_wrong("source")
    except ConfigError as error:
        raise _about_state(error) from error
    return url


def _about_state(error: ConfigError) -> ConfigError:
    return ConfigError(f"run.state_dir: {str(error).removeprefix('sink ')}")
