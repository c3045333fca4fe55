"""YAML with places: every value knows its line, so that every mistake can name file, line and column.

Only what JSON could say, plus comments: no anchors, no tags; `true` and `false` are the only
booleans (YAML 1.1's `on`, `off`, `yes` and `no` are strings); a key given twice is a mistake.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

Loc = tuple[str | int, ...]
_INT = re.compile(r"[-+]?[0-9]+\Z")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?\Z")


@dataclass(frozen=True, order=True)
class Mistake:
    """One mistake at one place; lines and columns count from 1, 0 is unknown."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        at = f":{self.line}:{self.column}" if self.line else ""
        return f"{self.file}{at}: {self.message}"


class FileError(Exception):
    """Everything that is wrong with the files that were read, each mistake with its place."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = sorted(mistakes)
        super().__init__("\n".join(map(str, self.mistakes)))


@dataclass
class Source:
    """A parsed file: its value, and where each part of it stands."""

    path: Path
    value: Any = None
    marks: dict[Loc, tuple[int, int]] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    raw: bytes = b""
    keyless: bool = False  # read and tested only: the keys of services need not be there

    def wrong(self, loc: Loc, message: str) -> None:
        line, column = self.place(loc)
        self.mistakes.append(Mistake(str(self.path), line, column, message))

    def place(self, loc: Loc) -> tuple[int, int]:
        """Where this part stands, or the nearest part around it."""
        while loc and loc not in self.marks:
            loc = loc[:-1]
        return self.marks.get(loc, (1, 1))

    def wrong_by(self, error: ValidationError, base: Loc, keys: Collection[str]) -> None:
        """Take over what pydantic found below `base`; `keys` are offered for a misspelt one."""
        for one in error.errors():
            self.wrong_by_one(one, base, keys)

    def wrong_by_one(self, one: Any, base: Loc, keys: Collection[str]) -> None:
        loc = (*base, *(step for step in one["loc"] if isinstance(step, (str, int))))
        self.wrong(loc, _worded(one, keys))


def _worded(one: Any, keys: Collection[str]) -> str:
    name = one["loc"][-1] if one["loc"] else ""
    if one["type"] == "extra_forbidden":
        return f"unknown key '{name}'{did_you_mean(str(name), keys)}"
    if one["type"] == "missing":
        return f"'{name}' is missing"
    message = str(one["msg"]).removeprefix("Value error, ")
    return f"'{name}': {message}" if isinstance(name, str) and name else message


def did_you_mean(word: str, known: Collection[str]) -> str:
    """`, did you mean 'x'?`, or what there is, or nothing."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f", did you mean '{close[0]}'?"
    if 0 < len(known) <= 20:
        return f" (known: {', '.join(sorted(known))})"
    return ""


def read(path: Path) -> Source:
    """Parse one file. Mistakes are kept in the source; its value is then partly there or None."""
    try:
        return parse(path, path.read_bytes())
    except OSError as error:
        return Source(path, mistakes=[Mistake(str(path), 0, 0, f"cannot be read: {error.strerror}")])


def parse(path: Path, raw: bytes) -> Source:
    """The same for what is no file yet, or no longer."""
    source = Source(path, raw=raw)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        source.mistakes.append(Mistake(str(path), 0, 0, "cannot be read: not UTF-8"))
        return source
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            _refuse(event, source)
        if not source.mistakes:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            source.value = None if node is None else _build(node, (), source)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        source.mistakes.append(Mistake(str(path), line, column, f"not valid YAML: {error.problem}"))
    except (yaml.YAMLError, RecursionError) as error:
        source.mistakes.append(Mistake(str(path), 1, 1, f"not valid YAML: {type(error).__name__}"))
    return source


def _refuse(event: yaml.Event, source: Source) -> None:
    anchor = getattr(event, "anchor", None)
    tag = getattr(event, "tag", None)
    if anchor is None and tag is None:
        return
    mark = event.start_mark
    what = "anchors and aliases are" if anchor is not None else "tags are"
    place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    source.mistakes.append(Mistake(str(source.path), *place, f"{what} not supported here"))


def _build(node: yaml.Node, loc: Loc, source: Source) -> Any:
    source.marks[loc] = (node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*loc, i), source) for i, item in enumerate(node.value)]
    built: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
        value = _build(value_node, (*loc, key), source)
        source.marks[(*loc, key)] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        if key in built:
            source.wrong((*loc, key), f"the key '{key}' is given twice")
        built[key] = value
    return built


def _scalar(node: yaml.ScalarNode) -> Any:
    text = str(node.value)
    if node.style is not None:  # quoted or a block: a string, whatever it looks like
        return text
    if text in {"", "~", "null"}:
        return None
    if text in {"true", "false"}:
        return text == "true"
    if _INT.match(text):
        return int(text) if len(text) < 30 else text
    return float(text) if _FLOAT.match(text) else text
