"""Writes docs/kinds/, a page for each kind of check from its class and docs/kinds/notes.yaml, and docs/reference.md: `python docs/kinds.py`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from gateway.checks import KINDS
from gateway.checks.base import Check
from gateway.core.terms import INPUT_PLACES, OUTPUT_PLACES, Lane, Place
from gateway.policy.model import Common, Defaults, For, Head, Reply, ToolCall, Trial

FOLDER = Path(__file__).with_name("kinds")
REFERENCE: dict[str, type[BaseModel]] = {
    "A policy": Head,
    "`for`": For,
    "`defaults`": Defaults,
    "A check of any kind": Common,
    "A test": Trial,
    "A reply that is more than its text": Reply,
    "A tool call of a reply": ToolCall,
}
WRITTEN = "<!-- Written by docs/kinds.py from the class of the kind and docs/kinds/notes.yaml; do not edit. -->"


def notes() -> dict[str, dict[str, str]]:
    told: dict[str, dict[str, str]] = yaml.safe_load((FOLDER / "notes.yaml").read_text(encoding="utf-8"))
    return told


def page(name: str, kind: type[Check], told: Mapping[str, str]) -> str:
    """One kind: what it is, finds and misses, where it reads, how it runs, its settings."""
    lines = [f"# `{name}`\n", f"{WRITTEN}\n", inspect.cleandoc(kind.__doc__ or "") + "\n"]
    lines.append(f"```yaml\nchecks:\n  mine: {told['example']}\n```\n")
    lines += [f"**Finds.** {told['finds']}\n", f"**Misses.** {told['misses']}\n"]
    if "figures" in told:
        lines.append(f"**Measured.** {told['figures']}\n")
    lines += ["| | |", "|---|---|", f"| reads | {_places(kind.can_read)} |", f"| runs | {_when(kind)} |"]
    lines.append(f"| on a stream | {_lane(kind)} |")
    lines.append(f"| can cut hits out (`redact`, `mask`) | {'yes' if kind.can_rewrite else 'no'} |")
    if not kind.local:
        lines.append(f"| sees the question beside an answer | {'yes' if kind.takes_question else 'no'} |")
    lines.append("\n## Settings\n")
    lines += _settings(kind) or ["None of its own."]
    lines.append("\n[All kinds](README.md) · [Keys that every check has](../policies.md#keys-of-a-check)")
    return "\n".join(lines) + "\n"


def index(told: Mapping[str, Mapping[str, str]]) -> str:
    """All kinds, the local ones first."""
    lines = [
        "# Kinds of checks\n",
        f"{WRITTEN}\n",
        "Local kinds need no network; the others ask a model or a service.\n",
    ]
    lines += ["| kind | runs | finds |", "|---|---|---|"]
    for name in sorted(KINDS, key=lambda name: (not KINDS[name].local, name)):
        where = "local" if KINDS[name].local else "asks"
        lines.append(f"| [`{name}`]({name}.md) | {where} | {told[name]['finds'].split('. ')[0].removesuffix('.')} |")
    lines.append("\nA kind of one's own is a class in a package of one's own: [extending](../extending.md).")
    return "\n".join(lines) + "\n"


def _places(read: frozenset[Place]) -> str:
    if read >= INPUT_PLACES | OUTPUT_PLACES:
        return "`input` and `output`"
    for group, places in (("input", INPUT_PLACES), ("output", OUTPUT_PLACES)):
        if read == places:
            return f"`{group}`"
    return ", ".join(f"`{place}`" for place in Place if place in read)


def _when(kind: type[Check]) -> str:
    if not kind.local:
        return "beside the upstream call"
    return f"before the upstream call; texts of more than {kind.inline:,} characters, or with very much to look closer at, on a thread"


def _lane(kind: type[Check]) -> str:
    follows = kind.scanner is not Check.scanner
    return (
        "`exact`, where its settings allow it"
        if follows
        else f"`{kind.lane if kind.lane is not Lane.AFTER else Lane.WHOLE}`"
    )


def _settings(kind: type[BaseModel]) -> list[str]:
    """A table of the fields of a model."""
    schema = kind.model_json_schema()
    rows = []
    for name, field in schema["properties"].items():
        if name == "use" and issubclass(kind, Check):
            continue
        default = "required" if name in schema.get("required", ()) else f"`{_written(field.get('default'))}`"
        if default == "`null`":
            default = ""
        rows.append(f"| `{name}` | {_type(field, schema)} | {default} | {_cell(field.get('description', ''))} |")
    return ["| key | type | default | meaning |", "|---|---|---|---|", *rows] if rows else []


def _written(value: Any) -> str:
    return (
        yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True).removesuffix("\n...\n").strip()
    )


def _type(field: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if "$ref" in field:
        return "mapping"
    if "anyOf" in field:
        kinds = [_type(one, schema) for one in field["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{one}`" for one in field["enum"])
    match field.get("type"):
        case "array":
            return f"list of {_type(field.get('items', {}), schema)}"
        case "object":
            return "mapping"
        case "string":
            return "text"
        case "boolean":
            return "`true`, `false`"
        case "integer" | "number":
            bounds = [
                f"{word} {field[key]}"
                for key, word in (("minimum", "from"), ("exclusiveMinimum", "above"), ("maximum", "to"))
                if key in field
            ]
            return " ".join(["number", *bounds])
        case _:
            return "anything"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def reference() -> str:
    """Every key of a policy file that does not belong to a kind."""
    lines = [
        "# Every key of a policy file\n",
        "<!-- Written by docs/kinds.py from the models that read the file; do not edit. -->\n",
        "What belongs to one kind of check is on [its page](kinds/README.md). The same for editors:",
        "[`policies/schema.json`](../policies/schema.json).",
    ]
    for title, model in REFERENCE.items():
        lines += [f"\n## {title}\n", inspect.cleandoc(model.__doc__ or "") + "\n", *_settings(model)]
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """File name -> what it holds."""
    told = notes()
    return {
        "../reference.md": reference(),
        "README.md": index(told),
        **{f"{name}.md": page(name, kind, told[name]) for name, kind in KINDS.items()},
    }


if __name__ == "__main__":
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
