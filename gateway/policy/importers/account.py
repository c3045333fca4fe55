"""Every setting of a document and what became of it: mapped, left or beside the point. None can be forgotten."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Path = tuple[str | int, ...]
LONGEST = 120  # characters of a value that are shown
KEY = re.compile(r"(?i)(authorization|credentials?|key|passw(or)?d|salt|secret\w*|(?<!mask_)token)$")
USER = re.compile(r"(?<=://)[^/@\s]+(?=@)")  # of an address, with its password
PLAIN = re.compile(r"[A-Za-z_][\w-]*\Z")
HIDDEN = "(not shown)"
REFERENCE = "os.environ/"  # how LiteLLM names a variable: the name may be shown


@dataclass(frozen=True)
class Left:
    """A part of a document that the policy does not have, or not quite as it was."""

    where: str
    value: str
    why: str


@dataclass
class Account:
    """The leaves of a document that nothing was said about yet, and all that was said."""

    document: Any
    mapped: dict[Path, str] = field(default_factory=dict)  # the leaf -> the check that it went into
    left: list[Left] = field(default_factory=list)  # has an effect that the policy lacks
    aside: list[Left] = field(default_factory=list)  # has no part in checking
    open: dict[Path, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.open = dict(_leaves((), self.document))

    def close(self) -> None:
        """What nobody knew is left."""
        Node(self, (), self.document).leave("not known to this importer")


@dataclass(frozen=True)
class Node:
    """One part of a document; `value` is None where there is none."""

    account: Account
    path: Path
    value: Any

    def __getitem__(self, key: str | int) -> Node:
        inner = self.value.get(key) if isinstance(self.value, dict) else None
        return Node(self.account, (*self.path, key), inner)

    def __contains__(self, key: str) -> bool:
        return isinstance(self.value, dict) and key in self.value

    @property
    def name(self) -> str:
        return str(self.path[-1]) if self.path else ""

    @property
    def where(self) -> str:
        return shown_path(self.path)

    def items(self) -> list[Node]:
        """The parts of a list or a mapping, in their order."""
        if isinstance(self.value, dict):
            return [self[key] for key in self.value]
        if isinstance(self.value, list):
            return [Node(self.account, (*self.path, n), one) for n, one in enumerate(self.value)]
        return []

    def is_a(self, kind: type) -> bool:
        return type(self.value) is kind

    def text(self) -> str | None:
        """A string that says something."""
        return self.value if isinstance(self.value, str) and self.value.strip() else None

    def number(self) -> float | None:
        return self.value if type(self.value) in {int, float} else None

    def keys(self) -> list[Node]:
        """What may be keys below it."""
        return [
            Node(self.account, path, value)
            for path, value in self.account.open.items()
            if path[: len(self.path)] == self.path and is_key(str(path[-1] if path else ""), value)
        ]

    def take(self, check: str) -> None:
        """All of it that is open went into a check."""
        for path in self._open():
            self.account.open.pop(path)
            self.account.mapped[path] = check

    def leave(self, why: str) -> None:
        """All of it that is open has no counterpart: told as one where nothing of it was taken, else one by one."""
        self.account.left += self._told(why)

    def put_aside(self, why: str) -> None:
        self.account.aside += self._told(why)

    def differs(self, why: str) -> None:
        """It is mapped, and yet not quite the same; also where it is an absent setting that differs."""
        value = "(absent)" if self.value is None else _shown(self.path, self.value)
        self.account.left.append(Left(self.where, value, why))

    def _open(self) -> list[Path]:
        return [path for path in self.account.open if path[: len(self.path)] == self.path]

    def _told(self, why: str) -> Iterator[Left]:
        open_ = self._open()
        taken = any(path[: len(self.path)] == self.path for path in self.account.mapped)
        parts = [self.path] if open_ and self.path and not taken else list(_tops(self, open_))
        told = [Left(shown_path(path), _shown(path, _at(self.account.document, path)), why) for path in parts]
        for path in open_:
            self.account.open.pop(path)
        yield from told


def _tops(node: Node, open_: list[Path]) -> Iterator[Path]:
    """Of a document as a whole its parts are told; of a part that was taken in part, its leaves."""
    if node.path:
        yield from open_
        return
    mapped = node.account.mapped
    for key in dict.fromkeys(path[:1] for path in open_):
        whole = not any(path[:1] == key for path in mapped)
        yield from [key] if whole else [path for path in open_ if path[:1] == key]


def _leaves(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves((*path, key), inner)
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from _leaves((*path, number), inner)
    else:
        yield path, value


def _at(document: Any, path: Path) -> Any:
    for step in path:
        document = document[step]
    return document


def shown_path(path: Path) -> str:
    told = ""
    for step in path:
        if isinstance(step, int):
            told += f"[{step}]"
        elif PLAIN.match(step):
            told += f".{step}" if told else step
        else:
            told += f"[{json.dumps(step)}]"
    return told or "the document"


def _shown(path: Path, value: Any) -> str:
    """The value on one line, without what may be a key."""
    said = json.dumps(_hidden(str(path[-1]) if path else "", value), default=str)
    return said if len(said) <= LONGEST else f"{said[: LONGEST - 3]}..."


def _hidden(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _hidden(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_hidden(name, inner) for inner in value]
    if not isinstance(value, str):
        return value
    return HIDDEN if is_key(name, value) else USER.sub(HIDDEN, value)


def is_key(name: str, value: Any) -> bool:
    """Whether a value is a key by the name of its setting, and not the name of a variable that holds one."""
    return isinstance(value, str) and KEY.search(name) is not None and not value.startswith(REFERENCE)
