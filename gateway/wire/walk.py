"""Every string of a document: the rule is a walk, not a list, so a new field is seen on its first day.

No recursion here: a hostile document costs time in proportion to its size and nothing else.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from gateway.wire.fields import ENUMS, KEYS, VOCABULARY

MAX_NESTED = 3  # levels of JSON inside strings
MAX_DECODED = 16 * 1024**2  # characters of a string that is read decoded; bodies and answers are shorter
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_DATA_URL = re.compile(r"data:([\w.+/-]*)[^,]{0,200}?(;base64)?,", re.ASCII)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}\s*\Z", re.ASCII)


class Leaf(NamedTuple):
    """One string: the steps that lead to it (keys and rendered list steps), and what it says."""

    steps: tuple[str, ...]
    text: str

    @property
    def path(self) -> str:
        return render(self.steps)


def render(steps: tuple[str, ...]) -> str:
    """`("messages", "[0]", "content")` as `messages[0].content`."""
    return "".join(s if s[:1] in "[<" else f".{s}" for s in steps).removeprefix(".")


def by_position(position: int, _item: Any) -> str:
    return f"[{position}]"


def leaves(document: Any, step: Callable[[int, Any], str] = by_position) -> Iterator[Leaf]:
    """Every string leaf and every key that the protocol does not define, in document order."""
    stack: list[tuple[tuple[str, ...], Any]] = [((), document)]
    while stack:
        steps, node = stack.pop()
        if isinstance(node, str):
            if node and not _is_protocol(steps, node):
                yield Leaf(steps, node)
        elif isinstance(node, dict):
            for key in node:
                if key not in KEYS:
                    yield Leaf((*steps, f"<key {len(key)}>"), key)
            stack += [((*steps, key), value) for key, value in reversed(node.items())]
        elif isinstance(node, list):
            if steps and steps[-1] == "bytes":
                yield Leaf(steps, _from_bytes(node))
            stack += [((*steps, step(i, item)), item) for i, item in reversed(list(enumerate(node)))]


def _is_protocol(steps: tuple[str, ...], text: str) -> bool:
    if text not in VOCABULARY:
        return False
    name = next((s for s in reversed(steps) if s[:1] != "["), "")
    return name in ENUMS


def _from_bytes(numbers: list[Any]) -> str:
    """The byte lists of logprobs spell the text again."""
    return bytes(n for n in numbers if type(n) is int and 0 <= n < 256).decode("utf-8", "replace")


def hidden(text: str) -> Iterator[tuple[str, str]]:
    """Texts that a string holds in another coat: (step, text) of JSON, unicode escapes, data URLs, base64."""
    if len(text) > MAX_DECODED:
        return
    head = text.lstrip()[:1]
    if head in {"{", "["} and (found := _json_strings(text)):
        yield "<json>", "\n".join(found)
    elif "\\u" in text:
        yield "<unescaped>", _ESCAPE.sub(lambda m: chr(int(m[1], 16)), text).encode("utf-8", "replace").decode()
    if (plain := _decoded(text)) is not None:
        yield "<decoded>", plain


def _pairs(pairs: list[tuple[str, Any]]) -> list[Any]:
    """An object as a flat list, so that neither of two equal keys is lost."""
    return [side for pair in pairs for side in pair]


def _json_strings(text: str) -> list[str]:
    """Every key and string of a JSON text, JSON inside its strings included; empty if it is not JSON."""
    found: list[str] = []
    layer = [text]
    for _ in range(MAX_NESTED):
        strings = [s for one in layer for s in _strings_of(one)]
        found += strings
        layer = [s for s in strings if s.lstrip()[:1] in {"{", "["}]
        if not layer:
            break
    return found


def _strings_of(text: str) -> list[str]:
    try:
        document = json.loads(text, object_pairs_hook=_pairs, strict=False)
    except (ValueError, RecursionError):
        return []
    found: list[str] = []
    stack = [document]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            found.append(node.encode("utf-8", "replace").decode())
        elif isinstance(node, list):
            stack += reversed(node)
    return found


def _decoded(text: str) -> str | None:
    """The text inside a data URL or a base64 payload; None where there is none to read."""
    url = _DATA_URL.match(text)
    payload = text[url.end() :] if url else text
    if url and not url[2]:
        return payload
    if not _BASE64.match(payload):
        return None
    try:
        raw = base64.b64decode(payload.strip().translate(_URL_SAFE) + "=" * (-len(payload.strip()) % 4))
        plain = raw.decode("utf-8")
    except (binascii.Error, ValueError):
        return None
    return plain if plain.isprintable() or "\n" in plain else None


_URL_SAFE = str.maketrans("-_", "+/")
