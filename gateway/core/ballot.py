"""From an answer to a comparable ballot: select a part, strip its dress, read it as what it is to be.

Each reading gives a canonical text, equal for answers that mean the same. What cannot be read is None:
an invalid ballot, never a vote for something.
"""

from __future__ import annotations

import ast
import datetime as dt
import json
import re
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

_THINK = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
_ANSWER = re.compile(r"(?:answer|result|verdict|label)\s*(?:is|:|=)\s*", re.IGNORECASE)
_FENCE = re.compile(r"```[a-zA-Z0-9]*[ \t]*\n(.*?)```", re.DOTALL)
_EMPHASIS = re.compile(r"(\*{1,3}|_{2,3})(?=\S)(.+?)(?<=\S)\1", re.DOTALL)
_QUOTES = (("`", "`"), ('"', '"'), ("'", "'"), ("“", "”"), ("‘", "’"))  # noqa: RUF001
_SPACES = re.compile(r"\s+")
_CURRENCY = re.compile(r"^([+-]?)\s*(?:[$€£¥₹]|USD|EUR|GBP)\s*|\s*(?:[$€£¥₹]|USD|EUR|GBP)$", re.IGNORECASE)
_MIXED = re.compile(r"([+-]?)(?:(\d+)\s+)?(\d+)\s*/\s*(\d+)\Z")
_PLAIN = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?\Z")
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:[,\u00a0\u202f '_]\d{3})+(?:\.\d+)?\Z")
_EUROPEAN = re.compile(r"[+-]?(?:\d{1,3}(?:\.\d{3})+,\d+|\d+,\d{1,2}|\d{1,3}(?:\.\d{3}){2,})\Z")
_ISO = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:[T ].*)?\Z")
_SLASHED = re.compile(r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})\Z")
_NAMED = re.compile(
    r"(?:(\d{1,2})(?:st|nd|rd|th)?\s+(?:of\s+)?)?([a-z]{3,9})\.?(?:\s+(\d{1,2})(?:st|nd|rd|th)?)?,?\s+(\d{4})\Z"
)
_MONTHS = {m: n for n, m in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
_TRUE = frozenset({"true", "yes", "y", "1", "correct"})
_FALSE = frozenset({"false", "no", "n", "0", "incorrect"})
MOST = 100_000  # characters of an answer that are read as a ballot
LONG = 400  # characters of a text that are tried as a number, a date or a label


@dataclass(frozen=True, slots=True)
class Reading:
    """How answers are read. `labels` and `synonyms` are folded; paths are like `/items/0/id`, `*` is any step."""

    kind: str = "text"
    select: str = "auto"  # auto, whole, last_line, boxed, fenced, marker, pointer
    marker: str = ""  # a pattern: what stands behind its last match
    pointer: str = ""  # into the answer's JSON
    labels: Mapping[str, str] = field(default_factory=dict)  # folded spelling -> label
    abstain: frozenset[str] = frozenset()
    absolute: float = 0.0
    relative: float = 0.0
    day_first: bool = False
    ignore: tuple[str, ...] = ()
    unordered: tuple[str, ...] = ()
    null_is_missing: bool = False


class Abstained(Exception):
    """The answer says that it gives none."""


def read(text: str, reading: Reading, message: Mapping[str, Any] | None = None) -> str | None:
    """The canonical form of an answer; None: it cannot be read. Raises Abstained."""
    if reading.kind == "tool_calls":
        return calls(message or {"content": text}, reading)
    for part in selected(text[:MOST], reading):
        if fold(part) in reading.abstain:
            raise Abstained
        found = _READ[reading.kind](part, reading)
        if found is not None:
            return found
    return None


def selected(text: str, reading: Reading) -> Sequence[str]:
    """The parts of an answer that may be its ballot, the first that can be read counts."""
    text = _THINK.sub("", text).strip()
    match reading.select:
        case "whole":
            parts = [text]
        case "last_line":
            parts = _last_line(text)
        case "boxed":
            parts = _boxed(text)
        case "fenced":
            parts = _FENCE.findall(text)[-1:]
        case "marker":
            parts = _after(re.compile(reading.marker), text)
        case "pointer":
            parts = _pointed(text, reading.pointer)
        case _:
            parts = [text]
            if reading.kind in {"json", "literal"}:
                parts += _FENCE.findall(text)[-1:]
            if reading.kind not in {"text", "json"}:
                parts += [*_boxed(text), *_after(_ANSWER, text), *_last_line(text)]
    if reading.kind == "literal":  # its quotes are part of it
        return [part.strip().strip("`").strip() for part in parts if part.strip()]
    return [stripped(part) for part in parts if part.strip()]


def stripped(text: str) -> str:
    """Without Markdown emphasis and one pair of quotes around it."""
    text = _EMPHASIS.sub(r"\2", text.strip()).strip()
    for begin, end in _QUOTES:
        if len(text) > 1 and text.startswith(begin) and text.endswith(end):
            return text[1:-1].strip()
    return text


def fold(text: str) -> str:
    """Without case, width, runs of white space and a full stop at the end."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return _SPACES.sub(" ", plain).strip().removesuffix(".").strip()


def _last_line(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()][-1:]


def _after(marker: re.Pattern[str], text: str) -> list[str]:
    """What stands behind the last marker, to the end of its line."""
    last = None
    for match in marker.finditer(text):
        last = match
    if last is None:
        return []
    return text[last.end() :].strip().splitlines()[:1]


def _boxed(text: str) -> list[str]:
    r"""What the last \boxed{} holds, braces balanced."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return []
    depth = 0
    for place in range(start + 6, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return [text[start + 7 : place]]
    return []


def _pointed(text: str, pointer: str) -> list[str]:
    fenced = _FENCE.findall(text)
    for one in (text, *fenced[-1:]):
        try:
            value: Any = json.loads(one)
            for step in pointer.strip("/").split("/"):
                value = value[int(step)] if isinstance(value, list) else value[step]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            continue
        return [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)]
    return []


# --- kinds ------------------------------------------------------------------------------------------


def _text(part: str, _reading: Reading) -> str | None:
    plain = unicodedata.normalize("NFC", part).casefold()
    return _SPACES.sub(" ", plain).strip().removesuffix(".").strip() or None


def _label(part: str, reading: Reading) -> str | None:
    return reading.labels.get(fold(part)) if len(part) <= LONG else None


def number(part: str) -> Fraction | None:
    """`$1,234.50`, `1.234,5`, `12 %`, `3/4`, `1 1/2`, `1e3`; None: no number."""
    text = unicodedata.normalize("NFKC", part).replace("\u2212", "-").strip().removesuffix(".").strip()
    if len(text) > LONG:
        return None
    text = _CURRENCY.sub(r"\1", text).strip()
    scale = 1
    if text.endswith("%"):
        text, scale = text[:-1].strip(), 100
    if (mixed := _MIXED.match(text.replace("\u2044", "/"))) is not None:
        sign, whole, top, bottom = mixed.groups()
        if int(bottom) == 0:
            return None
        value = int(whole or 0) + Fraction(int(top), int(bottom))
        return (-value if sign == "-" else value) / scale
    if _GROUPED.match(text):
        text = re.sub(r"[^\d.+-]", "", text)
    elif _EUROPEAN.match(text):
        text = text.replace(".", "").replace(",", ".")
    return Fraction(text) / scale if _PLAIN.match(text) else None


def _number(part: str, _reading: Reading) -> str | None:
    value = number(part)
    return None if value is None else str(value)


def _bool(part: str, _reading: Reading) -> str | None:
    word = fold(part)
    return "true" if word in _TRUE else "false" if word in _FALSE else None


def _date(part: str, reading: Reading) -> str | None:
    text = fold(part)
    try:
        if (iso := _ISO.match(text)) is not None:
            return dt.date(*map(int, iso.groups())).isoformat()
        if (slashed := _SLASHED.match(text)) is not None:
            first, second, year = map(int, slashed.groups())
            month, day = (second, first) if reading.day_first else (first, second)
            return dt.date(year, month, day).isoformat()
        if (named := _NAMED.match(text)) is not None:
            before, month_name, after, year_text = named.groups()
            days = before or after
            if days is not None and month_name[:3] in _MONTHS:
                return dt.date(int(year_text), _MONTHS[month_name[:3]], int(days)).isoformat()
    except ValueError:
        return None
    return None


def _json(part: str, reading: Reading) -> str | None:
    try:
        return canonical(parse(part), reading)
    except (ValueError, RecursionError):
        return None


def _literal(part: str, reading: Reading) -> str | None:
    try:
        with warnings.catch_warnings(action="ignore"):
            return canonical(ast.literal_eval(part), reading)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError, OverflowError):
        return None


_READ = {
    "text": _text,
    "label": _label,
    "number": _number,
    "bool": _bool,
    "date": _date,
    "json": _json,
    "literal": _literal,
}


# --- JSON and tool calls ------------------------------------------------------------------------------


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key is given twice")
    return made


def _no_constant(text: str) -> Any:
    raise ValueError(text)


def parse(text: str) -> Any:
    """JSON, its numbers exact. Raises ValueError for what has no single reading."""
    return json.loads(
        text, object_pairs_hook=_pairs, parse_float=Fraction, parse_int=Fraction, parse_constant=_no_constant
    )


def canonical(value: Any, reading: Reading, path: str = "") -> str:
    """One text for all documents that mean the same."""
    match value:
        case None | bool():
            return json.dumps(value)
        case int() | float() | Fraction():
            return f"#{Fraction(value)}"  # NaN and infinity: ValueError, OverflowError below
        case str():
            return json.dumps(unicodedata.normalize("NFC", value), ensure_ascii=False)
        case dict():
            return _object(value, reading, path)
        case list() | tuple() | set() | frozenset():
            items = [canonical(item, reading, f"{path}/{n}") for n, item in enumerate(value)]
            if isinstance(value, (set, frozenset)) or _matches(path, reading.unordered):
                items.sort()
            inside = ",".join(items)
            if isinstance(value, tuple):
                return f"({inside})"
            return f"[{inside}]" if isinstance(value, list) else f"{{{inside}}}"
        case bytes() | complex():
            return repr(value)
    raise ValueError(type(value).__name__)


def _object(value: dict[Any, Any], reading: Reading, path: str) -> str:
    fields = []
    for key, item in value.items():
        here = f"{path}/{key}"
        if (item is None and reading.null_is_missing) or _matches(here, reading.ignore):
            continue
        name = key if isinstance(key, str) else canonical(key, reading)
        fields.append(
            f"{json.dumps(unicodedata.normalize('NFC', name), ensure_ascii=False)}:{canonical(item, reading, here)}"
        )
    return "{" + ",".join(sorted(fields)) + "}"


def _matches(path: str, patterns: Sequence[str]) -> bool:
    steps = path.split("/")
    return any(_is_at(steps, pattern.strip("/")) for pattern in patterns)


def _is_at(steps: Sequence[str], pattern: str) -> bool:
    wanted = ["", *pattern.split("/")] if pattern else [""]
    return len(wanted) == len(steps) and all(w in {"*", s} for w, s in zip(wanted, steps, strict=True))


def calls(message: Mapping[str, Any], reading: Reading) -> str | None:
    """A message's tool calls as a multiset of names and arguments; of one without: that it has none."""
    found = message.get("tool_calls")
    if not found:
        return "text" if isinstance(message.get("content"), str) and message["content"].strip() else None
    told = []
    for call in found:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            return None
        try:
            given = canonical(parse(function.get("arguments") or "{}"), reading)
        except (ValueError, RecursionError):
            return None
        told.append(f"{function['name']}{given}")
    return "calls:" + ";".join(sorted(told))


# --- sameness -----------------------------------------------------------------------------------------

_NUMBERS = re.compile(r"#(-?\d+(?:/\d+)?)")


def same(reading: Reading) -> Any:
    """Whether two canonical forms mean the same within the tolerance; None: only if they are equal."""
    if not (reading.absolute or reading.relative):
        return None

    def near(one: Fraction, two: Fraction) -> bool:
        return abs(one - two) <= max(Fraction(reading.absolute), Fraction(reading.relative) * max(abs(one), abs(two)))

    def alike(one: str, two: str) -> bool:
        if reading.kind == "number":
            return near(Fraction(one), Fraction(two))
        if _NUMBERS.sub("#", one) != _NUMBERS.sub("#", two):
            return False
        pairs = zip(_NUMBERS.findall(one), _NUMBERS.findall(two), strict=True)
        return all(near(Fraction(a), Fraction(b)) for a, b in pairs)

    return alike
