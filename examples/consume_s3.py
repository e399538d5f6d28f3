"""Read results from the objects of a bucket, decode every mask, and draw the masks of each frame.

    maskstream track 'synthetic://street' --model blob --sink s3://my-bucket/masks
    python examples/consume_s3.py s3://my-bucket/masks street drawn/

Needs `pip install 'maskstream[s3]'`, and keys where boto3 looks for them: the environment or a
profile. Of a store that is not Amazon's: `s3://my-bucket/masks?endpoint=https://store.example`. A
consumer that goes on where it stopped keeps the key of the last object it has dealt with (`after`).
"""

import gzip
import json
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3

from drawing import show


def records(url: str, source: str, after: str = "") -> Iterator[dict[str, Any]]:
    """The records of a source, those of one run behind those of another."""
    parts = urlsplit(url)
    s3 = boto3.client(
        "s3",
        endpoint_url=parse_qs(parts.query).get("endpoint", [None])[0],
        aws_access_key_id=parts.username,
        aws_secret_access_key=parts.password,
    )
    bucket, prefix = parts.hostname, f"{parts.path}/{source}/".lstrip("/")
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=prefix, StartAfter=after
    )
    for page in pages:
        for found in page.get("Contents", []):
            if found["Key"].endswith(".jsonl.gz"):  # the end record in the last has no instances
                body = s3.get_object(Bucket=bucket, Key=found["Key"])["Body"].read()
                yield from map(json.loads, gzip.decompress(body).splitlines())
    s3.close()


def main(url: str, source: str, folder: str | None = None) -> None:
    for record in records(url, source):
        show(record, folder)


if __name__ == "__main__":
    main(*(sys.argv[1:] or ("s3://my-bucket/masks", "street")))
