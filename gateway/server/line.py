"""Messages between the processes of one gateway: JSON with its length in front, over a pair of sockets."""

from __future__ import annotations

from typing import Any

import orjson

HEAD = 4  # bytes that hold the length

Message = dict[str, Any]


def packed(message: Message) -> bytes:
    body = orjson.dumps(message)
    return len(body).to_bytes(HEAD, "big") + body


class Unpacking:
    """Messages out of bytes, in whatever pieces they come."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        self._bytes += data
        found: list[Message] = []
        while len(self._bytes) >= HEAD:
            end = HEAD + int.from_bytes(self._bytes[:HEAD], "big")
            if len(self._bytes) < end:
                break
            found.append(orjson.loads(self._bytes[HEAD:end]))
            del self._bytes[:end]
        return found
