"""`s3://BUCKET/PREFIX`: records as objects in a bucket of Amazon's, or of one that speaks S3."""

from __future__ import annotations

from pipeline.delivery.service import ServiceSink
from pipeline.sinks.bucket import Bucket
from pipeline.sinks.objects import TIMEOUT_S, open_objects
from pipeline.sinks.schemes import SinkTarget
from pipeline.sinks.services import place_of


def bucket_of(target: SinkTarget) -> tuple[Bucket, str]:
    """The bucket a URL names, and the prefix in it without slashes around.

    Raises:
        ConfigError: the secret is not where it should be.
    """
    place, options = place_of(target), target.options
    endpoint = options["endpoint"] and options["endpoint"].rstrip("/")
    bucket = Bucket(place, endpoint=endpoint, region=options["region"], timeout_s=TIMEOUT_S)
    return bucket, place.path.rstrip("/")


def open_s3(target: SinkTarget) -> ServiceSink:
    """Open `s3://BUCKET/PREFIX`."""
    bucket, prefix = bucket_of(target)
    return open_objects(target, bucket, prefix, creates=target.options["create"])
