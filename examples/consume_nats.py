"""Read results from a JetStream of NATS as they arrive, decode every mask, and draw them.

    maskstream track 'synthetic://street' --model blob --sink nats://localhost
    python examples/consume_nats.py nats://localhost street masks/

Needs `pip install 'maskstream[nats]'`. A consumer that has to go on where it stopped gives
`subscribe` a name (`durable=`) and acknowledges each message it has dealt with.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import nats

from drawing import record_in, show


async def records(url: str, source: str) -> AsyncIterator[dict[str, Any]]:
    """The records of a source from the first one on, until a run of it ends."""
    client = await nats.connect(url)
    stream = client.jetstream()
    messages = await stream.subscribe(f"maskstream.{source}", ordered_consumer=True)
    async for message in messages.messages:
        record = record_in(message.data)
        if record["schema"].startswith("maskstream.end/"):
            break
        yield record
    await client.close()


async def show_all(url: str, source: str, folder: str | None) -> None:
    async for record in records(url, source):
        show(record, folder)


def main(url: str, source: str, folder: str | None = None) -> None:
    asyncio.run(show_all(url, source, folder))


if __name__ == "__main__":
    main(*(sys.argv[1:] or ("nats://localhost", "street")))
