"""The padding of events, `obfuscation`: OpenAI fills them up, so that whoever sees how large they are cannot tell the text.

What it says is left out before an event is read, and where an event is written it is filled up anew, by as much as
makes the event one of a few sizes. So nothing of an upstream's can go through it, and it need not be checked.
"""

from __future__ import annotations

import re

SIZE = 32  # bytes: padded events are so many, or twice as many, and so on
EMPTY = b'"obfuscation":""'
_PADDING = re.compile(rb'(?<!\\)"obfuscation":"[^"\\]*"')  # within a string the quotation marks would be escaped
_FILL = b"0" * SIZE


def bare(event: bytes) -> bytes:
    """An event without what its padding says."""
    return _PADDING.sub(EMPTY, event) if b'"obfuscation"' in event else event


def padded(event: bytes) -> bytes:
    """The same, filled up if it has a place for that."""
    at = event.rfind(EMPTY)
    if at < 0 or event[at - 1 : at] == b"\\":
        return event
    end = at + len(EMPTY) - 1
    return event[:end] + _FILL[: -len(event) % SIZE] + event[end:]
