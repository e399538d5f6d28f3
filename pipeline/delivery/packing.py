"""`Packing`: what a message is when it leaves: in which form, and how large it may be."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipeline.delivery.client import Client, Limited, Message, too_large
from pipeline.formats.encoded import JSON, Encoding


@dataclass(frozen=True, slots=True)
class Packing:
    """As a sink's URL asks for it; by default JSON of any size."""

    encoding: Encoding = JSON
    limit: int | None = None
    """Bytes of a message, at most; None: what the service takes."""

    def packed(self, message: Message) -> Message:
        """The message in its form."""
        if self.encoding is JSON:
            return message
        return replace(message, body=self.encoding.pack(message.body), encoding=self.encoding)

    def refusal(self, message: Message, client: Client) -> str | None:
        """Why a packed message is not sent; None: it is.

        Args:
            message: packed.
            client: connected, so that it knows what its service takes.
        """
        size = len(message.body)
        if self.limit is not None and size > self.limit:
            return too_large(size, self.limit)
        if not isinstance(client, Limited) or client.limit is None:
            return None
        too_much = size + client.around > client.limit
        return too_large(size, client.limit) if too_much else None
