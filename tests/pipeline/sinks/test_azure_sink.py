"""`az:`: what a container of Azure answers, and what that means; tests/servers has a real store."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from pipeline.delivery.client import NotSent, Unreachable, Unwelcome
from pipeline.errors import ConfigError
from pipeline.secrets import Secret
from pipeline.sinks import check_sink
from pipeline.sinks.container import Container
from pipeline.sinks.objects import NoBucket
from pipeline.sinks.services import ServicePlace

WRONG = "<Error><Code>{}</Code><Message>{}\nRequestId:7</Message></Error>"


class Store(ThreadingHTTPServer):
    """Answers every request as it is told to."""

    answer = 201, ""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.headers: list[dict[str, str]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Store

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.headers.append({key.lower(): word for key, word in self.headers.items()})
        status, body = self.server.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def store() -> Iterator[Store]:
    server = Store()
    thread = Thread(target=lambda: server.serve_forever(0.01))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def container(port: int) -> Container:
    place = ServicePlace("az", "shelf", None, "masks", "me", Secret("c2VjcmV0"))
    return Container(place, endpoint=f"http://127.0.0.1:{port}/me")


def test_an_object_is_put_where_there_is_none_and_says_what_is_its_last(store: Store) -> None:
    assert container(store.server_port).put("a.jsonl.gz", b"x", last="r:gate:0:7") is True
    (headers,) = store.headers
    assert headers["if-none-match"] == "*"
    assert headers["x-ms-meta-maskstream_last"] == "r:gate:0:7"
    assert headers["x-ms-blob-content-type"] == "application/gzip"
    assert container(store.server_port).put("a.jsonl.gz", b"x", replaces=True) is True
    assert "if-none-match" not in store.headers[1]


@pytest.mark.parametrize(
    ("status", "code", "said", "kind", "told"),
    [
        (
            *(404, "ContainerNotFound", "It is not there.", NoBucket),
            "there is no such container; make it: az storage container create --name shelf",
        ),
        (
            *(403, "AuthenticationFailed", "Server failed to authenticate.", Unwelcome),
            "Server failed to authenticate. (AuthenticationFailed); check user name (the account), "
            "password (its key) and rights",
        ),
        (503, "ServerBusy", "Try later.", Unreachable, "Try later. (ServerBusy)"),
        (400, "InvalidUri", "No such thing.", Unwelcome, "No such thing. (InvalidUri)"),
    ],
)
def test_an_answer_says_what_is_to_be_done(
    status: int, code: str, said: str, kind: type[NotSent], told: str, store: Store
) -> None:
    store.answer = status, WRONG.format(code, said)
    with pytest.raises(NotSent) as error:
        container(store.server_port).put("a.json", b"{}")
    assert type(error.value) is kind
    assert str(error.value) == f"az://shelf at http://127.0.0.1:{store.server_port}/me: {told}"


def test_an_object_of_that_name_is_no_error(store: Store) -> None:
    store.answer = 409, WRONG.format("BlobAlreadyExists", "It is there.")
    assert container(store.server_port).put("a.json", b"{}") is False


def test_nobody_there_is_unreachable() -> None:
    with pytest.raises(Unreachable) as error:
        container(9).put("a.json", b"{}")
    assert str(error.value) == "az://shelf at http://127.0.0.1:9/me: no answer"


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        (
            "az://shelf:80/x",
            "sink az://shelf:80: a container has no port; one that is elsewhere is "
            "az://CONTAINER?endpoint=URL",
        ),
        (
            "az://sh--elf",
            "sink az://sh--elf: 'sh--elf' is no name of a container; expected 3 to 63 small "
            "letters and digits, a '-' only between two of them",
        ),
        (
            "az://shelf?endpoint=https://h/a/b",
            "sink az://shelf: endpoint must be https://HOST[:PORT][/ACCOUNT] and nothing more; who "
            "we are is said with username= and password_env=",
        ),
        (
            "gs://shelf",
            "sink 'gs://shelf': Google's store is not written to; take s3:// or az://, or parquet: "
            "and copy its folder: gcloud storage rsync FOLDER gs://BUCKET",
        ),
    ],
)
def test_a_wrong_place_is_refused(url: str, wrong: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_sink(url)
    assert str(error.value) == wrong
    check_sink("az://shelf/masks?endpoint=https://store.example:10000/me&slice=5min")
