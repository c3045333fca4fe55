"""Families of models told apart by their kind: one file each in a folder, and entry points.

Adding a kind is adding a file with one class, called by its word; nothing else names it. A kind is imported when it is
first asked for, and all are when the family is listed, so that a server carries only what its policies use.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel

Base = TypeVar("Base", bound=BaseModel)


class Kinds(Mapping[str, type[Base]], Generic[Base]):
    """Every subclass of `base` that fixes the field `by` to one word, by that word. A word given twice: TypeError."""

    def __init__(self, package: ModuleType, base: type[Base], group: str, by: str = "use") -> None:
        self._package = package
        self._base = base
        self._group = group
        self._by = by

    def __getitem__(self, word: str) -> type[Base]:
        self._import(word)
        return self._imported().get(word) or self._all()[word]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    @cached_property
    def _files(self) -> frozenset[str]:
        """The names of the folder's files; those of other packages are imported with them."""
        for entry in entry_points(group=self._group):
            entry.load()
        return frozenset(module.name for module in pkgutil.iter_modules(self._package.__path__))

    def _import(self, *names: str) -> None:
        for name in self._files.intersection(names):
            importlib.import_module(f"{self._package.__name__}.{name}")

    def _all(self) -> dict[str, type[Base]]:
        """In the order of their words, whichever was imported first."""
        self._import(*self._files)
        return dict(sorted(self._imported().items()))

    def _imported(self) -> dict[str, type[Base]]:
        kinds: dict[str, type[Base]] = {}
        for kind in _below(self._base):
            name = _word(kind, self._by)
            if name is None:
                continue
            if name in kinds:
                raise TypeError(f"two kinds are called '{name}': {kinds[name].__name__} and {kind.__name__}")
            kinds[name] = kind
        return kinds


def _below(base: type[Base]) -> list[type[Base]]:
    return [found for kind in base.__subclasses__() for found in (kind, *_below(kind))]


def _word(kind: type[BaseModel], by: str) -> str | None:
    annotation: Any = kind.model_fields[by].annotation
    if get_origin(annotation) is not Literal:
        return None
    return str(get_args(annotation)[0])
