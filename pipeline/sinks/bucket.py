"""`Bucket`: one bucket of a store that speaks S3, and what an answer of it means to a user.

boto3 speaks with the store; why, `docs/decisions/0006-boto3-for-objects.md` says.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import boto3
from botocore import exceptions as errors
from botocore.config import Config

from pipeline._version import __version__
from pipeline.delivery.client import NotSent, Unreachable, Unwelcome
from pipeline.sinks.objects import NoBucket, NoObject
from pipeline.sinks.services import ServicePlace
from pipeline.sinks.tls import distrust

_LAST = "maskstream-last"
"""What an object says of itself: the key of its last record."""
_WHO = (
    errors.NoCredentialsError,
    errors.PartialCredentialsError,
    errors.CredentialRetrievalError,
    errors.TokenRetrievalError,
    errors.ProfileNotFound,
    errors.SSOError,
)
_AWAY = (errors.HTTPClientError, errors.ConnectionError, errors.IncompleteReadError)
_LATER = {408, 409, 429, 500, 502, 503, 504}
_EXPIRED = {"ExpiredToken", "InvalidToken", "TokenRefreshRequired"}
_ELSEWHERE = {
    *("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"),
    "TemporaryRedirect",
}
_CHECK = "check user name (the access key), password (its secret) and rights"


class Bucket:
    """A `Store` that is asked by boto3.

    Args:
        place: its host is the bucket; without a user name, who we are is what the environment, a
            profile or the machine says, as boto3 looks for it.
        endpoint: URL of a store that is not Amazon's.
        region: of the bucket; None: that of the environment.
        timeout_s: how long the store may be silent.
    """

    def __init__(
        self,
        place: ServicePlace,
        *,
        endpoint: str | None = None,
        region: str | None = None,
        timeout_s: float,
    ) -> None:
        self.where = f"{place} at {endpoint}" if endpoint else str(place)
        self._place, self._endpoint, self._region = place, endpoint, region
        self._timeout_s = timeout_s
        self._s3: Any = None

    def put(
        self, name: str, body: bytes, *, last: str | None = None, replaces: bool = False
    ) -> bool:
        """Put an object; False: there is one of that name, and it stays.

        Args:
            name: of the object.
            body: of it.
            last: kept with it, see `last_in`.
            replaces: put it whatever is there.
        """
        more: dict[str, Any] = {} if replaces else {"IfNoneMatch": "*"}
        if last is not None:
            more["Metadata"] = {_LAST: last}
        kind = "application/json" if name.endswith(".json") else "application/gzip"
        answer = self._ask("put_object", Key=name, Body=body, ContentType=kind, **more)
        return answer is not None

    def last_in(self, name: str) -> str | None:
        """What `put` was given with it; None: nothing."""
        found: str | None = self._ask("head_object", Key=name)["Metadata"].get(_LAST)
        return found

    def made_at(self, name: str) -> datetime:
        """When it was put, to the second."""
        found: datetime = self._ask("head_object", Key=name)["LastModified"]
        return found

    def get(self, name: str) -> bytes:
        """The whole object."""
        found: bytes = self._ask("get_object", Key=name)["Body"]
        return found

    def delete(self, name: str) -> None:
        """Take an object away; nothing where there is none."""
        self._ask("delete_object", Key=name)

    def names(self, folder: str, behind: str = "") -> Iterator[str]:
        """Names of the objects right in a folder, which sort behind one of them, in order."""
        for page in self._pages(folder, StartAfter=f"{folder}/{behind}"):
            for found in page.get("Contents", ()):
                yield found["Key"].rpartition("/")[2]

    def folders(self, folder: str) -> Iterator[str]:
        """Names of the folders right in a folder, or in the bucket (empty)."""
        for page in self._pages(folder):
            for found in page.get("CommonPrefixes", ()):
                yield found["Prefix"].rstrip("/").rpartition("/")[2]

    def make(self) -> None:
        """Make the bucket."""
        client = self._client()
        region = client.meta.region_name
        more: dict[str, Any] = {}
        if region not in ("us-east-1", "aws-global"):
            more["CreateBucketConfiguration"] = {"LocationConstraint": region}
        self._ask("create_bucket", **more)

    def close(self) -> None:
        """Let go of the connection; the next question makes another."""
        if self._s3 is not None:
            self._s3.close()

    def _pages(self, folder: str, **more: Any) -> Iterator[Any]:
        more |= {"Prefix": f"{folder}/" if folder else "", "Delimiter": "/"}
        while True:
            page = self._ask("list_objects_v2", **more)
            yield page
            if not page.get("IsTruncated"):
                return
            more["ContinuationToken"] = page["NextContinuationToken"]

    def _ask(self, operation: str, **arguments: Any) -> Any:
        """What the store answers; None where a condition is not met."""
        try:
            answer = getattr(self._client(), operation)(Bucket=self._place.host, **arguments)
            if "Body" in answer:
                answer["Body"] = answer["Body"].read()
            return answer
        except errors.ClientError as error:
            if _status(error) == 412:
                return None
            raise self._refused(error) from error
        except (errors.BotoCoreError, OSError, ValueError) as error:
            raise self._unasked(error) from error

    def _client(self) -> Any:
        if self._s3 is None:
            place, tls = self._place, self._place.tls
            ours = tls and tls.cert_file and (tls.cert_file, tls.key_file or tls.cert_file)
            config = Config(
                connect_timeout=self._timeout_s / 2,
                read_timeout=self._timeout_s,
                retries={"mode": "standard", "total_max_attempts": 1},
                s3={"addressing_style": "path"} if self._endpoint else {},
                request_checksum_calculation="when_required",  # not every store knows the others
                response_checksum_validation="when_required",
                user_agent_extra=f"maskstream/{__version__}",
                client_cert=ours or None,
            )
            session = boto3.session.Session()
            self._s3 = session.client(
                "s3",
                endpoint_url=self._endpoint,
                region_name=self._region or session.region_name or "us-east-1",
                verify=tls and tls.ca_file,
                aws_access_key_id=place.username,
                aws_secret_access_key=place.password and place.password.reveal(),
                config=config,
            )
        return self._s3

    def _refused(self, error: Any) -> NotSent:
        """What the store has answered."""
        status, code = _status(error), str(error.response["Error"].get("Code", ""))
        said = " ".join(str(error.response["Error"].get("Message") or "").split())
        text = f"{self.where}: {said or f'answers {status}'}" + (f" ({code})" if said else "")
        headers = error.response["ResponseMetadata"].get("HTTPHeaders", {})
        if code == "RequestTimeTooSkewed":
            return Unreachable(f"{self.where}: {_skew(headers)}")
        if code == "NoSuchBucket":
            return NoBucket(
                f"{self.where}: there is no such bucket; make it, or add create=1 to the sink"
            )
        if code == "NoSuchKey":
            return NoObject(text)
        if code in _ELSEWHERE or status in (301, 307):
            there = headers.get("x-amz-bucket-region", "REGION")
            return Unwelcome(f"{text}; say where the bucket is: region={there}")
        if status in (401, 403) or code in _EXPIRED:
            self._s3 = None  # for the next attempt keys are looked up anew
            return Unwelcome(f"{text}; {_CHECK}")
        if status == 501:
            return Unwelcome(f"{text}; it has to know conditional puts (If-None-Match)")
        if status in _LATER:
            return Unreachable(text, retry_after_s=_seconds(headers.get("retry-after", "")))
        return Unwelcome(text)

    def _unasked(self, error: Exception) -> NotSent:
        """Why there is no answer."""
        text = f"{self.where}: {' '.join(str(error).split())}"
        if isinstance(error, _WHO):
            self._s3 = None
            return Unwelcome(
                f"{text}; say who we are with AWS_PROFILE, AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or username= and password_env="
            )
        if reason := distrust(error):
            return Unwelcome(f"{self.where}: {reason}")
        if isinstance(error, (*_AWAY, OSError)):
            return Unreachable(text)
        return Unwelcome(text)


def _status(error: Any) -> int:
    return int(error.response["ResponseMetadata"].get("HTTPStatusCode", 0))


def _seconds(text: str) -> float:
    return float(text) if text.isascii() and text.isdigit() else 0.0


def _skew(headers: dict[str, str]) -> str:
    try:
        theirs = parsedate_to_datetime(headers["date"])
        apart = f"{abs(datetime.now(UTC) - theirs).total_seconds():.0f} s"
    except (KeyError, ValueError, TypeError):
        apart = "more than a quarter of an hour"
    return (
        f"its clock and that of this machine are {apart} apart; set ours "
        "(`timedatectl set-ntp true`)"
    )
