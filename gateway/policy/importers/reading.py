"""The files of others, read so that nothing in them is lost on the way: no key twice, no text that is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

CODE = {".co", ".py"}  # Colang, and Python beside it
TEXTS = {".json", ".yaml", ".yml", *CODE}


class Unreadable(ValueError):
    """A file that is not what it should be; the message names it."""


def document(path: Path) -> Any:
    """JSON or YAML, by the name of the file. Raises Unreadable."""
    try:
        text = path.read_text(encoding="utf-8")
        return _json(text) if path.suffix == ".json" else yaml.load(text, Loader=_Loader)  # noqa: S506 -- a safe loader
    except OSError as error:
        raise Unreadable(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        told = " ".join(str(error).split()) or type(error).__name__
        raise Unreadable(f"{path}: {told}") from None


def together(paths: list[Path]) -> Any:
    """NeMo reads all files of a configuration as one: lists are joined, mappings merged. Code stands under its name."""
    found: dict[str, Any] = {}
    for path in paths:
        if path.suffix in CODE:
            found.setdefault("files", []).append(path.name)
            continue
        said = document(path)
        if not isinstance(said, dict):
            raise Unreadable(f"{path}: is no mapping")
        found = _merged(found, said, str(path))
    return found


def files(path: Path) -> list[Path]:
    """A folder's files, or the file."""
    if not path.is_dir():
        return [path]
    return sorted(one for one in path.rglob("*") if one.suffix in TEXTS and one.is_file())


def _merged(first: dict[str, Any], second: dict[str, Any], where: str) -> dict[str, Any]:
    merged = dict(first)
    for key, value in second.items():
        had = merged.get(key)
        if had is None or had == value:
            merged[key] = value
        elif isinstance(had, dict) and isinstance(value, dict):
            merged[key] = _merged(had, value, where)
        elif isinstance(had, list) and isinstance(value, list):
            merged[key] = [*had, *value]
        else:
            raise Unreadable(f"{where}: '{key}' is given in another file as well, and otherwise")
    return merged


def _json(text: str) -> Any:
    found = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    json.dumps(found, ensure_ascii=False).encode()  # half a surrogate pair is no text
    return found


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key '{key}' is given twice")
        found[key] = value
    return found


class _Loader(yaml.SafeLoader):
    """As PyYAML reads it, which is how these configurations are read at home; but a key may not be given twice."""


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[str, Any]:
    loader.flatten_mapping(node)
    pairs = [
        (loader.construct_object(key, deep=True), loader.construct_object(value, deep=True))
        for key, value in node.value
    ]
    return _once([(str(key), value) for key, value in pairs])


def _as_text(_loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
    return str(node.value)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _as_text)
_Loader.add_constructor("tag:yaml.org,2002:binary", _as_text)
