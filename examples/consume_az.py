"""Read results from the objects of a container of Azure, decode every mask, and draw them.

    maskstream track 'synthetic://street' --model blob --sink az://my-container/masks
    python examples/consume_az.py az://my-container/masks street drawn/

Needs `pip install 'maskstream[az]'`; who we are is in AZURE_STORAGE_ACCOUNT_NAME and
AZURE_STORAGE_ACCOUNT_KEY, or in the URL. A consumer that goes on where it stopped keeps the name of
the last object it has dealt with (`after`).
"""

import gzip
import json
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import obstore
from obstore.store import AzureStore

from drawing import show


def records(url: str, source: str, after: str = "") -> Iterator[dict[str, Any]]:
    """The records of a source, those of one run behind those of another."""
    parts = urlsplit(url)
    endpoint = parse_qs(parts.query).get("endpoint", [""])[0]
    given = {
        "endpoint": endpoint,
        "account_name": parts.username,
        "account_key": unquote(parts.password or ""),
    }
    store = AzureStore(
        parts.hostname,
        config={key: value for key, value in given.items() if value},
        client_options={"allow_http": endpoint.startswith("http:")},
    )
    prefix = f"{parts.path}/{source}".lstrip("/")
    for page in obstore.list(store, prefix, offset=after or None):
        for found in page:
            if found["path"].endswith(".jsonl.gz"):
                body = obstore.get(store, found["path"]).bytes()
                yield from map(json.loads, gzip.decompress(body).splitlines())


def main(url: str, source: str, folder: str | None = None) -> None:
    for record in records(url, source):
        show(record, folder)


if __name__ == "__main__":
    main(*(sys.argv[1:] or ("az://my-container/masks", "street")))
