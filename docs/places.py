"""Writes docs/places.md from the tables that the gateway itself reads: `python docs/places.py`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from gateway.core.terms import INPUT_PLACES, OUTPUT_PLACES, Place
from gateway.wire import fields
from gateway.wire.endpoints import ENDPOINTS, NAMES

HEAD = """\
# Places

<!-- Written by docs/places.py from gateway/wire/fields.py; do not edit. -->

Every string of a request and of an answer is read, and every object key that the protocol does not define.
This page says which *place* a string is, as `at` of a check names it. A string that no row names is
`other_input` or `other_output`: it is read all the same, so a field that is new in the API is covered on its
first day. JSON inside strings, unicode escapes, base64 that holds text and data URLs are read decoded as well;
of the running texts of an answer those that are JSON or base64 as a whole.
"""


def rows(title: str, table: Mapping[str, Iterable[str]], left: str) -> list[str]:
    lines = [f"\n## {title}\n", f"| {left} | place |", "|---|---|"]
    return lines + [f"| {', '.join(f'`{one}`' for one in names)} | `{place}` |" for place, names in table.items()]


def by_place(table: Mapping[str, Place]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name, place in table.items():
        found[str(place)].append(name)
    return found


def page() -> str:
    lines = [HEAD]
    lines.append(f"Input: {', '.join(f'`{p}`' for p in Place if p in INPUT_PLACES)}.")
    lines.append(f"\nOutput: {', '.join(f'`{p}`' for p in Place if p in OUTPUT_PLACES)}.")
    lines += rows("Messages, by their role", by_place(fields.ROLES), "role")
    lines.append("\nA part of a message under one of these keys is `attachment`: ")
    lines[-1] += ", ".join(f"`{k}`" for k in sorted(fields.ATTACHMENTS)) + "."
    for name in sorted(NAMES):
        if table := fields.REQUEST_TOP[name]:
            paths = ", ".join(f"`/v1{e.path}`" for e in ENDPOINTS.values() if e.name == name)
            lines += rows(f"Requests of {name}", by_place(table), "field")
            lines.append(f"\nServed at {paths}.")
    lines += rows("Items of a responses request", by_place(fields.ITEMS), "item")
    results = ", ".join(f"`{key}`" for key in sorted(fields.ITEM_RESULTS))
    lines.append(
        f"\nAny `*_output` item is `tool_result`; of any `*_call` item {results} are, the rest is `assistant`."
    )
    lines += rows("Messages of an answer", by_place(fields.ANSWER), "field")
    lines.append(
        "\n`audio.transcript` is `transcript`; tokens and byte lists of `logprobs` have the place of their text."
    )
    stems = by_place({f"{stem}.*": place for stem, (_, place) in fields.STEMS.items()})
    lines += rows("Events of a responses stream", stems, "event")
    lines.append("\nOutput items have the same places when they come whole; whatever brings a text, it is read once.")
    for name, table in fields.ANSWER_TOP.items():
        lines += rows(f"Answers of {name}", by_place(table), "field")
    lines += ["\n## What cannot be read\n", "A policy decides by `opaque: allow` or `block`; the receipt lists it.\n"]
    lines += ["| where | what |", "|---|---|"]
    unread = {key: what for key, (what, _) in fields.PAYLOADS.items() if what}
    unread |= dict.fromkeys(sorted(fields.LINKED), "an image or a file, sent or linked")
    unread |= {f"`{key}` of a request": what for key, what in fields.REFERENCES.items()}
    unread |= {"`prompt.id`": "a stored prompt", "`item_reference`": "an earlier item"}
    unread |= {"`prompt`, `input` as numbers": "token ids", "uploaded files that are no text": "a file"}
    lines += [f"| {key if '`' in key or ' ' in key else f'`{key}`'} | {what} |" for key, what in unread.items()]
    lines.append(
        f"\nBase64 under such a key is not searched as text from {fields.SURE} characters on; below that it is."
    )
    fixed = ", ".join(f"`{key}`" for key in sorted(fields.ENUMS))
    lines += ["\n## What is no text\n", "Keys that the protocol defines, and its fixed words under the keys that hold"]
    lines.append(f"such words: {fixed}. Any other word under these keys is text.")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("places.md").write_text(page(), encoding="utf-8")
