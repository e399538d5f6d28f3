"""A store of objects that speaks S3: moto's server."""

from __future__ import annotations

import gzip
import json
import subprocess
import time
import urllib.request
from typing import Any
from urllib.parse import quote

import boto3

from brokers.broker import PASSWORD, listening
from brokers.shared import Shared


class S3(Shared):
    """It keeps everything in memory: it can be frozen, and forgets when it dies. Whose the keys are
    is looked at only for a test that has wrong ones."""

    program, scheme, once, survives = "moto_server", "s3", True, False
    options = ("slice=2s", "create=1")
    encodes = False
    tls: subprocess.Popen[bytes] | None = None

    def clear(self) -> None:
        self._tell("reset", b"")
        self._tell("reset-auth", b"inf")

    def end(self) -> None:
        super().end()
        if self.tls is not None:
            self.tls.kill()
            self.tls.wait(10)
            self.tls = None

    def command(self) -> list[str]:
        return [str(self.path()), "-H", "127.0.0.1", "-p", str(self.port)]

    def answers(self) -> bool:
        return listening(self.port)

    def url(self, *options: str, password: str = PASSWORD, secure: bool = False) -> str:
        if secure and self.tls is None:
            self._encrypt()
        if password != PASSWORD:
            self._tell("reset-auth", b"0")  # from now on they have to be somebody's
        return super().url(f"endpoint={self._endpoint}", *options, password=password)

    def address(self, place: str, password: str, secure: bool) -> str:
        return f"s3://me:{quote(password, safe='')}@shelf/masks"

    def messages(self, source: str) -> list[tuple[str, bytes]]:
        s3, found = self._client(), []
        for name in self.names(f"masks/{source}/"):
            if name.endswith(".jsonl.gz"):
                body = s3.get_object(Bucket="shelf", Key=name)["Body"].read()
                lines = gzip.decompress(body).splitlines()
                found += [
                    (key_of(line, f"{name}:{number}"), line) for number, line in enumerate(lines)
                ]
        s3.close()
        return found

    def names(self, prefix: str = "") -> list[str]:
        """Of all objects, in order; there are no more than a thousand."""
        s3 = self._client()
        try:
            page = s3.list_objects_v2(Bucket="shelf", Prefix=prefix)
            return [one["Key"] for one in page.get("Contents", [])]
        except s3.exceptions.NoSuchBucket:
            return []
        finally:
            s3.close()

    def get(self, name: str) -> bytes:
        """What an object holds; nothing where there is none."""
        s3 = self._client()
        try:
            body: bytes = s3.get_object(Bucket="shelf", Key=name)["Body"].read()
            return body
        except (s3.exceptions.NoSuchKey, s3.exceptions.NoSuchBucket):
            return b""
        finally:
            s3.close()

    def put(self, name: str, body: bytes) -> None:
        """An object, as somebody else would."""
        s3 = self._client()
        s3.put_object(Bucket="shelf", Key=name, Body=body)
        s3.close()

    def has(self, count: int) -> bool:
        """Whether so many objects are there; asked often, while others work."""
        time.sleep(0.2)
        return len(self.names()) >= count

    @property
    def _endpoint(self) -> str:
        if self.tls is not None:
            return f"https://localhost:{self.secure_port}"
        return f"http://127.0.0.1:{self.port}"

    def _encrypt(self) -> None:
        place = ["-H", "127.0.0.1", "-p", str(self.secure_port)]
        known = ["-s", "-c", str(self.folder / "tls.pem"), "-k", str(self.folder / "tls.key")]
        command = [str(self.path()), *place, *known]
        self.tls = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while not listening(self.secure_port):
            time.sleep(0.02)

    def _tell(self, what: str, words: bytes) -> None:
        place, kind = (
            f"http://127.0.0.1:{self.port}/moto-api/{what}",
            {"Content-Type": "text/plain"},
        )
        request = urllib.request.Request(place, words, kind, method="POST")
        urllib.request.urlopen(request).close()

    def _client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self._endpoint,
            verify=str(self.folder / "tls.pem"),
            region_name="us-east-1",
            aws_access_key_id="me",
            aws_secret_access_key=PASSWORD,
        )


def key_of(line: bytes, place: str) -> str:
    """The key of a record; of an event, which does not say it all, where it is."""
    record = json.loads(line)
    run, source = record.get("run"), record.get("source")
    if record["schema"].startswith("maskstream.end/"):
        return f"{run}:{source}:end"
    if record["schema"].startswith("maskstream.event/"):
        return place
    return f"{run}:{source}:{record['epoch']}:{record['frame']}"
