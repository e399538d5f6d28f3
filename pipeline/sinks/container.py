"""`az://CONTAINER/PREFIX`: records as objects in a container of Microsoft Azure.

obstore speaks with the store; why, `docs/decisions/0006-boto3-for-objects.md` says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import obstore
from obstore import exceptions as errors
from obstore.store import AzureStore

from pipeline.delivery.client import NotSent, Unreachable, Unwelcome
from pipeline.delivery.service import ServiceSink
from pipeline.sinks.objects import TIMEOUT_S, NoBucket, NoObject, open_objects
from pipeline.sinks.schemes import SinkTarget
from pipeline.sinks.services import ServicePlace, place_of

if TYPE_CHECKING:
    from obstore.store import AzureConfig, ClientConfig

T = TypeVar("T")

_LAST = "maskstream_last"
"""What an object says of itself: the key of its last record."""
_LATER = {408, 429, 500, 502, 503, 504}
_CHECK = "check user name (the account), password (its key) and rights"


class Container:
    """A `Store` that is asked by obstore.

    Args:
        place: its host is the container; without a user name, who we are is what the environment or
            the machine says, as obstore looks for it.
        endpoint: URL of the account, where it is not at Azure's usual place.
    """

    def __init__(self, place: ServicePlace, *, endpoint: str | None = None) -> None:
        self.where = f"{place} at {endpoint}" if endpoint else str(place)
        self._place, self._endpoint = place, endpoint
        self._azure: AzureStore | None = None

    def put(
        self, name: str, body: bytes, *, last: str | None = None, replaces: bool = False
    ) -> bool:
        """Put an object; False: there is one of that name, and it stays."""
        kind = "application/json" if name.endswith(".json") else "application/gzip"
        about = {"Content-Type": kind} | ({} if last is None else {_LAST: last})

        def put(store: AzureStore) -> bool:
            mode: Any = "overwrite" if replaces else "create"
            try:
                obstore.put(store, name, body, mode=mode, attributes=about, use_multipart=False)
            except (errors.AlreadyExistsError, errors.PreconditionError):
                return False
            return True

        return self._ask(put)

    def last_in(self, name: str) -> str | None:
        """What `put` was given with it; None: nothing."""
        about = self._ask(lambda store: obstore.get(store, name, options={"head": True}).attributes)
        return about.get(_LAST)

    def made_at(self, name: str) -> datetime:
        """When it was put, to the second."""
        found: datetime = self._ask(lambda store: obstore.head(store, name)["last_modified"])
        return found

    def get(self, name: str) -> bytes:
        """The whole object."""
        return self._ask(lambda store: bytes(obstore.get(store, name).bytes()))

    def delete(self, name: str) -> None:
        """Take an object away; nothing where there is none."""
        with suppress(NoObject):
            self._ask(lambda store: obstore.delete(store, name))

    def names(self, folder: str, behind: str = "") -> Iterator[str]:
        """Names of the objects right in a folder, which sort behind one of them, in order."""
        found = self._ask(lambda store: obstore.list_with_delimiter(store, folder)["objects"])
        names = sorted(one["path"].rpartition("/")[2] for one in found)
        yield from (name for name in names if name > behind)

    def folders(self, folder: str) -> Iterator[str]:
        """Names of the folders right in a folder, or in the container (empty)."""
        found = self._ask(
            lambda store: obstore.list_with_delimiter(store, folder or None)["common_prefixes"]
        )
        yield from (path.rstrip("/").rpartition("/")[2] for path in sorted(found))

    def make(self) -> None:
        """It is not made here: obstore has no such call."""
        raise self._missing()

    def close(self) -> None:
        """Let go of the connection; the next question makes another."""
        self._azure = None

    def _ask(self, question: Callable[[AzureStore], T]) -> T:
        try:
            if self._azure is None:
                self._azure = self._opened()
            return question(self._azure)
        except (errors.BaseError, FileNotFoundError, OSError, ValueError) as error:
            raise self._told(error) from error

    def _opened(self) -> AzureStore:
        place = self._place
        options: AzureConfig = {}
        client: ClientConfig = {
            "timeout": f"{TIMEOUT_S:g}s",
            "connect_timeout": f"{TIMEOUT_S / 2:g}s",
            "allow_http": (self._endpoint or "").startswith("http:"),
        }
        if place.tls is not None and place.tls.ca_file is not None:
            client["root_certificate"] = Path(place.tls.ca_file).read_bytes()
        if place.username is not None:
            options["account_name"] = place.username
        if place.password is not None:
            options["account_key"] = place.password.reveal()
        if self._endpoint is not None:
            options["endpoint"] = self._endpoint
        return AzureStore(
            place.host,
            config=options,
            client_options=client,
            retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=TIMEOUT_S)},
        )

    def _told(self, error: Exception) -> NotSent:
        """What an error means; it is told as text that may hold more than is to be shown."""
        text = str(error)
        code = _in(r"<Code>(\w+)</Code>", text)
        said = _in(r"<Message>([^\n<]*)", text)
        status = int(_in(r"status code: (\d+)", text) or 0)
        what = f"{self.where}: {said or f'answers {status}'}" + (f" ({code})" if code else "")
        if code == "ContainerNotFound":
            return self._missing()
        if code == "BlobNotFound":
            return NoObject(what)
        if isinstance(error, errors.PermissionDeniedError | errors.UnauthenticatedError):
            self._azure = None  # for the next attempt keys are looked up anew
            return Unwelcome(f"{what}; {_CHECK}")
        if status in _LATER:
            return Unreachable(what)
        if status:
            return Unwelcome(what)
        if (why := _in(r"InvalidCertificate\((?:\s*Other\w*\()*\s*(\w+)", text)) is not None:
            return Unwelcome(
                f"{self.where}: its certificate is not trusted (invalid certificate: {why}); name "
                "who signed it with tls_ca_file"
            )
        if "HTTP error" in text:
            return Unreachable(f"{self.where}: no answer")
        return Unwelcome(
            f"{self.where}: it cannot be asked ({_first_line(text)}); say who we are: username= "
            "(the account) and password_env= (its key), or AZURE_STORAGE_ACCOUNT_NAME and "
            "AZURE_STORAGE_ACCOUNT_KEY"
        )

    def _missing(self) -> NoBucket:
        return NoBucket(
            f"{self.where}: there is no such container; make it: az storage container create "
            f"--name {self._place.host}"
        )


def _in(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text)
    return None if found is None else " ".join(found[1].split())


def _first_line(text: str) -> str:
    return text.partition("\n")[0][:200]


def container_of(target: SinkTarget) -> tuple[Container, str]:
    """The container a URL names, and the prefix in it without slashes around.

    Raises:
        ConfigError: the secret is not where it should be.
    """
    place, endpoint = place_of(target), target.options["endpoint"]
    container = Container(place, endpoint=endpoint and endpoint.rstrip("/"))
    return container, place.path.rstrip("/")


def open_azure(target: SinkTarget) -> ServiceSink:
    """Open `az://CONTAINER/PREFIX`."""
    container, prefix = container_of(target)
    return open_objects(target, container, prefix, creates=False)
