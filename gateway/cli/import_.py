"""Make policies of the guardrails of openai-guardrails, LiteLLM or NeMo Guardrails."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from gateway.policy.importers import SOURCES, Imported, imported, recognised
from gateway.policy.importers.draft import slug
from gateway.policy.importers.reading import Unreadable, document, files, together

COMMON = {"config", "guardrails", "guardrails_config", "guardrails-config", "litellm", "prompts"}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="for NeMo also the folder of a configuration"
    )
    parser.add_argument("--from", dest="source", choices=list(SOURCES), help="whose format; default: as the file looks")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write the policy there; default: print it")
    parser.add_argument("--name", help="of the policy; default: as the file, or whose format it is")
    parser.add_argument("--presidio", metavar="URL", help="a Presidio analyzer, for personal data that needs one")
    parser.add_argument("--force", action="store_true", help="overwrite a policy that is there")
    parser.add_argument("--json", action="store_true", help="what became of every setting, as JSON")


def run(args: argparse.Namespace) -> int:
    """0: everything is mapped; 1: something is not, told on stderr and in the policy; 2: nothing could be read."""
    try:
        made = _made(args)
        _write(args, made)
    except (Unreadable, OSError) as error:
        sys.stderr.write(f"outrider: {error}\n")
        return 2
    if args.json:
        sys.stdout.write(orjson.dumps([_report(one) for one in made], option=orjson.OPT_INDENT_2).decode() + "\n")
    for one in made:
        sys.stderr.write(_told(one))
    return 1 if any(one.left or not one.checks for one in made) else 0


def _made(args: argparse.Namespace) -> list[Imported]:
    """One policy for each file; the files of a NeMo configuration are one."""
    found = [one for path in args.files for one in files(path)]
    if args.source == "nemo" or any(path.is_dir() for path in args.files):
        return [_one(args, together(found), found)]
    read = [(document(path), path) for path in found]
    if args.source is None and len(read) > 1 and all(recognised(one) == "nemo" for one, _ in read):
        return [_one(args, together(found), found)]
    made: list[Imported] = []
    for one, path in read:
        made.append(_one(args, one, [path], {earlier.name for earlier in made}))
    return made


def _one(args: argparse.Namespace, read: Any, paths: Sequence[Path], taken: set[str] | None = None) -> Imported:
    source = args.source or recognised(read)
    if source is None:
        raise Unreadable(f"{paths[0] if paths else 'the folder'}: whose format this is does not show; say `--from`")
    name = _name(args.name, paths, source)
    if name in (taken or ()):
        name = f"{name}-{len(taken or ()) + 1}"
    origin = ", ".join(path.name for path in paths)
    return imported(read, source, name, presidio=args.presidio, environ=os.environ, origin=origin)


def _name(given: str | None, paths: Sequence[Path], source: str) -> str:
    stem = paths[0].stem.lower() if len(paths) == 1 else "config"
    return slug(given or (source if stem in COMMON else stem))


def _write(args: argparse.Namespace, made: Sequence[Imported]) -> None:
    """All or none: a policy that is there already is not lost."""
    if args.out is None:
        if not args.json:
            sys.stdout.write("---\n".join(one.text for one in made if one.text))
        return
    args.out.mkdir(parents=True, exist_ok=True)
    target = {args.out / f"{one.name}.yaml": one.text for one in made if one.text}
    there = [path for path in target if path.exists()]
    if there and not args.force:
        raise Unreadable(f"{there[0]} is there already; `--force` overwrites it, `--name` writes another")
    for path, text in target.items():
        path.write_text(text, encoding="utf-8")


def _told(one: Imported) -> str:
    lines = [f"{one.name}: {len(one.checks)} checks, {one.tests} tests, {len(one.left)} not mapped or not quite\n"]
    lines += [f"  needs: {need}\n" for need in one.needs]
    lines += [f"  not mapped: {left.where} = {left.value}: {left.why}\n" for left in one.left]
    return "".join(lines)


def _report(one: Imported) -> dict[str, Any]:
    return asdict(one) | {"mapped": dict(one.mapped)}
