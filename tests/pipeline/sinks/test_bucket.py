"""What is asked of a store that speaks S3, and what its answers and its silence mean."""

from __future__ import annotations

import io
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import boto3
import pytest
from botocore import exceptions as errors

from pipeline.delivery.client import NotSent, Unreachable, Unwelcome
from pipeline.secrets import Secret
from pipeline.sinks.bucket import Bucket
from pipeline.sinks.objects import NoBucket
from pipeline.sinks.services import ServicePlace
from pipeline.sinks.tls import Tls


class Boto:
    """Stands for boto3's client: every operation gives what the test says, and is written down."""

    def __init__(self, answer: Any) -> None:
        self.answer, self.asked = answer, []  # type: ignore[var-annotated]

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def ask(**arguments: Any) -> Any:
            self.asked.append((operation, arguments))
            answer = self.answer.pop(0) if isinstance(self.answer, list) else self.answer
            if isinstance(answer, Exception):
                raise answer
            return answer

        return ask


def bucket(answer: Any, monkeypatch: pytest.MonkeyPatch, **place: Any) -> tuple[Bucket, Boto, Any]:
    """A bucket, who answers it, and what boto3 was told when it was opened."""
    boto, told = Boto(answer), {}

    class Session:
        region_name = None

        def client(self, _: str, **arguments: Any) -> Boto:
            told.update(arguments)
            return boto

    monkeypatch.setattr(boto3.session, "Session", Session)
    made = Bucket(ServicePlace("s3", "shelf", None, "", **place), timeout_s=10.0)
    return made, boto, told


def refused(code: str, status: int, message: str = "no", **headers: str) -> errors.ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers},
    }
    return errors.ClientError(response, "PutObject")


def test_an_object_is_put_where_there_is_none_with_the_key_of_its_last_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shelf, boto, _ = bucket([{}, refused("PreconditionFailed", 412), {}], monkeypatch)
    assert shelf.put("a.jsonl.gz", b"1", last="r:gate:0:7")
    assert not shelf.put("a.json", b"2")
    assert shelf.put("a.json", b"3", replaces=True)
    base = {"Bucket": "shelf", "ContentType": "application/json"}
    assert boto.asked == [
        (
            "put_object",
            {
                **base,
                "Key": "a.jsonl.gz",
                "Body": b"1",
                "ContentType": "application/gzip",
                "IfNoneMatch": "*",
                "Metadata": {"maskstream-last": "r:gate:0:7"},
            },
        ),
        ("put_object", {**base, "Key": "a.json", "Body": b"2", "IfNoneMatch": "*"}),
        ("put_object", {**base, "Key": "a.json", "Body": b"3"}),
    ]


def test_names_come_page_by_page_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [
        {"Contents": [{"Key": "a/1"}], "IsTruncated": True, "NextContinuationToken": "t"},
        {"Contents": [{"Key": "a/2"}], "IsTruncated": False},
        {"CommonPrefixes": [{"Prefix": "x/"}, {"Prefix": "y/"}]},
    ]
    shelf, boto, _ = bucket(pages, monkeypatch)
    assert list(shelf.names("a", "0")) == ["1", "2"]
    assert list(shelf.folders("")) == ["x", "y"]
    asked = [arguments for _, arguments in boto.asked]
    assert asked[1] == asked[0] | {"ContinuationToken": "t"}
    assert asked[0] == {"Bucket": "shelf", "Prefix": "a/", "Delimiter": "/", "StartAfter": "a/0"}
    assert asked[2] == {"Bucket": "shelf", "Prefix": "", "Delimiter": "/"}


def test_boto3_is_told_who_we_are_whom_to_trust_and_not_to_ask_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tls = Tls("ca.pem", "us.pem", None)
    shelf, _, told = bucket(
        {"Body": io.BytesIO(b"x")}, monkeypatch, username="me", password=Secret("w0rd"), tls=tls
    )
    assert shelf.get("a") == b"x"
    assert (told["aws_access_key_id"], told["aws_secret_access_key"]) == ("me", "w0rd")
    assert (told["verify"], told["region_name"]) == ("ca.pem", "us-east-1")
    assert told["config"].client_cert == ("us.pem", "us.pem")
    assert told["config"].retries == {"mode": "standard", "total_max_attempts": 1}
    shelf, _, told = bucket({"Body": io.BytesIO(b"x")}, monkeypatch, tls=Tls())
    shelf.get("a")
    assert (told["aws_access_key_id"], told["aws_secret_access_key"]) == (None, None)
    assert (told["verify"], told["config"].client_cert) == (None, None)


CHECK = "check user name (the access key), password (its secret) and rights"


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (
            refused("NoSuchBucket", 404),
            NoBucket,
            "there is no such bucket; make it, or add create=1 to the sink",
        ),
        (
            refused("SignatureDoesNotMatch", 403, "The signature\n does not match."),
            Unwelcome,
            f"The signature does not match. (SignatureDoesNotMatch); {CHECK}",
        ),
        (refused("403", 403, "Forbidden"), Unwelcome, f"Forbidden (403); {CHECK}"),
        (refused("ExpiredToken", 400, "Old."), Unwelcome, f"Old. (ExpiredToken); {CHECK}"),
        (
            refused("PermanentRedirect", 301, "Elsewhere.", **{"x-amz-bucket-region": "eu-1"}),
            Unwelcome,
            "Elsewhere. (PermanentRedirect); say where the bucket is: region=eu-1",
        ),
        (
            refused("NotImplemented", 501, "A header."),
            Unwelcome,
            "A header. (NotImplemented); it has to know conditional puts (If-None-Match)",
        ),
        (refused("EntityTooLarge", 400, "Large."), Unwelcome, "Large. (EntityTooLarge)"),
        (refused("500", 500, ""), Unreachable, "answers 500"),
        (
            errors.NoCredentialsError(),
            Unwelcome,
            "Unable to locate credentials; say who we are with AWS_PROFILE, AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or username= and password_env=",
        ),
        (
            errors.EndpointConnectionError(endpoint_url="http://here"),
            Unreachable,
            'Could not connect to the endpoint URL: "http://here"',
        ),
        (
            errors.ReadTimeoutError(endpoint_url="http://here"),
            Unreachable,
            'Read timeout on endpoint URL: "http://here"',
        ),
        (errors.NoRegionError(), Unwelcome, "You must specify a region."),
        (ConnectionResetError(104, "reset"), Unreachable, "[Errno 104] reset"),
    ],
)  # fmt: skip
def test_what_an_answer_means(
    error: Exception, kind: type[NotSent], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf, _, _ = bucket(error, monkeypatch)
    with pytest.raises(NotSent) as told:
        shelf.put("a", b"")
    assert (type(told.value), str(told.value)) == (kind, f"s3://shelf: {said}")


def test_a_store_that_asks_for_a_pause_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, _, _ = bucket(refused("SlowDown", 503, **{"retry-after": "7"}), monkeypatch)
    with pytest.raises(Unreachable) as told:
        shelf.put("a", b"")
    assert told.value.retry_after_s == 7.0


def test_clocks_that_are_apart_are_said_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)
    shelf, _, _ = bucket(refused("RequestTimeTooSkewed", 403, date=theirs), monkeypatch)
    with pytest.raises(Unreachable, match=r"are (7199|7200) s apart; set ours \(`timedatectl set-"):
        shelf.put("a", b"")
    shelf, _, _ = bucket(refused("RequestTimeTooSkewed", 403), monkeypatch)
    with pytest.raises(Unreachable, match="are more than a quarter of an hour apart"):
        shelf.put("a", b"")


def test_a_certificate_that_is_not_trusted_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = ssl.SSLCertVerificationError(1, "certificate verify failed")
    inner.verify_message = "self-signed certificate"
    outer = errors.SSLError(endpoint_url="https://here", error=inner)
    outer.__cause__ = inner
    shelf, _, _ = bucket(outer, monkeypatch)
    with pytest.raises(Unwelcome, match=r"not trusted \(self-signed certificate\); name who"):
        shelf.put("a", b"")


def test_keys_that_were_refused_are_looked_up_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, _, told = bucket([refused("ExpiredToken", 400), {}], monkeypatch)
    with pytest.raises(Unwelcome):
        shelf.put("a", b"")
    told.clear()
    assert shelf.put("a", b"")
    assert told["aws_access_key_id"] is None
