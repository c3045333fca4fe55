"""A vote on each field of JSON answers: the document that the fields make, or the real one nearest to it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jsonschema

from gateway.core.ballot import Reading, canonical, parse, selected
from gateway.core.terms import Document
from gateway.fanout.contest import Run

Path = tuple[str | int, ...]


class Assembled(NamedTuple):
    """The text of an assembled document, or the key of the answer that stands for it."""

    text: str | None
    key: str
    said: dict[str, Any]


def assembled(runs: Sequence[Run], asked: Document, reading: Reading) -> Assembled:
    """By plurality for each leaf; what does not fit the request's own schema is not made up."""
    documents = [(run, document) for run in runs if (document := _document(run, reading)) is not None]
    leaves = [dict(_leaves(document)) for _, document in documents]
    chosen, shares = _elected(leaves, [run.task.weight for run, _ in documents], reading)
    best = max(range(len(leaves)), key=lambda n: (_support(leaves[n], chosen, reading), -n))
    said: dict[str, Any] = {"fields": {_name(path): round(share, 4) for path, share in shares.items()}}
    made = _built(chosen)
    if any(_same(made, document, reading) for _, document in documents):
        return Assembled(None, next(r.task.key for r, d in documents if _same(made, d, reading)), said)
    if made is None or min(shares.values(), default=0.0) <= 0.5 or not _fits(made, asked):
        return Assembled(None, documents[best][0].task.key, {**said, "synthesised": False})
    return Assembled(json.dumps(made, ensure_ascii=False), "", {**said, "synthesised": True})


def _document(run: Run, reading: Reading) -> Any:
    for part in selected(run.answer.text if run.answer else "", reading):
        try:
            parse(part)
            return json.loads(part)
        except (ValueError, RecursionError):
            continue
    return None


def _leaves(node: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from _leaves(value, (*path, key))
    elif isinstance(node, list) and node:
        for number, value in enumerate(node):
            yield from _leaves(value, (*path, number))
    else:
        yield path, node


def _elected(
    leaves: Sequence[Mapping[Path, Any]], weights: Sequence[float], reading: Reading
) -> tuple[dict[Path, Any], dict[Path, float]]:
    """Each leaf's winner, in the order in which the leaves first came; missing is a vote as well."""
    chosen: dict[Path, Any] = {}
    shares: dict[Path, float] = {}
    whole = sum(weights)
    for path in dict.fromkeys(path for one in leaves for path in one):
        counts: dict[str | None, float] = {}
        values: dict[str | None, Any] = {}
        for one, weight in zip(leaves, weights, strict=True):
            said = canonical(one[path], reading) if path in one else None
            counts[said] = counts.get(said, 0.0) + weight
            values.setdefault(said, one.get(path))
        winner = max(counts, key=lambda said: counts[said])
        shares[path] = counts[winner] / whole
        if winner is not None:
            chosen[path] = values[winner]
    return chosen, shares


def _support(one: Mapping[Path, Any], chosen: Mapping[Path, Any], reading: Reading) -> int:
    agreed = (p in one and canonical(one[p], reading) == canonical(v, reading) for p, v in chosen.items())
    return sum(agreed)


def _built(chosen: Mapping[Path, Any]) -> Any:
    """The document with these leaves; None where they do not go together."""
    if set(chosen) == {()}:
        return chosen[()]
    root: dict[str | int, Any] = {}
    for path, value in chosen.items():
        node = root
        for step in path[:-1]:
            node = node.setdefault(step, {})
            if not isinstance(node, dict):
                return None
        if isinstance(node.get(path[-1]), dict):
            return None
        node[path[-1]] = value
    return _listed(root)


def _listed(node: Any) -> Any:
    """Objects whose keys are places become lists again."""
    if not isinstance(node, dict):
        return node
    if node and all(isinstance(key, int) for key in node):
        return [_listed(node[key]) for key in sorted(node)]
    return {str(key): _listed(value) for key, value in node.items()}


def _same(one: Any, two: Any, reading: Reading) -> bool:
    return one is not None and canonical(one, reading) == canonical(two, reading)


def _fits(made: Any, asked: Document) -> bool:
    form = asked.get("response_format")
    schema = (form.get("json_schema") or {}).get("schema") if isinstance(form, dict) else None
    if not isinstance(schema, dict):
        return True
    try:
        jsonschema.validate(made, schema)
    except (jsonschema.ValidationError, jsonschema.SchemaError):
        return False
    return True


def _name(path: Path) -> str:
    return "/" + "/".join(map(str, path))
