"""Families of models told apart by their kind: one file each in a folder, and entry points.

Adding a kind is adding a file with one class; nothing else names it.
"""

from __future__ import annotations

import importlib
import pkgutil
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel

Base = TypeVar("Base", bound=BaseModel)


def gather(package: ModuleType, base: type[Base], group: str, by: str = "use") -> dict[str, type[Base]]:
    """Every subclass of `base` that fixes the field `by` to one word, by that word. A word given twice: TypeError."""
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    for entry in entry_points(group=group):
        entry.load()
    kinds: dict[str, type[Base]] = {}
    for kind in _below(base):
        name = _word(kind, by)
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
